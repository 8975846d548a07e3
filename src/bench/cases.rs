//! The norms that are timed, at sizes that networks have and at some that are hard.

use std::borrow::Cow;
use std::fmt;

use wgpu_norm::{Activation, Backward, Context, DEFAULT_EPS, Element, Norm, Plan, SpecError};

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
    Case { kind, shape: Cow::Borrowed(shape), following: Following::NONE, direction, element: Element::F32 }
}

/// A forward pass of a norm with something after it.
const fn followed(kind: Kind, shape: &'static [usize], following: Following<'static>) -> Case {
    Case { kind, shape: Cow::Borrowed(shape), following, direction: Direction::Forward, element: Element::F32 }
}

/// A residual block's of an image model, in front of a convolution.
const SILU: Following<'static> = Following { activation: Some(Activation::Silu), ..Following::NONE };
/// AdaLN of a diffusion transformer: a row of scale and shift for each sample.
const ADALN: Following<'static> = Following { modulated: Some(&[2, 1, 3072]), ..Following::NONE };
const LAYER: Kind = Kind::Layer { ndim: 1 };
/// ConvNeXt's.
const LAYER_OF_CHANNELS: Kind = Kind::LayerOver { axes: &[1] };
const RMS: Kind = Kind::Rms { ndim: 1, offset: 0.0 };
const FIRST: isize = 1;
const LAST: isize = -1;
const GROUPS: usize = wgpu_norm::GroupNorm::DEFAULT_NUM_GROUPS;

static CASES: [Case; 53] = [
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
        Ok(self.following.after(Box::new(norm)))
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
        format!("{}{}", self.kind.entry().title, self.following)
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
        let dims: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        dims.join("x")
    }
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
