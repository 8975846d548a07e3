//! `wgpu-norm grad`: reads, differentiates, writes and tells.

use std::path::Path;
use std::time::Instant;

use ndarray::ArrayD;
use wgpu_norm::{Backward, Error, Inputs};

use crate::cli::{Device, Grad};
use crate::failure::Failure;
use crate::files::{self, Input};
use crate::progress::Progress;
use crate::report::{self, Read, Report};
use crate::specify::{self, Numbers};
use crate::{adapters, check, usage};

/// The arrays a backward pass works on.
pub(crate) struct Arrays {
    pub(crate) x: ArrayD<f32>,
    pub(crate) grad_output: ArrayD<f32>,
    pub(crate) weight: Option<ArrayD<f32>>,
    pub(crate) running_mean: Option<ArrayD<f32>>,
    pub(crate) running_var: Option<ArrayD<f32>>,
}

pub(crate) fn run(grad: &Grad) -> Result<(), Failure> {
    usage::check_grad(grad)?;
    // All paths first, as for the forward pass.
    let given = &grad.given;
    let input = Input::locate("--input", &grad.input)?;
    let grad_output = Input::locate("--grad-output", &grad.grad_output)?;
    let weight = Input::locate_optional("--weight", given.weight.as_ref())?;
    let running_mean = Input::locate_optional("--running-mean", given.running_mean.as_ref())?;
    let running_var = Input::locate_optional("--running-var", given.running_var.as_ref())?;
    let asked = grad.wanted();
    let paths: Vec<(&str, &Path)> = asked.iter().map(|&(_, option, path)| (option, path)).collect();
    let targets = files::targets(&paths)?;

    let refused = |error: &Error| specify::refused(error, grad.norm.groups.is_some());
    let input = input.load()?;
    // A backward pass updates no running statistics.
    let numbers = Numbers { eps: grad.eps(), weight_offset: given.weight_offset(), running: None };
    let norm = specify::norm(&grad.norm, input.values.shape(), &numbers).map_err(|error| refused(&error.into()))?;
    let grad_output = grad_output.load()?;
    let arrays = Arrays {
        x: input.values,
        grad_output: grad_output.values,
        weight: Input::load_optional(weight.as_ref())?,
        running_mean: Input::load_optional(running_mean.as_ref())?,
        running_var: Input::load_optional(running_var.as_ref())?,
    };

    let Device::Gpu = grad.run.device;
    let gpu = adapters::start(grad.run.adapter.as_deref())?;
    let wanted = wanted(grad);
    let plan = gpu.context().plan_backward(norm.as_ref(), wanted).map_err(|error| refused(&error.into()))?;
    let name = grad.norm.name.name();
    let (gradients, time) = {
        let _progress = Progress::spinner(format!("gradients of {name} norm"));
        let start = Instant::now();
        let gradients =
            gpu.run_backward_array_blocking(norm.as_ref(), wanted, inputs(&arrays)).map_err(|error| refused(&error))?;
        (gradients, start.elapsed())
    };
    let checked = grad.run.check.then(|| {
        let _progress = Progress::spinner("checking in float64".to_owned());
        check::check_gradients(grad, &arrays, &gradients)
    });
    let outputs = files::write(&asked, targets, |name| match name {
        "grad_input" => gradients.input.as_ref(),
        "grad_weight" => gradients.weight.as_ref(),
        "grad_bias" => gradients.bias.as_ref(),
        _ => None,
    })?;

    let read = |name, path, values: &ArrayD<f32>, converted_from| Read {
        name,
        path,
        shape: values.shape().to_vec(),
        converted_from,
    };
    let report = Report {
        what: format!("gradients of {name} norm"),
        norm: name,
        direction: "backward",
        inputs: vec![
            read("input", &grad.input, &arrays.x, input.converted_from),
            read("grad_output", &grad.grad_output, &arrays.grad_output, grad_output.converted_from),
        ],
        gpu: &gpu,
        plan: report::passes(&plan),
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

fn inputs(arrays: &Arrays) -> Inputs<ndarray::ArrayViewD<'_, f32>> {
    let mut inputs = Inputs::new(arrays.x.view()).grad_output(arrays.grad_output.view());
    if let Some(weight) = &arrays.weight {
        inputs = inputs.weight(weight.view());
    }
    if let Some(mean) = &arrays.running_mean {
        inputs = inputs.running_mean(mean.view());
    }
    if let Some(var) = &arrays.running_var {
        inputs = inputs.running_var(var.view());
    }
    inputs
}
