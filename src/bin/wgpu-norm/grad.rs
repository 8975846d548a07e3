//! `wgpu-norm grad`: reads, differentiates, writes and tells.

use std::time::Instant;

use wgpu_norm::sample::{Exact, gradient};
use wgpu_norm::{Backward, Element, Error, Rounding};

use crate::check::{Widen, check};
use crate::cli::Grad;
use crate::failure::Failure;
use crate::files::{self, Input};
use crate::progress::Progress;
use crate::report::{self, Read, Report};
use crate::{adapters, specify, usage};

pub(crate) fn run(grad: &Grad) -> Result<(), Failure> {
    usage::check_grad(grad)?;
    // All paths first, as for the forward pass.
    let input = Input::locate("--input", &grad.input)?;
    let grad_output = Input::locate("--grad-output", &grad.grad_output)?;
    let parameters = specify::parameters(&grad.parameters, grad.bias.as_ref())?;
    let asked = grad.wanted();
    let targets = files::targets(&asked)?;
    let dtype = grad.norm.dtype;

    let refused = |error: &Error| specify::refused(error, grad.norm.groups.is_some());
    let x = input.load(grad.run.check, dtype)?;
    let kind = grad.kind();
    // A backward pass updates no running statistics.
    let norm = specify::norm(&grad.norm, kind, x.values.shape(), grad.eps, None, Rounding::AtEnd)
        .map_err(|error| refused(&error.into()))?;
    let dy = grad_output.load(grad.run.check, dtype)?;
    let parameters = parameters.try_map(|input| input.load(grad.run.check, Element::F32))?;

    let engine = adapters::engine(&grad.run.place)?;
    let wanted = wanted(grad);
    let plan = engine.gpu().map(|gpu| gpu.context().plan_backward(norm.as_ref(), wanted)).transpose();
    let plan = plan.map_err(|error| refused(&error.into()))?;
    let name = kind.word();
    let (gradients, time) = {
        let _progress = Progress::spinner(format!("gradients of {name} norm"));
        let inputs = parameters.map(|array| array.values.view()).beside(x.values.view()).grad_output(dy.values.view());
        let start = Instant::now();
        let gradients =
            engine.run_backward_array_blocking(norm.as_ref(), wanted, inputs).map_err(|error| refused(&error))?;
        (gradients, start.elapsed())
    };
    let checked = grad.run.check.then(|| {
        let _progress = Progress::spinner("checking in float64".to_owned());
        let want = |widen: Widen| {
            let eps = f64::from(grad.eps.unwrap_or_else(|| kind.entry().eps));
            let exact = Exact {
                x: widen(&x),
                parameters: parameters.map(widen),
                eps,
                element: dtype,
                offset: 1.0,
                activation: grad.norm.activation,
            };
            kind.gradients_wanted(&exact, &widen(&dy))
        };
        check(parameters.iter().chain([&x, &dy]), want, |name| gradient(&gradients, name))
    });
    let outputs = files::write(&asked, targets, dtype, |name| gradient(&gradients, name))?;

    let report = Report {
        what: format!("gradients of {name} norm{}", grad.norm.then()),
        norm: name,
        activation: grad.norm.activation,
        direction: "backward",
        dtype,
        inputs: vec![
            Read { name: "input", path: &grad.input, array: &x },
            Read { name: "grad_output", path: &grad.grad_output, array: &dy },
        ],
        engine: &engine,
        plan: plan.as_ref().map(report::passes).unwrap_or_default(),
        time,
        outputs,
        checked,
    };
    report.print(grad.run.json)
}

/// Only what is saved.
fn wanted(grad: &Grad) -> Backward {
    let mut wanted = Backward::new();
    if grad.save_grad_input.is_none() {
        wanted = wanted.without_input();
    }
    if grad.save_grad_weight.is_none() {
        wanted = wanted.without_weight();
    }
    if grad.save_grad_bias.is_none() {
        wanted = wanted.without_bias();
    }
    wanted
}
