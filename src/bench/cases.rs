//! The norms that are timed, at sizes that networks have and at some that are hard.

use std::borrow::Cow;
use std::fmt;

use ndarray::ArrayD;
use wgpu_norm::{Activation, Backward, Context, DEFAULT_EPS, Element, Norm, Plan, SpecError, Strides};

use wgpu_norm::sample::{Following, Kind, Running};

/// One pass of a norm of one shape.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) shape: Cow<'static, [usize]>,
    pub(crate) following: Following<'static>,
    pub(crate) direction: Direction,
    /// What `x` and all tensors of its size are stored as.
    pub(crate) element: Element,
    /// Of a tensor that is part of a larger one and normalized in place, which a forward pass alone is; none of a contiguous one.
    pub(crate) strides: &'static [usize],
}

/// Which pass it is, and from what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Direction {
    Forward,
    /// All gradients, by the statistics that the forward pass saved.
    Backward,
    /// The gradient of `x` alone, by statistics computed anew.
    BackwardInput,
}

const fn case(kind: Kind, shape: &'static [usize]) -> Case {
    pass(Direction::Forward, kind, shape)
}

const fn backward(kind: Kind, shape: &'static [usize]) -> Case {
    pass(Direction::Backward, kind, shape)
}

const fn backward_input(kind: Kind, shape: &'static [usize]) -> Case {
    pass(Direction::BackwardInput, kind, shape)
}

const fn pass(direction: Direction, kind: Kind, shape: &'static [usize]) -> Case {
    of(direction, kind, shape, Following::NONE, &[])
}

/// A forward pass of a norm with something after it.
const fn followed(kind: Kind, shape: &'static [usize], following: Following<'static>) -> Case {
    of(Direction::Forward, kind, shape, following, &[])
}

/// A forward pass in place, of a part of a larger tensor.
const fn apart(kind: Kind, shape: &'static [usize], strides: &'static [usize]) -> Case {
    of(Direction::Forward, kind, shape, Following::NONE, strides)
}

const fn of(
    direction: Direction,
    kind: Kind,
    shape: &'static [usize],
    following: Following<'static>,
    strides: &'static [usize],
) -> Case {
    Case { kind, shape: Cow::Borrowed(shape), following, direction, element: Element::F32, strides }
}

/// A residual block's of an image model, in front of a convolution.
const SILU: Following<'static> = Following { activation: Some(Activation::Silu), ..Following::NONE };
/// AdaLN of a diffusion transformer: a row of scale and shift for each sample.
const ADALN: Following<'static> = Following { modulated: Some(&[2, 1, 3072]), ..Following::NONE };
/// The same where the branch before it comes in by a gate.
const GATED: Following<'static> = Following { gated: true, ..ADALN };
const LAYER: Kind = Kind::Layer { ndim: 1 };
/// ConvNeXt's.
const LAYER_OF_CHANNELS: Kind = Kind::LayerOver { axes: &[1] };
const RMS: Kind = Kind::Rms { ndim: 1, offset: 0.0 };
const FIRST: isize = 1;
const LAST: isize = -1;
const GROUPS: usize = wgpu_norm::GroupNorm::DEFAULT_NUM_GROUPS;

