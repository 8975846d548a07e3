//! What is computed: every norm and its gradients, in every layout, on data that wrong arithmetic cannot get right.

use crate::backward::Backward;
use crate::element::Element;
use crate::epilogue::Activation;
use crate::error::SpecError;
use crate::gpu::Gpu;
use crate::gpu::plan::Plan;
use crate::norm::{DEFAULT_EPS, Norm};
use crate::sample::{Following, Kind, Running};

/// A norm of one shape, or its gradients.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) backward: bool,
    pub(super) layout: &'static str,
    pub(super) kind: Kind,
    pub(super) shape: &'static [usize],
    pub(super) following: Following<'static>,
    /// What `x` and all tensors of its size are stored as.
    pub(super) element: Element,
    /// On what it is computed.
    pub(super) data: &'static [Data],
}

const fn case(layout: &'static str, kind: Kind, shape: &'static [usize]) -> Case {
    let following = Following::NONE;
    Case { backward: false, layout, kind, shape, following, element: Element::F32, data: Data::USUAL }
}

const fn backward(layout: &'static str, kind: Kind, shape: &'static [usize]) -> Case {
    Case { backward: true, ..case(layout, kind, shape) }
}

/// A norm whose `y` is its bias, since its `x` is 0.
const fn stores(element: Element, shape: &'static [usize]) -> Case {
    Case { element, data: &[Data::Every], ..case(ROWS, Kind::Layer { ndim: 1 }, shape) }
}

/// A norm whose `y` is `x`.
const fn loads(element: Element, shape: &'static [usize]) -> Case {
    Case { element, data: &[Data::Every], ..case(LAST, Kind::BatchEval { axis: 1 }, shape) }
}

const FIRST: &str = "channels first";
const MIDDLE: &str = "channels between";
const LAST: &str = "channels last";
const ROWS: &str = "rows";
const COLUMNS: &str = "columns";

