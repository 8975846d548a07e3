//! Which options go together: everything about the command line that can be wrong before a file is looked at.

use wgpu_norm::sample::Kind;

use crate::cli::{Apply, Bench, Dims, Directions, Grad, NormOptions, ParameterOptions, Plan};
use crate::failure::Failure;
use crate::files::ToWrite;
use crate::specify::listed;

/// Checks that every option of `apply` has a meaning for the norm and beside the others.
pub(crate) fn check(apply: &Apply) -> Result<(), Failure> {
    let kind = apply.norm.norm;
    of_one_norm(kind, &apply.norm)?;
    belongs(kind, &of_parameters(&apply.parameters))?;
    belongs(kind, &of_apply(apply))?;
    outputs(&apply.wanted())?;
    let before = apply.residual.is_some() || apply.parameters.comes_before();
    if apply.save_residual_out.is_some() && !before {
        return usage("--save-residual-out writes a sum, of which --residual, --gate or --embedding must make one");
    }
    if kind.takes("--train") {
        batch(apply)?;
    }
    offset(&apply.parameters)
}

/// The same for `grad`.
pub(crate) fn check_grad(grad: &Grad) -> Result<(), Failure> {
    let kind = grad.norm.norm;
    has_backward(kind, "grad")?;
    of_one_norm(kind, &grad.norm)?;
    belongs(kind, &of_parameters(&grad.parameters))?;
    let wanted = grad.wanted();
    if wanted.is_empty() {
        return usage(
            "at least one of --save-grad-input, --save-grad-weight, --save-grad-bias, --save-grad-scale, \
             --save-grad-shift, --save-grad-skip, --save-grad-gate, --save-grad-branch and --save-grad-embedding must say \
             where a gradient goes",
        );
    }
    outputs(&wanted)?;
    let (activation, modulates) = (grad.norm.activation.is_some(), grad.parameters.modulates());
    if grad.parameters.bias.is_some() && !activation && !modulates {
        return usage("--bias has a part in gradients only where --activation, --scale or --shift follows it");
    }
    if grad.parameters.skip.is_some() && !activation {
        return usage(
            "--skip has a part in gradients only where --activation follows it; its own is --grad-output without one",
        );
    }
    for (option, path) in [("--save-grad-scale", &grad.save_grad_scale), ("--save-grad-shift", &grad.save_grad_shift)] {
        if path.is_some() && !modulates {
            return usage(format!("{option} needs --scale or --shift, whose shape it has"));
        }
    }
    let by_input = [&grad.save_grad_input, &grad.save_grad_gate, &grad.save_grad_branch, &grad.save_grad_embedding];
    if grad.grad_residual.is_some() && by_input.iter().all(|path| path.is_none()) {
        return usage(
            "--grad-residual is added to the gradient of the input, by which --save-grad-input, --save-grad-gate, \
             --save-grad-branch and --save-grad-embedding go, and none of them is there",
        );
    }
    if grad.parameters.gate.is_some() && grad.save_grad_gate.is_none() && grad.save_grad_branch.is_none() {
        return usage("--gate has a part in --save-grad-gate and --save-grad-branch alone, and neither is there");
    }
    if grad.parameters.embedding.is_some() && grad.save_grad_embedding.is_none() {
        return usage("--embedding says the shape of --save-grad-embedding, and no more; that is not there");
    }
    if kind.takes("--train") {
        batch_grad(grad)?;
    }
    offset(&grad.parameters)
}

/// The same for `plan`.
pub(crate) fn check_plan(plan: &Plan) -> Result<(), Failure> {
    let kind = plan.norm.norm;
    of_one_norm(kind, &plan.norm)?;
    if plan.backward {
        has_backward(kind, "--backward")?;
    }
    if plan.saved_statistics && kind.takes("--train") && !plan.norm.train {
        return usage("--saved-statistics needs --train: without it, batch norm goes by its running statistics");
    }
    Ok(())
}

/// The same for `bench`.
pub(crate) fn check_bench(bench: &Bench) -> Result<(), Failure> {
    if bench.direction == Directions::Backward {
        for &kind in &bench.norm {
            has_backward(kind, "--direction backward")?;
        }
    }
    let of_norms = [
        ("--channel-axis", bench.channel_axis.is_some()),
        ("--groups", bench.groups.is_some()),
        ("--axes", bench.axes.is_some()),
    ];
    for (option, given) in of_norms {
        if given && !bench.norm.iter().any(|kind| kind.takes(option)) {
            let norms = words(|kind| kind.takes(option));
            return usage(format!("{option} belongs to {norms} norm, and no such norm is in --norm"));
        }
    }
    if let Some(Dims(dims)) = bench.shape.iter().find(|shape| shape.0.contains(&0)) {
        return usage(format!("--shape: {dims:?} has no elements, so there is nothing to time"));
    }
    for (option, path) in [("--json", &bench.json), ("--plot", &bench.plot), ("--share", &bench.share)] {
        if path.as_ref().is_some_and(|path| path.as_os_str() == "-") {
            return usage(format!("{option} must name a file, and - is none (for a file of that name, write ./-)"));
        }
    }
    match &bench.plot {
        Some(path) if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) => {
            usage(format!("--plot `{}` is no .svg file, the only kind that is drawn", path.display()))
        }
        _ => Ok(()),
    }
}

