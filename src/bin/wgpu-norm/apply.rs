//! `wgpu-norm apply`: reads, normalizes, writes and tells.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ndarray::{ArrayD, IxDyn};
use serde_json::{Map, Value, json};
use wgpu_norm::reference::Deviation;
use wgpu_norm::{BindError, Error, Gpu, Inputs, Momentum, Norm, Outputs, SpecError, VarianceEstimator};

use crate::check::{self, Checked, TOLERANCE};
use crate::cli::{Apply, Device, Estimator};
use crate::failure::{Failure, note};
use crate::files::{self, Location};
use crate::progress::Progress;
use crate::specify::{self, Numbers, Running};
use crate::{adapters, usage};

/// The arrays a norm works on.
pub(crate) struct Arrays {
    pub(crate) x: ArrayD<f32>,
    pub(crate) weight: Option<ArrayD<f32>>,
    pub(crate) bias: Option<ArrayD<f32>>,
    pub(crate) running_mean: Option<ArrayD<f32>>,
    pub(crate) running_var: Option<ArrayD<f32>>,
}

/// What there is to tell when all is done.
struct Report<'a> {
    apply: &'a Apply,
    /// The type that the input was converted from.
    converted_from: Option<&'static str>,
    shape: &'a [usize],
    gpu: &'a Gpu,
    plan: Vec<String>,
    time: Duration,
    /// The name, the path and the shape of each output.
    outputs: Vec<(&'static str, &'a Path, Vec<usize>)>,
    checked: Option<Vec<Checked>>,
}

pub(crate) fn run(apply: &Apply) -> Result<(), Failure> {
    usage::check(apply)?;
    // All paths first: a typo in the last should not cost the time the others take.
    let locate = |option: &'static str, path: &Path| Ok((option, Location::parse(option, path)?));
    let optional =
        |option: &'static str, path: &Option<PathBuf>| path.as_deref().map(|path| locate(option, path)).transpose();
    let input = locate("--input", &apply.input)?;
    let weight = optional("--weight", &apply.weight)?;
    let bias = optional("--bias", &apply.bias)?;
    let running_mean = optional("--running-mean", &apply.running_mean)?;
    let running_var = optional("--running-var", &apply.running_var)?;
    let wanted = apply.wanted();
    let asked: Vec<(&str, &Path)> = wanted.iter().map(|&(_, option, path)| (option, path)).collect();
    let targets = files::targets(&asked)?;

    let (x, converted_from) = load(&input)?;
    let norm = specify(apply, x.shape()).map_err(|error| refused(apply, &error.into()))?;
    let mut arrays = Arrays {
        x,
        weight: load_optional(&weight)?,
        bias: load_optional(&bias)?,
        running_mean: load_optional(&running_mean)?,
        running_var: load_optional(&running_var)?,
    };
    if apply.tracks() && arrays.running_mean.is_none() {
        let shape = norm.parameter_shape();
        arrays.running_mean = Some(ArrayD::zeros(IxDyn(&shape)));
        arrays.running_var = Some(ArrayD::ones(IxDyn(&shape)));
    }

    let Device::Gpu = apply.device;
    let gpu = {
        let _progress = Progress::spinner("starting the GPU".to_owned());
        match &apply.adapter {
            Some(name) => Gpu::with_adapter_blocking(name),
            None => Gpu::new_blocking(),
        }
        .map_err(|error| refused(apply, &error))?
    };
    let plan = gpu.context().plan(norm.as_ref()).map_err(|error| refused(apply, &error.into()))?;
    // No batches are counted here.
    let plan = plan.passes().iter().filter(|pass| pass.name() != "count_batch").map(ToString::to_string).collect();
    let (outputs, time) = {
        let _progress = Progress::spinner(format!("{} norm", apply.norm.name.name()));
        let start = Instant::now();
        let outputs =
            gpu.run_array_blocking(norm.as_ref(), inputs(apply, &arrays)).map_err(|error| refused(apply, &error))?;
        (outputs, start.elapsed())
    };
    let checked = apply.check.then(|| {
        let _progress = Progress::spinner("checking in float64".to_owned());
        check::check(apply, &arrays, &outputs)
    });

    let mut staged = Vec::new();
    let mut written = Vec::new();
    for (&(name, option, path), target) in wanted.iter().zip(targets) {
        let Some(values) = output(&outputs, name) else {
            return Err(Failure::Failed(format!("the library gave no {name} for {option}, which is a bug")));
        };
        staged.push(target.stage(values)?);
        written.push((name, path, values.shape().to_vec()));
    }
    files::commit(staged)?;

    Report { apply, converted_from, shape: arrays.x.shape(), gpu: &gpu, plan, time, outputs: written, checked }.print()
}