/// Widths are multiples of four and not; rows from those that one lane takes alone to those that no workgroup holds; most
/// tensors do not fit the windows of [`WINDOW_BYTES`](super::WINDOW_BYTES).
pub(super) static CASES: [Case; 78] = [
    case(ROWS, Kind::Layer { ndim: 1 }, &[700, 31]),
    case(ROWS, Kind::Layer { ndim: 1 }, &[300, 64]),
    case(ROWS, Kind::Layer { ndim: 1 }, &[300, 200]),
    case(ROWS, Kind::Layer { ndim: 1 }, &[33, 768]).at_every_scale(),
    case(ROWS, Kind::Layer { ndim: 1 }, &[19, 1001]),
    case(ROWS, Kind::Layer { ndim: 2 }, &[9, 64, 64]),
    case(ROWS, Kind::Layer { ndim: 1 }, &[3, 16_384]),
    case(ROWS, Kind::Layer { ndim: 1 }, &[2, 40_000]),
    case(ROWS, Kind::Layer { ndim: 1 }, &[2, 33_333]).at_every_scale(),
    case(ROWS, Kind::Rms { ndim: 1, offset: 0.0 }, &[33, 768]).at_every_scale(),
    case(ROWS, Kind::Rms { ndim: 1, offset: 1.0 }, &[19, 1001]),
    case(ROWS, Kind::Rms { ndim: 1, offset: 0.0 }, &[2, 33_333]),
    case(FIRST, Kind::Group { groups: 8, axis: 1 }, &[4, 32, 15, 15]),
    case(FIRST, Kind::Group { groups: 2, axis: 1 }, &[1, 4, 132, 130]),
    case(MIDDLE, Kind::Group { groups: 8, axis: 2 }, &[4, 15, 32, 15]),
    case(LAST, Kind::Group { groups: 8, axis: 3 }, &[4, 16, 16, 32]).at_every_scale(),
    case(LAST, Kind::Group { groups: 3, axis: 3 }, &[3, 17, 17, 21]),
    case(FIRST, Kind::Instance { axis: 1 }, &[4, 12, 20, 20]),
    case(MIDDLE, Kind::Instance { axis: 2 }, &[4, 20, 12, 20]),
    case(LAST, Kind::Instance { axis: 3 }, &[4, 20, 20, 12]),
    case(LAST, Kind::Instance { axis: 3 }, &[2, 61, 61, 3]),
    case(FIRST, Kind::BatchTrain { axis: 1 }, &[8, 12, 14, 14]),
    case(FIRST, Kind::BatchTrain { axis: 1 }, &[9, 3, 27, 27]),
    case(MIDDLE, Kind::BatchTrain { axis: 2 }, &[8, 14, 12, 14]),
    case(LAST, Kind::BatchTrain { axis: 3 }, &[8, 14, 14, 12]),
    case(LAST, Kind::BatchTrain { axis: 1 }, &[6001, 3]),
    case(FIRST, Kind::BatchEval { axis: 1 }, &[9, 3, 27, 27]),
    case(MIDDLE, Kind::BatchEval { axis: 2 }, &[8, 14, 12, 14]),
    case(LAST, Kind::BatchEval { axis: 3 }, &[8, 14, 14, 12]),
    case(FIRST, Kind::Mvn { axes: &[0, 2, 3] }, &[8, 12, 14, 14]),
    case(ROWS, Kind::Mvn { axes: &[2, 3] }, &[9, 3, 27, 27]),
    case(ROWS, Kind::Lp { p: 1, axes: &[1] }, &[19, 1001]).at_every_scale(),
    case(ROWS, Kind::Lp { p: 2, axes: &[1] }, &[33, 768]),
    case(COLUMNS, Kind::Lp { p: 2, axes: &[0] }, &[2000, 12]).at_every_scale(),
    case(COLUMNS, Kind::Lp { p: 2, axes: &[1] }, &[4, 3, 40, 41]),
    case(COLUMNS, Kind::Mvn { axes: &[1] }, &[4, 8, 40, 40]).at_every_scale(),
    case(COLUMNS, Kind::LayerOver { axes: &[1] }, &[4, 48, 14, 14]).at_every_scale(),
    case(COLUMNS, Kind::RmsOver { axes: &[1], offset: 0.0 }, &[3, 40, 7, 7]),
    case(FIRST, Kind::Group { groups: 8, axis: 1 }, &[4, 32, 15, 15]).then(Activation::Silu),
    case(LAST, Kind::Group { groups: 8, axis: 3 }, &[4, 16, 16, 32]).then(Activation::Silu),
    case(ROWS, Kind::Layer { ndim: 1 }, &[3, 11, 768]).modulated(&[3, 1, 768]),
    case(ROWS, Kind::Layer { ndim: 1 }, &[3, 11, 768]).modulated(&[3, 1, 768]).gated(),
    case(FIRST, Kind::Group { groups: 8, axis: 1 }, &[4, 32, 15, 15]).modulated(&[4, 32, 1, 1]).gated(),
    case(LAST, Kind::BatchEval { axis: 3 }, &[8, 14, 14, 12]).plus_skip().then(Activation::Relu),
    // Pipelines take long to compile: few, in all that plans differ by.
    backward(ROWS, Kind::Layer { ndim: 1 }, &[700, 31]),
    backward(ROWS, Kind::Layer { ndim: 1 }, &[33, 768]).at_every_scale(),
    backward(ROWS, Kind::Layer { ndim: 1 }, &[2, 33_333]).at_every_scale(),
    backward(ROWS, Kind::Rms { ndim: 1, offset: 1.0 }, &[19, 1001]),
    backward(ROWS, Kind::Rms { ndim: 1, offset: 0.0 }, &[2, 40_000]),
    backward(FIRST, Kind::Group { groups: 8, axis: 1 }, &[4, 32, 15, 15]),
    backward(FIRST, Kind::Group { groups: 2, axis: 1 }, &[1, 4, 132, 130]),
    backward(MIDDLE, Kind::Group { groups: 8, axis: 2 }, &[4, 15, 32, 15]),
    backward(LAST, Kind::Group { groups: 8, axis: 3 }, &[4, 16, 16, 32]).at_every_scale(),
    backward(FIRST, Kind::Instance { axis: 1 }, &[4, 12, 20, 20]),
    backward(MIDDLE, Kind::Instance { axis: 2 }, &[4, 20, 12, 20]),
    backward(LAST, Kind::Instance { axis: 3 }, &[4, 20, 20, 12]),
    backward(COLUMNS, Kind::LayerOver { axes: &[1] }, &[2, 48, 16, 16]).at_every_scale(),
    backward(MIDDLE, Kind::LayerOver { axes: &[1, 3] }, &[3, 9, 14, 40]),
    backward(FIRST, Kind::BatchTrain { axis: 1 }, &[9, 3, 27, 27]),
    backward(MIDDLE, Kind::BatchTrain { axis: 2 }, &[8, 14, 12, 14]),
    backward(LAST, Kind::BatchTrain { axis: 1 }, &[6001, 3]),
    backward(FIRST, Kind::BatchEval { axis: 1 }, &[9, 3, 27, 27]),
    backward(LAST, Kind::BatchEval { axis: 3 }, &[8, 14, 14, 12]),
    backward(FIRST, Kind::Group { groups: 8, axis: 1 }, &[4, 32, 15, 15]).then(Activation::Silu),
    backward(ROWS, Kind::Layer { ndim: 1 }, &[3, 11, 768]).modulated(&[3, 1, 768]),
    // Four elements at a time, and two; those of f32 have shown the arithmetic.
    case(ROWS, Kind::Layer { ndim: 1 }, &[33, 768]).of(Element::F16),
    case(ROWS, Kind::Layer { ndim: 1 }, &[19, 1001]).of(Element::F16),
    case(LAST, Kind::Group { groups: 3, axis: 3 }, &[3, 17, 17, 21]).of(Element::Bf16),
    case(FIRST, Kind::BatchTrain { axis: 1 }, &[9, 3, 27, 27]).of(Element::Bf16),
    case(ROWS, Kind::Layer { ndim: 1 }, &[3, 11, 768]).modulated(&[3, 1, 768]).plus_skip().of(Element::F16),
    stores(Element::F16, &[1, EVERY]),
    stores(Element::F16, &[1, EVERY - 1]),
    stores(Element::Bf16, &[1, EVERY]),
    stores(Element::Bf16, &[1, EVERY - 1]),
    loads(Element::F16, &[1, EVERY]),
    loads(Element::Bf16, &[1, EVERY]),
    backward(ROWS, Kind::Layer { ndim: 1 }, &[33, 768]).of(Element::Bf16),
    backward(ROWS, Kind::Rms { ndim: 1, offset: 1.0 }, &[19, 1001]).of(Element::F16),
];

