//! The numbers of a run: what `wgpu-norm bench --json` writes and `--compare` reads.

use serde::{Deserialize, Serialize};
use wgpu_norm::{Element, Plan};

use super::rounds::{Measured, is_wide};
use super::{Case, Source, Trouble};

/// A whole run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    /// What `x` and all tensors of its size are stored as.
    #[serde(default = "f32")]
    pub(crate) dtype: String,
    /// What the seconds are.
    pub(crate) method: String,
    /// What copies were measured by, for each size of a tensor.
    pub(crate) copy: Vec<Copy>,
    pub(crate) cases: Vec<Row>,
}

/// The type of files that do not say it.
fn f32() -> String {
    Element::F32.to_string()
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
    /// The time over the copy's.
    pub(crate) time_to_copy: f64,
    /// What the plan moves over what the copy does.
    pub(crate) bytes_to_copy: f64,
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
            time_to_copy: 1.0 / ratio.median,
            bytes_to_copy: moved,
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
        // No batches are counted here.
        let passes = plan.passes().iter().filter(|pass| pass.name() != "count_batch").map(ToString::to_string);
        Self::of(case, passes.collect(), plan.bytes_moved(), error, outcome)
    }

    pub(crate) fn of(case: &Case, plan: Vec<String>, bytes: u64, error: Option<f64>, outcome: Outcome) -> Self {
        Self {
            norm: case.name(),
            direction: case.direction.name().to_owned(),
            gradients: case.direction.gradients().iter().map(|&name| name.to_owned()).collect(),
            shape: case.dims(),
            layout: case.layout().to_owned(),
            plan,
            bytes,
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

    /// The gradient, of a backward pass that computes no other.
    pub(crate) fn only_gradient(&self) -> Option<&str> {
        match self.gradients.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// `LayerNorm`, `LayerNorm, dx alone`.
    pub(crate) fn title(&self) -> String {
        match self.only_gradient() {
            Some(only) => format!("{}, {only} alone", self.norm),
            None => self.norm.clone(),
        }
    }

    /// `LayerNorm 4096x768 rows, backward`.
    pub(crate) fn name(&self) -> String {
        let direction = if self.direction == "forward" { "" } else { ", backward" };
        format!("{} {} {}{direction}", self.title(), self.shape, self.layout)
    }
}

impl Outcome {
    pub(crate) fn failed(trouble: &Trouble) -> Self {
        // What a driver says may have several lines.
        Self::Failed { failed: trouble.to_string().split_whitespace().collect::<Vec<_>>().join(" ") }
    }
}

impl Report {
    /// `first` is one of the cases, which are all stored as one type.
    pub(super) fn new(first: Option<&Case>, method: String, copy: Vec<Copy>, cases: Vec<Row>) -> Self {
        let dtype = first.map_or(Element::F32, |case| case.element).to_string();
        Self { dtype, method, copy, cases }
    }

    /// The cases that have no numbers.
    pub(crate) fn failed(&self) -> usize {
        self.cases.iter().filter(|row| row.speed().is_none()).count()
    }

    /// The type, where it does not go without saying.
    pub(crate) fn short(&self) -> Option<&str> {
        Some(self.dtype.as_str()).filter(|dtype| *dtype != f32())
    }

    /// Whether any case's rounds disagree.
    pub(crate) fn is_noisy(&self) -> bool {
        self.cases.iter().filter_map(Row::speed).any(Speed::is_noisy)
    }

    /// The forward passes and the backward ones, each with a heading.
    pub(crate) fn directions(&self) -> Vec<(&'static str, Vec<&Row>)> {
        [("Forward", "forward"), ("Backward", "backward")]
            .into_iter()
            .map(|(heading, direction)| (heading, self.cases.iter().filter(|row| row.direction == direction).collect()))
            .filter(|(_, rows): &(_, Vec<&Row>)| !rows.is_empty())
            .collect()
    }

    /// The first case whose numbers are none to compare with.
    pub(crate) fn incomparable(&self) -> Option<&Row> {
        self.cases.iter().find(|row| row.speed().is_some_and(|speed| !speed.is_sane()))
    }
}