static CASES: [Case; 56] = [
    case(LAYER, &[4096, 768]),
    case(LAYER, &[8192, 1024]),
    case(LAYER, &[2048, 4096]),
    case(LAYER, &[512, 16_384]),
    case(LAYER, &[65_536, 64]),
    case(LAYER, &[200_000, 8]),
    case(LAYER, &[8, 3_000_000]),
    case(LAYER, &[32, 1_048_576]),
    case(LAYER, &[4, 8, 64]),
    // The few rows of one step of decoding, where a dispatch costs more than its bytes.
    case(LAYER, &[1, 4096]),
    case(LAYER, &[8, 4096]),
    case(LAYER, &[16, 8192]),
    case(LAYER_OF_CHANNELS, &[32, 96, 56, 56]),
    case(RMS, &[4096, 768]),
    case(RMS, &[2048, 4096]),
    case(RMS, &[1, 4096]),
    case(RMS, &[8, 4096]),
    case(RMS, &[16, 8192]),
    case(Kind::Group { groups: GROUPS, axis: FIRST }, &[8, 256, 32, 32]),
    case(Kind::Group { groups: GROUPS, axis: LAST }, &[8, 32, 32, 256]),
    case(Kind::Instance { axis: FIRST }, &[32, 64, 56, 56]),
    case(Kind::Instance { axis: LAST }, &[32, 56, 56, 64]),
    case(Kind::BatchTrain { axis: FIRST }, &[32, 64, 56, 56]),
    case(Kind::BatchTrain { axis: LAST }, &[100_352, 64]),
    case(Kind::BatchTrain { axis: LAST }, &[12_544, 256]),
    case(Kind::BatchEval { axis: FIRST }, &[32, 64, 56, 56]),
    case(Kind::BatchEval { axis: LAST }, &[100_352, 64]),
    case(Kind::BatchEval { axis: LAST }, &[12_544, 256]),
    case(Kind::Mvn { axes: &[0, 2, 3] }, &[32, 64, 56, 56]),
    case(Kind::Mvn { axes: &[2, 3] }, &[32, 64, 56, 56]),
    case(Kind::Lp { p: 1, axes: &[-1] }, &[8192, 1024]),
    case(Kind::Lp { p: 2, axes: &[-1] }, &[8192, 1024]),
    followed(Kind::Group { groups: GROUPS, axis: FIRST }, &[2, 320, 64, 64], SILU),
    followed(Kind::Group { groups: GROUPS, axis: LAST }, &[2, 64, 64, 320], SILU),
    followed(LAYER, &[2, 4608, 3072], ADALN),
    followed(LAYER, &[2, 4608, 3072], GATED),
    // QK-norm: 32 heads of q and 8 of k, beside 8 of v; and the first columns of a matrix.
    apart(RMS, &[2048, 40, 128], &[48 * 128, 128, 1]),
    apart(LAYER, &[8192, 768], &[1024, 1]),
    backward(LAYER, &[4096, 768]),
    backward_input(LAYER, &[4096, 768]),
    backward(LAYER, &[8192, 1024]),
    backward(LAYER, &[2048, 4096]),
    backward(LAYER, &[512, 16_384]),
    backward(LAYER, &[65_536, 64]),
    backward(LAYER, &[8, 3_000_000]),
    backward(LAYER_OF_CHANNELS, &[32, 96, 56, 56]),
    backward(RMS, &[2048, 4096]),
    backward_input(RMS, &[2048, 4096]),
    backward(Kind::Group { groups: GROUPS, axis: FIRST }, &[8, 256, 32, 32]),
    backward(Kind::Group { groups: GROUPS, axis: LAST }, &[8, 32, 32, 256]),
    backward(Kind::Instance { axis: FIRST }, &[32, 64, 56, 56]),
    backward(Kind::Instance { axis: LAST }, &[32, 56, 56, 64]),
    backward(Kind::BatchTrain { axis: FIRST }, &[32, 64, 56, 56]),
    backward(Kind::BatchTrain { axis: LAST }, &[100_352, 64]),
    backward(Kind::BatchTrain { axis: LAST }, &[12_544, 256]),
    backward(Kind::BatchEval { axis: FIRST }, &[32, 64, 56, 56]),
];

/// All that are timed unless others are asked for, stored so.
pub(crate) fn all(element: Element) -> Vec<Case> {
    CASES.iter().cloned().map(|case| Case { element, ..case }).collect()
}

impl Direction {
    pub(crate) fn is_backward(self) -> bool {
        self != Self::Forward
    }