/// Reads an input, and says on standard error if it was converted.
fn load((option, location): &(&'static str, Location)) -> Result<(ArrayD<f32>, Option<&'static str>), Failure> {
    let loaded = location.load(option)?;
    if let Some(from) = loaded.converted_from {
        note(&format!("{location} ({option}) is {from} and was converted to float32"));
    }
    Ok((loaded.values, loaded.converted_from))
}

fn load_optional(location: &Option<(&'static str, Location)>) -> Result<Option<ArrayD<f32>>, Failure> {
    location.as_ref().map(|location| load(location).map(|(values, _)| values)).transpose()
}

/// The norm that the options ask for, of an input of this shape.
fn specify(apply: &Apply, shape: &[usize]) -> Result<Box<dyn Norm>, SpecError> {
    let numbers = Numbers {
        eps: apply.eps(),
        weight_offset: apply.weight_offset(),
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
    let mut inputs = Inputs::new(arrays.x.view());
    if let Some(weight) = &arrays.weight {
        inputs = inputs.weight(weight.view());
    }
    if let Some(bias) = &arrays.bias {
        inputs = inputs.bias(bias.view());
    }
    if let Some(mean) = &arrays.running_mean {
        inputs = inputs.running_mean(mean.view());
    }
    if let Some(var) = &arrays.running_var {
        inputs = inputs.running_var(var.view());
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
fn output<'a>(outputs: &'a Outputs<ArrayD<f32>>, name: &str) -> Option<&'a ArrayD<f32>> {
    match name {
        "y" => Some(&outputs.y),
        "mean" => outputs.mean.as_ref(),
        "rstd" => outputs.rstd.as_ref(),
        "running_mean" => outputs.running_mean.as_ref(),
        "running_var" => outputs.running_var.as_ref(),
        _ => None,
    }
}

/// The library's refusal, with the option it is about.
fn refused(apply: &Apply, error: &Error) -> Failure {
    let option = match error {
        Error::Spec(error) => specify::option(error, apply.norm.groups.is_some(), "--input"),
        Error::Bind(BindError::Shape { tensor, shape, must }) => {
            let option = tensor.replace('_', "-");
            return Failure::Failed(format!("--{option}: its shape is {shape:?} but must be {must:?}"));
        }
        error => specify::option_of_adapter(error, apply.adapter.as_deref()),
    };
    specify::refusal(option, error)
}

impl Report<'_> {
    fn print(&self) -> Result<(), Failure> {
        crate::print(&if self.apply.json { self.json() } else { self.text() })?;
        let failed: Vec<String> = self
            .checked
            .iter()
            .flatten()
            .filter(|checked| !checked.passed())
            .map(|checked| {
                let relative = checked.worst.as_ref().map_or(f64::INFINITY, |worst| worst.relative);
                format!("{} is off by {relative:.1e}", checked.output)
            })
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "--check found more than rounding: {}, of the size of its terms, and {TOLERANCE:e} is the most that is \
             taken for rounding; the outputs were written",
            failed.join(", ")
        )))
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} norm of {:?} in {:.1} ms on {}\n",
            self.apply.norm.name.name(),
            self.shape,
            self.time.as_secs_f64() * 1e3,
            self.gpu.describe()
        );
        for pass in &self.plan {
            text.push_str(&format!("plan: {pass}\n"));
        }
        for Checked { output, worst } in self.checked.iter().flatten() {
            text.push_str(&match worst {
                Some(worst) => format!(
                    "check: {output} is off by at most {:.1e} of the size of its terms, at {:?}: {:?}, and {:?} in \
                     float64\n",
                    worst.relative, worst.index, worst.got as f32, worst.want
                ),
                None => format!("check: {output} is empty\n"),
            });
        }
        text
    }

    fn json(&self) -> String {
        let outputs: Map<String, Value> = self
            .outputs
            .iter()
            .map(|(name, path, shape)| {
                ((*name).to_owned(), json!({ "file": path.display().to_string(), "shape": shape }))
            })
            .collect();
        let check = self.checked.as_ref().map(|checked| {
            let errors: Map<String, Value> = checked
                .iter()
                .map(|Checked { output, worst }| ((*output).to_owned(), json_of(worst.as_ref())))
                .collect();
            json!({
                "passed": checked.iter().all(Checked::passed),
                "tolerance": TOLERANCE,
                "largest_errors": errors,
            })
        });
        let object = json!({
            "norm": self.apply.norm.name.name(),
            "input": {
                "file": self.apply.input.display().to_string(),
                "shape": self.shape,
                "converted_from": self.converted_from,
            },
            "device": "gpu",
            "adapter": adapters::identity(self.gpu.adapter_info()),
            "plan": self.plan,
            "seconds": self.time.as_secs_f64(),
            "outputs": outputs,
            "check": check,
        });
        format!("{object}\n")
    }
}

/// The largest error of an output. An infinite one has no number in JSON, and becomes null.
fn json_of(worst: Option<&Deviation>) -> Value {
    json!(worst.map(|worst| {
        json!({
            "relative": worst.relative,
            "absolute": worst.absolute,
            "index": worst.index,
            "got": worst.got,
            "want": worst.want,
        })
    }))
}
