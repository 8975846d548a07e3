//! `wgpu-norm apply`: reads, normalizes, writes and tells.

use std::path::Path;
use std::time::Instant;

use ndarray::{ArrayD, IxDyn};
use wgpu_norm::{Error, Inputs, Momentum, Norm, Outputs, SpecError, VarianceEstimator};

use crate::cli::{Apply, Device, Estimator};
use crate::failure::Failure;
use crate::files::{self, Input, Loaded};
use crate::progress::Progress;
use crate::report::{self, Read, Report};
use crate::specify::{self, Numbers, Running};
use crate::{adapters, check, usage};

/// The arrays a norm works on.
pub(crate) struct Arrays {
    pub(crate) x: Loaded,
    pub(crate) weight: Option<Loaded>,
    pub(crate) bias: Option<Loaded>,
    pub(crate) running_mean: Option<Loaded>,
    pub(crate) running_var: Option<Loaded>,
}

pub(crate) fn run(apply: &Apply) -> Result<(), Failure> {
    usage::check(apply)?;
    // All paths first: a typo in the last should not cost the time the others take.
    let given = &apply.given;
    let input = Input::locate("--input", &apply.input)?;
    let weight = Input::locate_optional("--weight", given.weight.as_ref())?;
    let bias = Input::locate_optional("--bias", apply.bias.as_ref())?;
    let running_mean = Input::locate_optional("--running-mean", given.running_mean.as_ref())?;
    let running_var = Input::locate_optional("--running-var", given.running_var.as_ref())?;
    let wanted = apply.wanted();
    let asked: Vec<(&str, &Path)> = wanted.iter().map(|&(_, option, path)| (option, path)).collect();
    let targets = files::targets(&asked)?;

    let refused = |error: &Error| specify::refused(error, apply.norm.groups.is_some());
    let x = input.load(apply.run.check)?;
    let norm = specify(apply, x.values.shape()).map_err(|error| refused(&error.into()))?;
    let optional = |input: Option<&Input>| Input::load_optional(input, apply.run.check);
    let mut arrays = Arrays {
        x,
        weight: optional(weight.as_ref())?,
        bias: optional(bias.as_ref())?,
        running_mean: optional(running_mean.as_ref())?,
        running_var: optional(running_var.as_ref())?,
    };
    if apply.tracks() && arrays.running_mean.is_none() {
        let shape = norm.parameter_shape();
        arrays.running_mean = Some(Loaded::of(ArrayD::zeros(IxDyn(&shape))));
        arrays.running_var = Some(Loaded::of(ArrayD::ones(IxDyn(&shape))));
    }

    let Device::Gpu = apply.run.device;
    let gpu = adapters::start(apply.run.adapter.as_deref())?;
    let plan = gpu.context().plan(norm.as_ref()).map_err(|error| refused(&error.into()))?;
    let (outputs, time) = {
        let _progress = Progress::spinner(format!("{} norm", apply.norm.name.name()));
        let start = Instant::now();
        let outputs = gpu.run_array_blocking(norm.as_ref(), inputs(apply, &arrays)).map_err(|error| refused(&error))?;
        (outputs, start.elapsed())
    };
    let checked = apply.run.check.then(|| {
        let _progress = Progress::spinner("checking in float64".to_owned());
        check::check(apply, &arrays, &outputs)
    });
    let outputs = files::write(&wanted, targets, |name| output(&outputs, name))?;

    let name = apply.norm.name.name();
    let report = Report {
        what: format!("{name} norm"),
        norm: name,
        direction: "forward",
        inputs: vec![Read { name: "input", path: &apply.input, array: &arrays.x }],
        gpu: &gpu,
        plan: report::passes(&plan),
        time,
        outputs,
        checked,
    };
    report.print(apply.run.json)
}

/// The norm that the options ask for, of an input of this shape.
fn specify(apply: &Apply, shape: &[usize]) -> Result<Box<dyn Norm>, SpecError> {
    let numbers = Numbers {
        eps: apply.eps(),
        weight_offset: apply.given.weight_offset(),
        running: apply.tracks().then(|| Running {
            momentum: Momentum::exponential(apply.momentum()),
            variance: match apply.estimator() {
                Estimator::Biased => VarianceEstimator::Biased,
                Estimator::Unbiased => VarianceEstimator::Unbiased,
            },
        }),
    };
    specify::norm(&apply.norm, shape, &numbers)
}

fn inputs<'a>(apply: &Apply, arrays: &'a Arrays) -> Inputs<ndarray::ArrayViewD<'a, f32>> {
    let mut inputs = Inputs::new(arrays.x.values.view());
    if let Some(weight) = &arrays.weight {
        inputs = inputs.weight(weight.values.view());
    }
    if let Some(bias) = &arrays.bias {
        inputs = inputs.bias(bias.values.view());
    }
    if let Some(mean) = &arrays.running_mean {
        inputs = inputs.running_mean(mean.values.view());
    }
    if let Some(var) = &arrays.running_var {
        inputs = inputs.running_var(var.values.view());
    }
    if apply.save_mean.is_some() {
        inputs = inputs.with_mean();
    }
    if apply.save_rstd.is_some() {
        inputs = inputs.with_rstd();
    }
    inputs
}

/// The output of this name.
pub(crate) fn output<'a>(outputs: &'a Outputs<ArrayD<f32>>, name: &str) -> Option<&'a ArrayD<f32>> {
    match name {
        "y" => Some(&outputs.y),
        "mean" => outputs.mean.as_ref(),
        "rstd" => outputs.rstd.as_ref(),
        "running_mean" => outputs.running_mean.as_ref(),
        "running_var" => outputs.running_var.as_ref(),
        _ => None,
    }
}