/// The bits of bf16's infinity: of numbers that are none below 0, a 16-bit type has no more.
const BITS: u16 = 0x7f80;
/// How many numbers [`every`] has.
const EVERY: usize = 4 * BITS as usize;

/// Every number of a 16-bit type, what lies halfway to the next, and the neighbours of that in f32, with either sign. An adapter may take
/// what is no normal f32 for 0, so these are left out.
pub(super) fn every(element: Element) -> Vec<f32> {
    let numbers = element.values_of(&(0..=BITS).flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    let mut all = Vec::with_capacity(EVERY);
    let mut below = 0.0;
    for (i, pair) in numbers.windows(2).enumerate() {
        let (low, high) = (pair[0], pair[1]);
        // What comes after the largest would be as far from it as what comes before.
        let half =
            if low.is_finite() && high.is_infinite() { low + (low - below) / 2.0 } else { f32::midpoint(low, high) };
        let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
        let normal = |v: f32| if v.is_subnormal() || v.abs() == f32::MIN_POSITIVE { 1.0 } else { sign * v };
        all.extend([low, half, half.next_down(), half.next_up()].map(normal));
        below = low;
    }
    all
}

/// What the elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// Standard deviation 1 around 0.
    Zero,
    /// Standard deviation 1 around 1e6, where a mean kept as one float32 is off by 0.03; of 16-bit types [`far`](Self::far) as well.
    FarMean,
    /// As around 0, but the first element is as far.
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
    /// Of a 16-bit type: all there is to load and to round.
    Every,
}

