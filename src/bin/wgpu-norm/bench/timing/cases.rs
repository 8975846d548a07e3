//! The norms that are timed, at sizes that networks have and at some that are hard.

use std::borrow::Cow;

use wgpu_norm::{Norm, SpecError};

use crate::kind::Kind;

/// A norm of one shape.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) shape: Cow<'static, [usize]>,
}

const fn case(kind: Kind, shape: &'static [usize]) -> Case {
    Case { kind, shape: Cow::Borrowed(shape) }
}

const LAYER: Kind = Kind::Layer { ndim: 1 };
const RMS: Kind = Kind::Rms { weight_offset: 0.0 };
const FIRST: isize = 1;
const LAST: isize = -1;
const GROUPS: usize = wgpu_norm::GroupNorm::DEFAULT_NUM_GROUPS;

static CASES: [Case; 25] = [
    case(LAYER, &[4096, 768]),
    case(LAYER, &[8192, 1024]),
    case(LAYER, &[2048, 4096]),
    case(LAYER, &[512, 16_384]),
    case(LAYER, &[65_536, 64]),
    case(LAYER, &[200_000, 8]),
    case(LAYER, &[8, 3_000_000]),
    case(LAYER, &[32, 1_048_576]),
    case(LAYER, &[4, 8, 64]),
    case(RMS, &[4096, 768]),
    case(RMS, &[2048, 4096]),
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
];

/// All that are timed unless others are asked for.
pub(crate) fn all() -> Vec<Case> {
    CASES.to_vec()
}

impl Case {
    pub(crate) fn norm(&self) -> Result<Box<dyn Norm>, SpecError> {
        self.kind.norm(&self.shape)
    }

    /// `LayerNorm`, `BatchNorm train`, `GroupNorm(32)`.
    pub(crate) fn name(&self) -> String {
        match self.kind {
            Kind::Layer { .. } => "LayerNorm".to_owned(),
            Kind::Rms { .. } => "RmsNorm".to_owned(),
            Kind::Group { groups, .. } => format!("GroupNorm({groups})"),
            Kind::Instance { .. } => "InstanceNorm".to_owned(),
            Kind::BatchTrain { .. } => "BatchNorm train".to_owned(),
            Kind::BatchEval { .. } => "BatchNorm eval".to_owned(),
            Kind::Mvn { axes } => {
                let axes: Vec<String> = axes.iter().map(ToString::to_string).collect();
                format!("MeanVarianceNorm({})", axes.join(","))
            }
            Kind::Lp { p, .. } => format!("LpNorm({p})"),
        }
    }

    /// `rows` where whole axes at the end are normalized, else where the channels are.
    pub(crate) fn layout(&self) -> &'static str {
        match self.kind {
            Kind::Layer { .. } | Kind::Rms { .. } | Kind::Lp { .. } => "rows",
            Kind::Group { axis, .. }
            | Kind::Instance { axis }
            | Kind::BatchTrain { axis }
            | Kind::BatchEval { axis } => {
                // Of two axes the second is both: positions are folded into the first.
                if axis == LAST || axis + 1 == self.shape.len() as isize {
                    "channels_last"
                } else if crate::kind::from_front(axis, self.shape.len()) <= 1 {
                    "channels_first"
                } else {
                    "channels_between"
                }
            }
            Kind::Mvn { .. } => "channels_first",
        }
    }

    /// `4096x768`.
    pub(crate) fn dims(&self) -> String {
        let dims: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        dims.join("x")
    }
}
