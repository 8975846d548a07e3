//! What is computed: every norm and its gradients, in every layout, on data that wrong arithmetic cannot get right.

use super::check::Way;
use crate::backward::Backward;
use crate::error::SpecError;
use crate::gpu::Gpu;
use crate::gpu::plan::Plan;
use crate::norm::{DEFAULT_EPS, Norm};
use crate::sample::Kind;

/// A norm of one shape, or its gradients.
#[derive(Debug)]
pub(super) struct Case {
    /// The norm's name, as `wgpu-norm apply` takes it, and more where that is not all.
    pub(super) norm: &'static str,
    pub(super) backward: bool,
    pub(super) layout: &'static str,
    pub(super) kind: Kind,
    pub(super) shape: &'static [usize],
    /// Whether `x` is very small and very large as well.
    scales: bool,
}

const fn case(norm: &'static str, layout: &'static str, kind: Kind, shape: &'static [usize]) -> Case {
    Case { norm, backward: false, layout, kind, shape, scales: false }
}

const fn backward(norm: &'static str, layout: &'static str, kind: Kind, shape: &'static [usize]) -> Case {
    Case { norm, backward: true, layout, kind, shape, scales: false }
}

const FIRST: &str = "channels first";
const MIDDLE: &str = "channels between";
const LAST: &str = "channels last";
const ROWS: &str = "rows";
const COLUMNS: &str = "columns";

/// Widths are multiples of four and not; rows from those that one lane takes alone to those that no workgroup holds; most
/// tensors do not fit the windows of [`WINDOW_BYTES`](super::WINDOW_BYTES).
pub(super) static CASES: [Case; 53] = [
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[700, 31]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[300, 64]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[300, 200]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[33, 768]).at_every_scale(),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[19, 1001]),
    case("layer", ROWS, Kind::Layer { ndim: 2 }, &[9, 64, 64]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[3, 16_384]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[2, 40_000]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[2, 33_333]).at_every_scale(),
    case("rms", ROWS, Kind::Rms { weight_offset: 0.0 }, &[33, 768]).at_every_scale(),
    case("rms", ROWS, Kind::Rms { weight_offset: 1.0 }, &[19, 1001]),
    case("rms", ROWS, Kind::Rms { weight_offset: 0.0 }, &[2, 33_333]),
    case("group", FIRST, Kind::Group { groups: 8, axis: 1 }, &[4, 32, 15, 15]),
    case("group", FIRST, Kind::Group { groups: 2, axis: 1 }, &[1, 4, 132, 130]),
    case("group", MIDDLE, Kind::Group { groups: 8, axis: 2 }, &[4, 15, 32, 15]),
    case("group", LAST, Kind::Group { groups: 8, axis: 3 }, &[4, 16, 16, 32]).at_every_scale(),
    case("group", LAST, Kind::Group { groups: 3, axis: 3 }, &[3, 17, 17, 21]),
    case("instance", FIRST, Kind::Instance { axis: 1 }, &[4, 12, 20, 20]),
    case("instance", MIDDLE, Kind::Instance { axis: 2 }, &[4, 20, 12, 20]),
    case("instance", LAST, Kind::Instance { axis: 3 }, &[4, 20, 20, 12]),
    case("instance", LAST, Kind::Instance { axis: 3 }, &[2, 61, 61, 3]),
    case("batch, training", FIRST, Kind::BatchTrain { axis: 1 }, &[8, 12, 14, 14]),
    case("batch, training", FIRST, Kind::BatchTrain { axis: 1 }, &[9, 3, 27, 27]),
    case("batch, training", MIDDLE, Kind::BatchTrain { axis: 2 }, &[8, 14, 12, 14]),
    case("batch, training", LAST, Kind::BatchTrain { axis: 3 }, &[8, 14, 14, 12]),
    case("batch, training", LAST, Kind::BatchTrain { axis: 1 }, &[6001, 3]),
    case("batch, eval", FIRST, Kind::BatchEval { axis: 1 }, &[9, 3, 27, 27]),
    case("batch, eval", MIDDLE, Kind::BatchEval { axis: 2 }, &[8, 14, 12, 14]),
    case("batch, eval", LAST, Kind::BatchEval { axis: 3 }, &[8, 14, 14, 12]),
    case("mvn", FIRST, Kind::Mvn { axes: &[0, 2, 3] }, &[8, 12, 14, 14]),
    case("mvn", ROWS, Kind::Mvn { axes: &[2, 3] }, &[9, 3, 27, 27]),
    case("lp, p = 1", ROWS, Kind::Lp { p: 1, axes: &[1] }, &[19, 1001]).at_every_scale(),
    case("lp, p = 2", ROWS, Kind::Lp { p: 2, axes: &[1] }, &[33, 768]),
    case("lp, p = 2", COLUMNS, Kind::Lp { p: 2, axes: &[0] }, &[2000, 12]).at_every_scale(),
    case("lp, p = 2", COLUMNS, Kind::Lp { p: 2, axes: &[1] }, &[4, 3, 40, 41]),
    case("mvn", COLUMNS, Kind::Mvn { axes: &[1] }, &[4, 8, 40, 40]).at_every_scale(),
    // Pipelines take long to compile: few, in all that plans differ by.
    backward("layer", ROWS, Kind::Layer { ndim: 1 }, &[700, 31]),
    backward("layer", ROWS, Kind::Layer { ndim: 1 }, &[33, 768]).at_every_scale(),
    backward("layer", ROWS, Kind::Layer { ndim: 1 }, &[2, 33_333]).at_every_scale(),
    backward("rms", ROWS, Kind::Rms { weight_offset: 1.0 }, &[19, 1001]),
    backward("rms", ROWS, Kind::Rms { weight_offset: 0.0 }, &[2, 40_000]),
    backward("group", FIRST, Kind::Group { groups: 8, axis: 1 }, &[4, 32, 15, 15]),
    backward("group", FIRST, Kind::Group { groups: 2, axis: 1 }, &[1, 4, 132, 130]),
    backward("group", MIDDLE, Kind::Group { groups: 8, axis: 2 }, &[4, 15, 32, 15]),
    backward("group", LAST, Kind::Group { groups: 8, axis: 3 }, &[4, 16, 16, 32]).at_every_scale(),
    backward("instance", FIRST, Kind::Instance { axis: 1 }, &[4, 12, 20, 20]),
    backward("instance", MIDDLE, Kind::Instance { axis: 2 }, &[4, 20, 12, 20]),
    backward("instance", LAST, Kind::Instance { axis: 3 }, &[4, 20, 20, 12]),
    backward("batch, training", FIRST, Kind::BatchTrain { axis: 1 }, &[9, 3, 27, 27]),
    backward("batch, training", MIDDLE, Kind::BatchTrain { axis: 2 }, &[8, 14, 12, 14]),
    backward("batch, training", LAST, Kind::BatchTrain { axis: 1 }, &[6001, 3]),
    backward("batch, eval", FIRST, Kind::BatchEval { axis: 1 }, &[9, 3, 27, 27]),
    backward("batch, eval", LAST, Kind::BatchEval { axis: 3 }, &[8, 14, 14, 12]),
];