impl Data {
    const USUAL: &'static [Self] =
        &[Self::Zero, Self::FarMean, Self::Outlier, Self::Constant, Self::Nan, Self::Infinity];
    const AT_EVERY_SCALE: &'static [Self] = &[
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

    /// A mean that is far from 0 in standard deviations of 1, as far as the type can tell these.
    pub(super) fn far(element: Element) -> f32 {
        match element {
            Element::F32 => 1e6,
            Element::F16 => 1000.0,
            Element::Bf16 => 256.0,
        }
    }

    pub(super) fn name(self, element: Element) -> &'static str {
        match self {
            Self::Zero => "mean 0",
            Self::FarMean => match element {
                Element::F32 => "mean 1e6",
                Element::F16 => "mean 1000",
                Element::Bf16 => "mean 256",
            },
            Self::Outlier => "outlier first",
            Self::Constant => "constant",
            Self::Nan => "NaN in a group",
            Self::Infinity => "infinity in a group",
            Self::Tiny => "scale 1e-36",
            Self::Small => "scale 1e-20",
            Self::Large => "scale 1e20",
            Self::Huge => "scale 1e37",
            Self::Every => "every number and halfway",
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

/// How a case is planned and bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Planned,
    Probed,
    WithoutSubgroups,
    Windows,
    OutOfPlace,
    /// Gradients by statistics that the forward pass saved, that of `x` over that of `y`.
    OverDy,
    /// Parts of larger tensors: four elements lie between the rows of the first axis.
    Strided,
}

impl Way {
    pub(super) const ALL: [Self; 7] = [
        Self::Planned,
        Self::Probed,
        Self::WithoutSubgroups,
        Self::Windows,
        Self::OutOfPlace,
        Self::OverDy,
        Self::Strided,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Planned => "as planned",
            Self::Probed => "as probed",
            Self::WithoutSubgroups => "without subgroups",
            Self::Windows => "in windows",
            Self::OutOfPlace => "out of place",
            Self::OverDy => "dx over dy",
            Self::Strided => "with strides",
        }
    }
}

impl Case {
    /// `layer, rows, 33x768`, `layer, then SiLU, gradients, f16, rows, 33x768`.
    pub(super) fn name(&self) -> String {
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        let direction = if self.backward { ", gradients" } else { "" };
        let element = if self.element == Element::F32 { String::new() } else { format!(", {}", self.element) };
        let (norm, following) = (self.kind.entry().label, self.following);
        format!("{norm}{following}{direction}{element}, {}, {}", self.layout, shape.join("x"))
    }

    /// On this data, which has an `eps` of its own.
    pub(super) fn norm(&self, data: Data) -> Result<Box<dyn Norm>, SpecError> {
        let norm = self.kind.norm(self.shape, data.eps(), Some(Running::USUAL))?.stored_as(self.element);
        Ok(self.following.after(Box::new(norm)))
    }

    const fn then(self, activation: Activation) -> Self {
        Self { following: Following { activation: Some(activation), ..self.following }, ..self }
    }

    const fn modulated(self, shape: &'static [usize]) -> Self {
        Self { following: Following { modulated: Some(shape), ..self.following }, ..self }
    }

    const fn gated(self) -> Self {
        Self { following: Following { gated: true, ..self.following }, ..self }
    }

    const fn plus_skip(self) -> Self {
        Self { following: Following { skip: true, ..self.following }, ..self }
    }

    const fn of(self, element: Element) -> Self {
        Self { element, ..self }
    }

    const fn at_every_scale(self) -> Self {
        Self { data: Data::AT_EVERY_SCALE, ..self }
    }

    /// Which gradients, and by which statistics.
    pub(super) fn wanted(&self, way: Way) -> Backward {
        match way {
            Way::OverDy if !self.kind.is_eval() => Backward::new().saved_statistics(),
            _ => Backward::new(),
        }
    }

    pub(super) fn plan(&self, gpu: &Gpu, norm: &dyn Norm, way: Way) -> Result<Plan, SpecError> {
        if self.backward { gpu.context().plan_backward(norm, self.wanted(way)) } else { gpu.context().plan(norm) }
    }
}
