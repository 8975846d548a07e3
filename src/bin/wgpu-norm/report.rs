//! What `wgpu-norm apply` and `wgpu-norm grad` tell when all is done.

use std::time::Duration;

use serde_json::{Map, Value, json};
use wgpu_norm::sample::time;
use wgpu_norm::{Activation, Cpu, Element, Engine, Plan};

use crate::adapters;
use crate::check::{Checked, TOLERANCE};
use crate::cli::word;
use crate::failure::{Failure, print};
use crate::files::{self, Loaded, Read, Written};

pub(crate) struct Report<'a> {
    /// What was computed, as in `layer norm`.
    pub(crate) what: String,
    pub(crate) norm: &'static str,
    pub(crate) activation: Option<Activation>,
    pub(crate) direction: &'static str,
    /// What the input and all tensors of its size are stored as.
    pub(crate) dtype: Element,
    /// The first has the shape that is told.
    pub(crate) inputs: Vec<&'a Loaded>,
    pub(crate) engine: &'a Engine,
    /// One line a pass, of a GPU.
    pub(crate) plan: Vec<String>,
    pub(crate) time: Duration,
    pub(crate) outputs: Vec<Written<'a>>,
    pub(crate) checked: Option<Vec<Checked>>,
}

/// The passes in words. No batches are counted here.
pub(crate) fn passes(plan: &Plan) -> Vec<String> {
    plan.passes().iter().filter(|pass| pass.name() != "count_batch").map(ToString::to_string).collect()
}

impl Report<'_> {
    /// Prints it, and fails if a check did.
    pub(crate) fn print(&self, as_json: bool) -> Result<(), Failure> {
        print(&if as_json { self.json() } else { self.text() })?;
        let failed: Vec<String> = self
            .checked
            .iter()
            .flatten()
            .filter(|checked| !checked.passed())
            .map(|checked| {
                let relative = checked.worst.as_ref().map_or(f64::INFINITY, |worst| worst.relative);
                let beyond = beyond(checked.element, checked.rounded_before);
                format!(
                    "{} is off by {relative:.1e} of the size of its terms{beyond}{}",
                    checked.output,
                    self.by_conversion(checked)
                )
            })
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "--check found more than rounding: {}; {TOLERANCE:e} is the most that is taken for rounding; the outputs were \
             written",
            failed.join(", "),
        )))
    }

    fn text(&self) -> String {
        let shape = self.inputs.first().map(|input| input.values.shape()).unwrap_or_default();
        let (time, engine) = (time(self.time.as_secs_f64()), self.engine);
        let stored = if self.dtype == Element::F32 { String::new() } else { format!(", stored as {},", self.dtype) };
        let (what, on, why) = (&self.what, engine.describe(), engine.reason());
        let mut text = format!("{what} of {shape:?}{stored} in {time} on {on}: {why}\n");
        for pass in &self.plan {
            text.push_str(&format!("plan: {pass}\n"));
        }
        for checked in self.checked.iter().flatten() {
            let output = checked.output;
            text.push_str(&match &checked.worst {
                Some(worst) => format!(
                    "check: {output} is off by at most {:.1e} of the size of its terms{}{}, at {:?}: {:?}, and {:?} in \
                     float64\n",
                    worst.relative,
                    beyond(checked.element, checked.rounded_before),
                    self.by_conversion(checked),
                    worst.index,
                    worst.got as f32,
                    worst.want
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
            .map(|Written { name, path, shape, element }| {
                let (file, dtype) = (path.display().to_string(), element.to_string());
                ((*name).to_owned(), json!({ "file": file, "shape": shape, "dtype": dtype }))
            })
            .collect();
        let check = self.checked.as_ref().map(|checked| {
            let errors: Map<String, Value> =
                checked.iter().map(|checked| (checked.output.to_owned(), json_of(checked))).collect();
            json!({
                "passed": checked.iter().all(Checked::passed),
                "tolerance": TOLERANCE,
                "largest_errors": errors,
            })
        });
        let inputs: Map<String, Value> = self
            .inputs
            .iter()
            .filter_map(|Loaded { values, converted_from, read, .. }| {
                let Read { name, path } = read.as_ref()?;
                let (file, shape) = (path.display().to_string(), values.shape());
                Some((name.clone(), json!({ "file": file, "shape": shape, "converted_from": converted_from })))
            })
            .collect();
        // Options as they were given: `eps`, axes and the like.
        let arguments: Vec<_> = std::env::args_os().skip(1).map(|of| of.to_string_lossy().into_owned()).collect();
        let mut object = json!({
            "arguments": arguments,
            "norm": self.norm,
            "activation": self.activation.map(word),
            "direction": self.direction,
            "dtype": self.dtype.to_string(),
            "device": adapters::device(self.engine),
            "adapter": self.engine.gpu().map(|gpu| adapters::identity(gpu.adapter_info())),
            "cpu": self.engine.cpu().map(Cpu::describe),
            "reason": self.engine.reason(),
            "plan": self.plan,
            "seconds": self.time.as_secs_f64(),
            "outputs": outputs,
            "check": check,
        });
        if let Value::Object(object) = &mut object {
            object.extend(inputs);
        }
        format!("{object}\n")
    }

    /// What the conversion of the inputs has to do with an error, where it rounded one.
    fn by_conversion(&self, checked: &Checked) -> String {
        let to = files::name(self.dtype);
        checked.by_conversion.map_or_else(String::new, |off| format!(" ({off:.1e} by conversion to {to})"))
    }
}

/// That an error has been taken without the roundings to a 16-bit type.
fn beyond(element: Element, rounded_before: bool) -> String {
    let roundings = if rounded_before { "two roundings" } else { "one rounding" };
    if element == Element::F32 { String::new() } else { format!(" beyond {roundings} to {}", files::name(element)) }
}

/// The largest error of an output. An infinite one has no number in JSON, and becomes null.
fn json_of(checked: &Checked) -> Value {
    json!(checked.worst.as_ref().map(|worst| {
        json!({
            "relative": worst.relative,
            "by_conversion": checked.by_conversion,
            "absolute": worst.absolute,
            "index": worst.index,
            "got": worst.got,
            "want": worst.want,
        })
    }))
}
