//! The numbers of a run: what `--json` writes and `--compare` reads.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wgpu_norm::Plan;

use super::rounds::{Measured, is_wide};
use super::timing::{Case, Source};
use crate::check::TOLERANCE;
use crate::failure::{Failure, one_line};

/// A whole run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) adapter: Map<String, Value>,
    /// What the seconds are.
    pub(crate) method: String,
    /// What copies were measured by, for each size of a tensor.
    pub(crate) copy: Vec<Copy>,
    pub(crate) cases: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Copy {
    /// Of the tensor; a copy moves twice as many.
    pub(crate) tensor_bytes: u64,
    pub(crate) kernel: String,
}

/// One case.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) norm: String,
    pub(crate) direction: String,
    /// What a backward pass computes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gradients: Vec<String>,
    pub(crate) shape: String,
    pub(crate) layout: String,
    /// One line a pass.
    pub(crate) plan: Vec<String>,
    /// What the plan moves.
    pub(crate) bytes: u64,
    /// The largest relative to the size of the terms. None if it is infinite, or if there was no result.
    pub(crate) error: Option<f64>,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    Failed {
        /// Why there are no numbers.
        failed: String,
    },
    Timed(Speed),
}

/// Medians of all rounds, with their quartiles. A file may lack some, since only two are compared.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Speed {
    pub(crate) seconds: f64,
    pub(crate) seconds_low: f64,
    pub(crate) seconds_high: f64,
    /// Of the best round: what is left of a noisy machine's noise.
    pub(crate) seconds_least: f64,
    pub(crate) gb_per_s: f64,
    /// Bytes a second over those of the copy.
    pub(crate) ratio_to_copy: f64,
    pub(crate) ratio_low: f64,
    pub(crate) ratio_high: f64,
    pub(crate) copy_seconds: f64,
    pub(crate) copy_seconds_least: f64,
    pub(crate) copy_gb_per_s: f64,
    pub(crate) copy_kernel: String,
    pub(crate) rounds: usize,
    /// `timestamps` or `wall`.
    pub(crate) clock: String,
}

impl Speed {
    pub(crate) fn new(bytes: u64, tensor_bytes: u64, measured: &Measured, copy_kernel: String) -> Self {
        let Measured { seconds, copy_seconds, ratio, rounds, source } = *measured;
        let (bytes, copied) = (bytes as f64, 2.0 * tensor_bytes as f64);
        let moved = bytes / copied;
        Self {
            seconds: seconds.median,
            seconds_low: seconds.low,
            seconds_high: seconds.high,
            seconds_least: seconds.least,
            gb_per_s: bytes / seconds.median / 1e9,
            ratio_to_copy: moved * ratio.median,
            ratio_low: moved * ratio.low,
            ratio_high: moved * ratio.high,
            copy_seconds: copy_seconds.median,
            copy_seconds_least: copy_seconds.least,
            copy_gb_per_s: copied / copy_seconds.median / 1e9,
            copy_kernel,
            rounds,
            clock: match source {
                Source::Timestamps => "timestamps",
                Source::Wall => "wall",
            }
            .to_owned(),
        }
    }

    /// Whether the rounds disagree on the ratio.
    pub(crate) fn is_noisy(&self) -> bool {
        is_wide(self.ratio_low, self.ratio_to_copy, self.ratio_high)
    }

    /// Whether all that is compared are numbers that can be.
    fn is_sane(&self) -> bool {
        [self.seconds, self.ratio_to_copy].iter().all(|number| number.is_finite() && *number > 0.0)
    }
}

impl Row {
    pub(crate) fn new(case: &Case, plan: &Plan, error: Option<f64>, outcome: Outcome) -> Self {
        Self {
            norm: case.name(),
            direction: case.direction.name().to_owned(),
            gradients: case.direction.gradients().iter().map(|&name| name.to_owned()).collect(),
            shape: case.dims(),
            layout: case.layout().to_owned(),
            // No batches are counted here.
            plan: plan.passes().iter().filter(|pass| pass.name() != "count_batch").map(ToString::to_string).collect(),
            bytes: plan.bytes_moved(),
            error: error.filter(|error| error.is_finite()),
            outcome,
        }
    }

    pub(crate) fn speed(&self) -> Option<&Speed> {
        match &self.outcome {
            Outcome::Timed(speed) => Some(speed),
            Outcome::Failed { .. } => None,
        }
    }

    /// What makes it the same case in another run.
    pub(crate) fn identity(&self) -> ([&str; 4], &[String]) {
        ([&self.norm, &self.direction, &self.shape, &self.layout], &self.gradients)
    }

    /// `LayerNorm`, `LayerNorm backward`.
    pub(crate) fn title(&self) -> String {
        match self.direction.as_str() {
            "forward" => self.norm.clone(),
            direction => format!("{} {direction}", self.norm),
        }
    }

    /// The gradient, of a backward pass that computes no other.
    pub(crate) fn only_gradient(&self) -> Option<&str> {
        match self.gradients.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// `LayerNorm`, `LayerNorm backward`, `LayerNorm backward dx`.
    pub(crate) fn long_title(&self) -> String {
        match self.only_gradient() {
            Some(only) => format!("{} {only}", self.title()),
            None => self.title(),
        }
    }

    /// `LayerNorm backward 4096x768 rows`.
    pub(crate) fn name(&self) -> String {
        format!("{} {} {}", self.long_title(), self.shape, self.layout)
    }
}

impl Outcome {
    /// A result that is off by so much.
    pub(crate) fn wrong(error: f64) -> Self {
        Self::Failed { failed: format!("off by {error:.1e}, and {TOLERANCE:e} is the most") }
    }
}

impl Report {
    /// The cases that have no numbers.
    pub(crate) fn failed(&self) -> usize {
        self.cases.iter().filter(|row| row.speed().is_none()).count()
    }

    /// Whether any case's rounds disagree.
    pub(crate) fn is_noisy(&self) -> bool {
        self.cases.iter().filter_map(Row::speed).any(Speed::is_noisy)
    }

    pub(crate) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self)
            .map(|text| text + "\n")
            .map_err(|error| Failure::Failed(format!("the numbers make no JSON: {error}")))
    }

    /// An earlier run.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let refused = |why: String| {
            Failure::Failed(format!("cannot compare with `{}` (--compare): {}", path.display(), one_line(&why)))
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(refused("there is no such file".to_owned()));
            }
            Err(error) => return Err(refused(error.to_string())),
        };
        let report: Self = serde_json::from_str(&text)
            .map_err(|error| refused(format!("it is not what `wgpu-norm bench --json` writes: {error}")))?;
        match report.cases.iter().find(|row| row.speed().is_some_and(|speed| !speed.is_sane())) {
            Some(row) => Err(refused(format!("the numbers of {} are none to compare with", row.name()))),
            None => Ok(report),
        }
    }
}
