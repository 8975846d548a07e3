//! `wgpu-norm grad`: reads, differentiates, writes and tells.

use std::time::Instant;

use ndarray::ArrayD;
use wgpu_norm::reference::{Bounded, Gated, gated_backward};
use wgpu_norm::sample::{Parameters, Wanted, gradient, wide};
use wgpu_norm::{Backward, Error, Rounding};

use crate::check::{Widen, check};
use crate::cli::Grad;
use crate::failure::Failure;
use crate::files::{self, Input, Loaded};
use crate::progress::Progress;
use crate::report::{self, Report};
use crate::{adapters, specify, usage};

pub(crate) fn run(grad: &Grad) -> Result<(), Failure> {
    usage::check_grad(grad)?;
    // All paths first, as for the forward pass.
    let input = Input::locate("--input", &grad.input)?;
    let grad_output = Input::locate("--grad-output", &grad.grad_output)?;
    let grad_residual = Input::locate_if("--grad-residual", grad.grad_residual.as_ref())?;
    let branch = Input::locate_if("--branch", grad.branch.as_ref())?;
    let parameters = specify::parameters(&grad.parameters)?;
    let asked = grad.wanted();
    let targets = files::targets(&asked)?;
    let dtype = grad.norm.dtype;

    let (options, given) = (&grad.norm, &grad.parameters);
    let refused = |error: &Error| specify::refused(error, options, given);
    let load = |input: &Input| input.load(grad.run.check, dtype);
    let (x, dy, parameters) = (load(&input)?, load(&grad_output)?, parameters.try_map(load)?);
    let grad_residual = grad_residual.as_ref().map(load).transpose()?;
    let branch = branch.as_ref().map(load).transpose()?;
    let kind = grad.kind();
    // A backward pass updates no running statistics.
    let norm = specify::norm_of(options, given, &x, &parameters, None, Rounding::AtEnd)?;

    let engine = adapters::engine(&grad.run.place)?;
    let wanted = wanted(grad);
    let plan = engine.gpu().map(|gpu| gpu.context().plan_backward(norm.as_ref(), wanted)).transpose();
    let plan = plan.map_err(|error| refused(&error.into()))?;
    let name = kind.word();
    let (gradients, time) = {
        let _progress = Progress::spinner(format!("gradients of {name} norm"));
        let read = Parameters { embedding: None, ..parameters.map(|array| array.values.view()) };
        let mut inputs = read.beside(x.values.view()).grad_output(dy.values.view());
        if let Some(branch) = &branch {
            inputs = inputs.branch(branch.values.view());
        }
        if let Some(grad_residual) = &grad_residual {
            inputs = inputs.grad_residual(grad_residual.values.view());
        }
        let start = Instant::now();
        let gradients =
            engine.run_backward_array_blocking(norm.as_ref(), wanted, inputs).map_err(|error| refused(&error))?;
        (gradients, start.elapsed())
    };
    if let Some((_, option, _)) = asked.iter().find(|(name, ..)| gradient(&gradients, name).is_none()) {
        let of_scale = parameters.modulating().next().map(|array| array.values.shape()).unwrap_or_default();
        return Err(Failure::Failed(format!(
            "{option}: a scale or shift of shape {of_scale:?} after this norm of {:?} has no gradient: docs/norms.md lists those that have",
            x.values.shape()
        )));
    }
    let inputs: Vec<&Loaded> =
        [&x, &dy].into_iter().chain(&grad_residual).chain(&branch).chain(parameters.iter()).collect();
    let checked = grad.run.check.then(|| {
        let _progress = Progress::spinner("checking in float64".to_owned());
        let want = |widen: Widen| {
            let exact = specify::exact(options, given, widen(&x), parameters.map(widen));
            let shape = parameters.modulating().next().map(|array| array.values.shape());
            let gate = parameters.gate.as_ref().map(widen);
            let mut wanted = kind.gradients_wanted(&exact, &widen(&dy));
            for (of_x, more) in wanted.iter_mut().filter(|wanted| wanted.output == "grad_input").zip(&grad_residual) {
                let more = widen(more);
                of_x.value += &more;
                of_x.scale += &more.mapv(f64::abs);
            }
            let of_x = wanted.iter().find(|wanted| wanted.output == "grad_input");
            if let (Some(shape), Some(of_x), Some(dz)) = (shape, of_x, &gradients.input) {
                let branch = branch.as_ref().map_or_else(|| ArrayD::zeros(dz.raw_dim()), widen);
                let before = before_wanted(of_x, dz, &branch, gate.as_ref(), shape);
                wanted.extend(before);
            }
            wanted
        };
        check(&inputs, want, |name| gradient(&gradients, name))
    });
    let outputs = files::write(&asked, targets, dtype, |name| gradient(&gradients, name))?;

    let report = Report {
        what: format!("gradients of {}", specify::words(options, given, false)),
        norm: name,
        activation: grad.norm.activation,
        direction: "backward",
        dtype,
        inputs,
        engine: &engine,
        plan: plan.as_ref().map(report::passes).unwrap_or_default(),
        time,
        outputs,
        checked,
    };
    report.print(grad.run.json)
}

/// The gradients of what comes before the norm: that of the branch by what that of the input should be, the others by what it is, `dz`.
fn before_wanted(
    of_x: &Wanted,
    dz: &ArrayD<f32>,
    branch: &ArrayD<f64>,
    gate: Option<&ArrayD<f64>>,
    shape: &[usize],
) -> [Wanted; 3] {
    let back = |dz: &ArrayD<f64>| gated_backward(dz.view(), branch.view(), gate.map(|gate| gate.view()), shape);
    let Gated { dgate, dembedding, .. } = back(&wide(dz));
    let dbranch = Bounded { value: back(&of_x.value).dbranch.value, scale: back(&of_x.scale).dbranch.scale };
    [("grad_branch", dbranch), ("grad_gate", dgate), ("grad_embedding", dembedding)]
        .map(|(name, Bounded { value, scale })| Wanted::new(name, value, scale, of_x.element))
}

/// Of input, weight and bias what is saved, and one of them at least. That of the skip is with the input's.
fn wanted(grad: &Grad) -> Backward {
    let mut wanted = Backward::new();
    let parameters = grad.save_grad_weight.is_some() || grad.save_grad_bias.is_some();
    let (gate, embedding) = (grad.branch.is_some(), grad.save_grad_embedding.is_some());
    if grad.save_grad_input.is_none() && grad.save_grad_skip.is_none() && parameters && !gate && !embedding {
        wanted = wanted.without_input();
    }
    if grad.save_grad_scale.is_none() && grad.save_grad_shift.is_none() {
        wanted = wanted.without_modulation();
    }
    if gate {
        wanted = wanted.with_gate();
    }
    if embedding {
        wanted = wanted.with_embedding();
    }
    if grad.save_grad_weight.is_none() {
        wanted = wanted.without_weight();
    }
    if grad.save_grad_bias.is_none() {
        wanted = wanted.without_bias();
    }
    wanted
}