    /// As `--json` has it.
    pub(crate) fn name(self) -> &'static str {
        if self.is_backward() { "backward" } else { "forward" }
    }

    /// What a backward pass computes.
    pub(crate) fn gradients(self) -> &'static [&'static str] {
        match self {
            Self::Forward => &[],
            Self::Backward => &["dx", "dweight", "dbias"],
            Self::BackwardInput => &["dx"],
        }
    }
}

impl Case {
    pub(crate) fn norm(&self) -> Result<Box<dyn Norm>, SpecError> {
        let norm = self.kind.norm(&self.shape, DEFAULT_EPS, Some(Running::USUAL))?.stored_as(self.element);
        let norm: Box<dyn Norm> =
            if self.is_apart() { Box::new(norm.with_strides(Strides::all(self.strides))) } else { Box::new(norm) };
        Ok(self.following.after(norm))
    }

    /// With this after it, if it is one.
    pub(crate) fn then(mut self, activation: Option<Activation>) -> Self {
        self.following.activation = activation.or(self.following.activation);
        self
    }

    pub(crate) fn plan(&self, context: &Context) -> Result<Plan, SpecError> {
        let norm = self.norm()?;
        let wanted = match self.direction {
            Direction::Forward => return context.plan(norm.as_ref()),
            Direction::Backward if self.saves_statistics() => Backward::new().saved_statistics(),
            Direction::Backward => Backward::new(),
            Direction::BackwardInput => Backward::new().without_weight().without_bias(),
        };
        context.plan_backward(norm.as_ref(), wanted)
    }

    /// Whether it goes by statistics of a forward pass. Batch norm in eval mode is given its own.
    pub(crate) fn saves_statistics(&self) -> bool {
        self.direction == Direction::Backward && !self.kind.is_eval()
    }

    /// `LayerNorm`, `BatchNorm train`, `GroupNorm(32), then SiLU`.
    pub(crate) fn name(&self) -> String {
        let apart = if self.is_apart() { format!(", strides {}", dims(self.strides)) } else { String::new() };
        format!("{}{}{apart}", self.kind.entry().title, self.following)
    }

    /// Whether it is in place, in a larger tensor.
    pub(crate) fn is_apart(&self) -> bool {
        !self.strides.is_empty()
    }

    /// Where each element lies, in row-major order.
    fn places(&self) -> impl Iterator<Item = usize> {
        let place = |mut i: usize| {
            let axes = self.shape.iter().zip(self.strides).rev();
            axes.fold(0, |place, (length, step)| {
                let at = i % length;
                i /= length;
                place + at * step
            })
        };
        (0..self.shape.iter().product()).map(place)
    }

    /// A tensor as it lies, from its first element to its last, with 0 between.
    pub(crate) fn spread(&self, values: &ArrayD<f32>) -> Vec<f32> {
        let flat: Vec<f32> = values.iter().copied().collect();
        if !self.is_apart() {
            return flat;
        }
        let last = self.places().last().unwrap_or(0);
        let mut all = vec![0.0; last + 1];
        self.places().zip(flat).for_each(|(place, v)| all[place] = v);
        all
    }

    /// Its elements.
    pub(crate) fn collected(&self, all: Vec<f32>) -> Vec<f32> {
        if self.is_apart() { self.places().map(|place| all[place]).collect() } else { all }
    }

    /// `rows` where whole axes at the end are normalized, else where the channels are.
    pub(crate) fn layout(&self) -> &'static str {
        self.kind.entry().groups.layout(self.shape.len())
    }

    /// Of one tensor of the size of `x`.
    pub(crate) fn tensor_bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.element.size()
    }

    /// `4096x768`.
    pub(crate) fn dims(&self) -> String {
        dims(&self.shape)
    }
}

fn dims(numbers: &[usize]) -> String {
    let dims: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    dims.join("x")
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name(), self.dims(), self.direction.name())?;
        match self.direction {
            Direction::BackwardInput => f.write_str(", dx alone"),
            Direction::Forward | Direction::Backward => Ok(()),
        }
    }
}