/// Refuses norms without gradients; `what` asks for them.
fn has_backward(kind: Kind, what: &str) -> Result<(), Failure> {
    if kind.has_backward() {
        return Ok(());
    }
    let (word, others) = (kind.word(), words(Kind::has_backward));
    usage(format!("{what}: {word} norm has no backward pass; {others} norm have one"))
}

fn offset(parameters: &ParameterOptions) -> Result<(), Failure> {
    if parameters.weight_offset.is_some() && parameters.weight.is_none() {
        return usage("--weight-offset is added to the weights, and there is no --weight");
    }
    Ok(())
}

fn usage<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(text.into()))
}

/// An option, and whether it is given.
type Asked = (&'static str, bool);

/// Checks the options that say which norm.
fn of_one_norm(kind: Kind, options: &NormOptions) -> Result<(), Failure> {
    let asked = [
        ("--axes", options.axes.is_some()),
        ("--p", options.p.is_some()),
        ("--normalized-shape", options.normalized_shape.is_some()),
        ("--groups", options.groups.is_some()),
        ("--channel-axis", options.channel_axis.is_some()),
        ("--train", options.train),
    ];
    belongs(kind, &asked)?;
    if options.axes.is_some() && options.normalized_shape.is_some() {
        return usage("--axes and --normalized-shape both say what is normalized over; one is enough");
    }
    Ok(())
}

fn of_parameters(parameters: &ParameterOptions) -> [Asked; 5] {
    [
        ("--weight", parameters.weight.is_some()),
        ("--bias", parameters.bias.is_some()),
        ("--weight-offset", parameters.weight_offset.is_some()),
        ("--running-mean", parameters.running_mean.is_some()),
        ("--running-var", parameters.running_var.is_some()),
    ]
}

fn of_apply(apply: &Apply) -> [Asked; 6] {
    [
        ("--rounding", apply.rounding.is_some()),
        ("--momentum", apply.momentum.is_some()),
        ("--running-var-estimator", apply.running_var_estimator.is_some()),
        ("--save-running-mean", apply.save_running_mean.is_some()),
        ("--save-running-var", apply.save_running_var.is_some()),
        ("--save-mean", apply.save_mean.is_some()),
    ]
}

/// Refuses options of other norms.
fn belongs(kind: Kind, options: &[Asked]) -> Result<(), Failure> {
    match options.iter().find(|&&(option, given)| given && !kind.takes(option)) {
        None => Ok(()),
        Some(&(option, _)) => {
            let (word, norms) = (kind.word(), words(|kind| kind.takes(option)));
            let reason = if option == "--save-mean" { ", which takes no mean" } else { "" };
            usage(format!("{option} belongs to {norms} norm, and this is {word} norm{reason}"))
        }
    }
}

/// The words of some norms.
fn words(some: impl Fn(Kind) -> bool) -> String {
    let words = Kind::ALL.into_iter().filter(|&kind| some(kind)).map(|kind| kind.word().to_owned());
    listed(&words.collect::<Vec<_>>())
}

/// Refuses what looks like an output that there is not: standard output.
fn outputs(wanted: &[ToWrite<'_>]) -> Result<(), Failure> {
    for (_, option, path) in wanted {
        if path.as_os_str() == "-" {
            return usage(format!("{option} must name a file, and - is none (for a file of that name, write ./-)"));
        }
    }
    Ok(())
}

/// Batch norm's gradients through the statistics of the batch, or with the running ones as constants.
fn batch_grad(grad: &Grad) -> Result<(), Failure> {
    let running = [grad.parameters.running_mean.is_some(), grad.parameters.running_var.is_some()];
    match (grad.norm.train, running) {
        (true, [false, false]) | (false, [true, true]) => Ok(()),
        (true, [mean, _]) => {
            let option = if mean { "--running-mean" } else { "--running-var" };
            usage(format!(
                "{option} has no part in the gradients with --train, which go through the statistics of the input"
            ))
        }
        (false, [false, false]) => without_statistics(),
        (false, _) => one_without_the_other(&grad.parameters),
    }
}

fn without_statistics() -> Result<(), Failure> {
    usage(
        "batch norm needs --running-mean and --running-var to normalize by, or --train to normalize by the statistics \
         of the input",
    )
}

fn one_without_the_other(parameters: &ParameterOptions) -> Result<(), Failure> {
    match parameters.running_mean {
        Some(_) => usage("--running-mean needs --running-var beside it"),
        None => usage("--running-var needs --running-mean beside it"),
    }
}

/// Batch norm by the running statistics, or by those of the batch.
fn batch(apply: &Apply) -> Result<(), Failure> {
    let running = (apply.parameters.running_mean.is_some(), apply.parameters.running_var.is_some());
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
        (_, (true, false)) | (_, (false, true)) => one_without_the_other(&apply.parameters),
        (true, (false, false)) => {
            if apply.running().is_some() {
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
