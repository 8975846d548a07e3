//! `wgpu-norm grad`: reads, differentiates, writes and tells.

use std::path::Path;
use std::time::Instant;

use ndarray::ArrayD;
use wgpu_norm::{Backward, Error, Gradients, Inputs};

use crate::cli::{Device, Grad};
use crate::failure::Failure;
use crate::files::{self, Input, Loaded};
use crate::progress::Progress;
use crate::report::{self, Read, Report};
use crate::specify::{self, Numbers};
use crate::{adapters, check, usage};

/// The arrays a backward pass works on.
pub(crate) struct Arrays {
    pub(crate) x: Loaded,
    pub(crate) grad_output: Loaded,
    pub(crate) weight: Option<Loaded>,
    pub(crate) running_mean: Option<Loaded>,
    pub(crate) running_var: Option<Loaded>,
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
    let x = input.load(grad.run.check)?;
    // A backward pass updates no running statistics.
    let numbers = Numbers { eps: grad.eps(), weight_offset: given.weight_offset(), running: None };
    let norm = specify::norm(&grad.norm, x.values.shape(), &numbers).map_err(|error| refused(&error.into()))?;
    let optional = |input: Option<&Input>| Input::load_optional(input, grad.run.check);
    let arrays = Arrays {
        x,
        grad_output: grad_output.load(grad.run.check)?,
        weight: optional(weight.as_ref())?,
        running_mean: optional(running_mean.as_ref())?,
        running_var: optional(running_var.as_ref())?,
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
    let outputs = files::write(&asked, targets, |name| output(&gradients, name))?;

    let report = Report {
        what: format!("gradients of {name} norm"),
        norm: name,
        direction: "backward",
        inputs: vec![
            Read { name: "input", path: &grad.input, array: &arrays.x },
            Read { name: "grad_output", path: &grad.grad_output, array: &arrays.grad_output },
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
    let mut inputs = Inputs::new(arrays.x.values.view()).grad_output(arrays.grad_output.values.view());
    if let Some(weight) = &arrays.weight {
        inputs = inputs.weight(weight.values.view());
    }
    if let Some(mean) = &arrays.running_mean {
        inputs = inputs.running_mean(mean.values.view());
    }
    if let Some(var) = &arrays.running_var {
        inputs = inputs.running_var(var.values.view());
    }
    inputs
}

/// The gradient of this name.
pub(crate) fn output<'a>(gradients: &'a Gradients<ArrayD<f32>>, name: &str) -> Option<&'a ArrayD<f32>> {
    match name {
        "grad_input" => gradients.input.as_ref(),
        "grad_weight" => gradients.weight.as_ref(),
        "grad_bias" => gradients.bias.as_ref(),
        _ => None,
    }
}
