//! Which options go together: everything about the command line that can be wrong before a file is looked at.

use std::path::Path;

use crate::cli::{Apply, Given, Grad, NormName, NormOptions};
use crate::failure::Failure;

/// Checks that every option of `apply` has a meaning for the norm and beside the others.
pub(crate) fn check(apply: &Apply) -> Result<(), Failure> {
    belongs(apply.norm.name, &of_norm(&apply.norm))?;
    belongs(apply.norm.name, &of_given(&apply.given))?;
    belongs(apply.norm.name, &of_apply(apply))?;
    outputs(&apply.wanted())?;
    if apply.norm.name == NormName::Batch {
        batch(apply)?;
    }
    offset(&apply.given)
}

/// The same for `grad`.
pub(crate) fn check_grad(grad: &Grad) -> Result<(), Failure> {
    let name = grad.norm.name;
    has_backward(name, "grad")?;
    belongs(name, &of_norm(&grad.norm))?;
    belongs(name, &of_given(&grad.given))?;
    let wanted = grad.wanted();
    if wanted.is_empty() {
        return usage(
            "at least one of --save-grad-input, --save-grad-weight and --save-grad-bias must say where a gradient goes",
        );
    }
    outputs(&wanted)?;
    if name == NormName::Batch {
        batch_grad(grad)?;
    }
    offset(&grad.given)
}

/// Refuses norms without gradients; `what` asks for them.
pub(crate) fn has_backward(name: NormName, what: &str) -> Result<(), Failure> {
    match name {
        NormName::Mvn | NormName::Lp => {
            let name = name.name();
            usage(format!(
                "{what}: {name} norm has no backward pass; layer, rms, group, instance and batch norm have one"
            ))
        }
        _ => Ok(()),
    }
}

fn offset(given: &Given) -> Result<(), Failure> {
    if given.weight_offset.is_some() && given.weight.is_none() {
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

fn of_given(given: &Given) -> [Rule; 4] {
    use NormName::{Batch, Group, Instance, Layer, Rms};
    [
        ("--weight", given.weight.is_some(), &[Layer, Rms, Group, Instance, Batch]),
        ("--weight-offset", given.weight_offset.is_some(), &[Rms]),
        ("--running-mean", given.running_mean.is_some(), &[Batch]),
        ("--running-var", given.running_var.is_some(), &[Batch]),
    ]
}

fn of_apply(apply: &Apply) -> [Rule; 6] {
    use NormName::{Batch, Group, Instance, Layer, Mvn, Rms};
    [
        ("--bias", apply.bias.is_some(), &[Layer, Rms, Group, Instance, Batch]),
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
fn outputs(wanted: &[(&str, &str, &Path)]) -> Result<(), Failure> {
    for (_, option, path) in wanted {
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

/// Batch norm's gradients through the statistics of the batch, or with the running ones as constants.
fn batch_grad(grad: &Grad) -> Result<(), Failure> {
    let running = [grad.given.running_mean.is_some(), grad.given.running_var.is_some()];
    match (grad.norm.train, running) {
        (true, [false, false]) | (false, [true, true]) => Ok(()),
        (true, [mean, _]) => {
            let option = if mean { "--running-mean" } else { "--running-var" };
            usage(format!(
                "{option} has no part in the gradients with --train, which go through the statistics of the input"
            ))
        }
        (false, [false, false]) => without_statistics(),
        (false, _) => one_without_the_other(&grad.given),
    }
}

fn without_statistics() -> Result<(), Failure> {
    usage(
        "batch norm needs --running-mean and --running-var to normalize by, or --train to normalize by the statistics \
         of the input",
    )
}

fn one_without_the_other(given: &Given) -> Result<(), Failure> {
    match given.running_mean {
        Some(_) => usage("--running-mean needs --running-var beside it"),
        None => usage("--running-var needs --running-mean beside it"),
    }
}

/// Batch norm by the running statistics, or by those of the batch.
fn batch(apply: &Apply) -> Result<(), Failure> {
    let running = (apply.given.running_mean.is_some(), apply.given.running_var.is_some());
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
        (false, (false, false)) => without_statistics(),
        (_, (true, false)) | (_, (false, true)) => one_without_the_other(&apply.given),
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