/// What the elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// Standard deviation 1 around 0.
    Zero,
    /// Standard deviation 1 around 1e6, where a mean kept as one float32 is off by 0.03.
    FarMean,
    /// As around 0, but the first element is 1e6.
    Outlier,
    /// All the same.
    Constant,
    /// As around 0, with one NaN.
    Nan,
    /// As around 0, with one infinity.
    Infinity,
    /// Mean and standard deviation of this size, whose squares are no f32, and `eps` 0.
    Tiny,
    Small,
    Large,
    Huge,
}

impl Data {
    pub(super) const ALL: [Self; 10] = [
        Self::Zero,
        Self::FarMean,
        Self::Outlier,
        Self::Constant,
        Self::Nan,
        Self::Infinity,
        Self::Tiny,
        Self::Small,
        Self::Large,
        Self::Huge,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zero => "mean 0",
            Self::FarMean => "mean 1e6",
            Self::Outlier => "outlier first",
            Self::Constant => "constant",
            Self::Nan => "NaN in a group",
            Self::Infinity => "infinity in a group",
            Self::Tiny => "scale 1e-36",
            Self::Small => "scale 1e-20",
            Self::Large => "scale 1e20",
            Self::Huge => "scale 1e37",
        }
    }

    /// The size of the elements, where that is what it is about.
    pub(super) fn scale(self) -> Option<f32> {
        match self {
            Self::Tiny => Some(1e-36),
            Self::Small => Some(1e-20),
            Self::Large => Some(1e20),
            Self::Huge => Some(1e37),
            _ => None,
        }
    }

    pub(super) fn eps(self) -> f32 {
        if self.scale().is_some() { 0.0 } else { DEFAULT_EPS }
    }

    pub(super) fn is_finite(self) -> bool {
        !matches!(self, Self::Nan | Self::Infinity)
    }
}

impl Case {
    /// `layer, rows, 33x768`, `layer, gradients, rows, 33x768`.
    pub(super) fn name(&self) -> String {
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        let direction = if self.backward { ", gradients" } else { "" };
        format!("{}{direction}, {}, {}", self.norm, self.layout, shape.join("x"))
    }

    /// On this data, which has an `eps` of its own.
    pub(super) fn norm(&self, data: Data) -> Result<Box<dyn Norm>, SpecError> {
        self.kind.norm(self.shape, data.eps())
    }

    /// On what it is computed.
    pub(super) fn data(&self) -> impl Iterator<Item = Data> {
        Data::ALL.into_iter().filter(|data| self.scales || data.scale().is_none())
    }

    const fn at_every_scale(self) -> Self {
        Self { scales: true, ..self }
    }

    /// Which gradients, and by which statistics.
    pub(super) fn wanted(&self, way: Way) -> Backward {
        match (way, self.kind) {
            (Way::OverDy, kind) if !matches!(kind, Kind::BatchEval { .. }) => Backward::new().saved_statistics(),
            _ => Backward::new(),
        }
    }

    pub(super) fn plan(&self, gpu: &Gpu, norm: &dyn Norm, way: Way) -> Result<Plan, SpecError> {
        if self.backward { gpu.context().plan_backward(norm, self.wanted(way)) } else { gpu.context().plan(norm) }
    }
}
