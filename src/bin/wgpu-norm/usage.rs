//! Which options go together: everything about the command line that can be wrong before a file is looked at.

use crate::cli::{Apply, NormName, NormOptions};
use crate::failure::Failure;

/// Checks that every option has a meaning for the norm and beside the others.
pub(crate) fn check(apply: &Apply) -> Result<(), Failure> {
    belongs(apply.norm.name, &of_norm(&apply.norm))?;
    belongs(apply.norm.name, &of_apply(apply))?;
    outputs(apply)?;
    if apply.norm.name == NormName::Batch {
        batch(apply)?;
    }
    if apply.weight_offset.is_some() && apply.weight.is_none() {
        return usage("--weight-offset is added to the weights, and there is no --weight");
    }
    Ok(())
}

fn usage<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(text.into()))
}

/// An option, whether it is given, and the norms it belongs to.
pub(crate) type Rule = (&'static str, bool, &'static [NormName]);

/// The rules of the options that say which norm.
pub(crate) fn of_norm(options: &NormOptions) -> [Rule; 6] {
    use NormName::{Batch, Group, Instance, Layer, Lp, Mvn, Rms};
    [
        ("--axes", options.axes.is_some(), &[Mvn, Lp]),
        ("--p", options.p.is_some(), &[Lp]),
        ("--normalized-shape", options.normalized_shape.is_some(), &[Layer, Rms]),
        ("--groups", options.groups.is_some(), &[Group]),
        ("--channel-axis", options.channel_axis.is_some(), &[Group, Instance, Batch]),
        ("--train", options.train, &[Batch]),
    ]
}

fn of_apply(apply: &Apply) -> [Rule; 10] {
    use NormName::{Batch, Group, Instance, Layer, Mvn, Rms};
    [
        ("--weight", apply.weight.is_some(), &[Layer, Rms, Group, Instance, Batch]),
        ("--bias", apply.bias.is_some(), &[Layer, Rms, Group, Instance, Batch]),
        ("--weight-offset", apply.weight_offset.is_some(), &[Rms]),
        ("--running-mean", apply.running_mean.is_some(), &[Batch]),
        ("--running-var", apply.running_var.is_some(), &[Batch]),
        ("--momentum", apply.momentum.is_some(), &[Batch]),
        ("--running-var-estimator", apply.running_var_estimator.is_some(), &[Batch]),
        ("--save-running-mean", apply.save_running_mean.is_some(), &[Batch]),
        ("--save-running-var", apply.save_running_var.is_some(), &[Batch]),
        ("--save-mean", apply.save_mean.is_some(), &[Layer, Group, Instance, Batch, Mvn]),
    ]
}

/// Refuses options of other norms.
pub(crate) fn belongs(name: NormName, rules: &[Rule]) -> Result<(), Failure> {
    for &(option, given, norms) in rules {
        if given && !norms.contains(&name) {
            let names: Vec<&str> = norms.iter().map(|norm| norm.name()).collect();
            let names = match names.split_last() {
                Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
                _ => names.concat(),
            };
            let reason = if option == "--save-mean" { ", which takes no mean" } else { "" };
            return usage(format!("{option} belongs to {names} norm, and this is {} norm{reason}", name.name()));
        }
    }
    Ok(())
}

/// Refuses what looks like an output that there is not: standard output, and a tensor in a .safetensors file.
fn outputs(apply: &Apply) -> Result<(), Failure> {
    for (_, option, path) in apply.wanted() {
        let text = path.to_string_lossy();
        if text == "-" {
            return usage(format!("{option} must name a file, and - is none (for a file of that name, write ./-)"));
        }
        if text.ends_with(".safetensors") || text.contains(".safetensors:") {
            return usage(format!("{option} `{text}` is no .npy file, the only kind that is written"));
        }
    }
    Ok(())
}

/// Batch norm by the running statistics, or by those of the batch.
fn batch(apply: &Apply) -> Result<(), Failure> {
    let running = (apply.running_mean.is_some(), apply.running_var.is_some());
    if !apply.norm.train {
        let training = [
            ("--momentum", apply.momentum.is_some()),
            ("--running-var-estimator", apply.running_var_estimator.is_some()),
            ("--save-running-mean", apply.save_running_mean.is_some()),
            ("--save-running-var", apply.save_running_var.is_some()),
            ("--save-mean", apply.save_mean.is_some()),
            ("--save-rstd", apply.save_rstd.is_some()),
        ];
        for (option, given) in training {
            if given {
                return usage(format!(
                    "{option} needs --train: without it, batch norm takes no statistics of the input"
                ));
            }
        }
    }
    match (apply.norm.train, running) {
        (_, (true, true)) => Ok(()),
        (false, (false, false)) => usage(
            "batch norm needs --running-mean and --running-var to normalize by, or --train to normalize by the \
             statistics of the input",
        ),
        (_, (true, false)) => usage("--running-mean needs --running-var beside it"),
        (_, (false, true)) => usage("--running-var needs --running-mean beside it"),
        (true, (false, false)) => {
            if apply.tracks() {
                return Ok(());
            }
            let updating = [
                ("--momentum", apply.momentum.is_some()),
                ("--running-var-estimator", apply.running_var_estimator.is_some()),
            ];
            for (option, given) in updating {
                if given {
                    return usage(format!(
                        "{option} is for updating running statistics, and there are none: give --running-mean and \
                         --running-var, or ask for --save-running-mean or --save-running-var"
                    ));
                }
            }
            Ok(())
        }
    }
}
