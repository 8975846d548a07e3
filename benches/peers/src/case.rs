//! The rows of the table: which norm of which shape in which direction, and what it should give.

use std::fmt;

use clap::ValueEnum;
use wgpu_norm::{DEFAULT_EPS, GroupNorm, sample};

pub const EPS: f64 = DEFAULT_EPS as f64;
pub const GROUPS: usize = GroupNorm::DEFAULT_NUM_GROUPS;
/// How much of a batch's statistics goes into the running ones.
pub const MOMENTUM: f64 = 0.1;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Layer,
    Rms,
    BatchTrain,
    BatchEval,
    Group,
    Instance,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Layer => "LayerNorm",
            Self::Rms => "RmsNorm",
            Self::BatchTrain => "BatchNorm train",
            Self::BatchEval => "BatchNorm eval",
            Self::Group => "GroupNorm(32)",
            Self::Instance => "InstanceNorm",
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// The result alone
    Forward,
    /// The result, then the gradients of x, weight and bias: a training step's share
    Both,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::Both => "forward + backward",
        })
    }
}

/// A norm of a shape. Layer and RMS norm take the last axis, which then is the channel axis, too.
#[derive(Clone, Copy)]
pub struct Case {
    pub kind: Kind,
    pub shape: &'static [usize],
    pub channel_axis: usize,
    pub direction: Direction,
}

pub fn all() -> Vec<Case> {
    let direction = Direction::Forward;
    let rows = |kind, shape: &'static [usize]| Case { kind, shape, channel_axis: shape.len() - 1, direction };
    let images = |kind, shape| Case { kind, shape, channel_axis: 1, direction };
    // With the gradients of all, the table would take more than twice as long as without any.
    let forward = |case| vec![case];
    let both = |case| vec![case, Case { direction: Direction::Both, ..case }];
    [
        both(rows(Kind::Layer, &[4096, 768])),
        forward(rows(Kind::Layer, &[8192, 1024])),
        both(rows(Kind::Layer, &[2048, 4096])),
        both(rows(Kind::Layer, &[512, 16384])),
        both(rows(Kind::Layer, &[65536, 64])),
        both(rows(Kind::Layer, &[200_000, 8])),
        forward(rows(Kind::Layer, &[8, 3_000_000])),
        both(rows(Kind::Layer, &[4, 8, 64])),
        both(rows(Kind::Rms, &[2048, 4096])),
        forward(rows(Kind::BatchTrain, &[100_352, 64])),
        both(rows(Kind::BatchTrain, &[12544, 256])),
        both(images(Kind::BatchTrain, &[32, 64, 56, 56])),
        forward(rows(Kind::BatchEval, &[100_352, 64])),
        both(rows(Kind::BatchEval, &[12544, 256])),
        both(images(Kind::BatchEval, &[32, 64, 56, 56])),
        both(images(Kind::Group, &[8, 256, 32, 32])),
        both(rows(Kind::Group, &[8, 32, 32, 256])),
        both(images(Kind::Instance, &[32, 64, 56, 56])),
    ]
    .concat()
}

impl Case {
    /// The norm, the shape and what is more than forward, which no two cases share.
    pub fn name(&self) -> String {
        match self.direction {
            Direction::Forward => format!("{} {}", self.kind, self.shape()),
            Direction::Both => format!("{} {} {}", self.kind, self.shape(), self.direction),
        }
    }

    /// The lengths of the axes, and where the channels are if that is a question.
    pub fn shape(&self) -> String {
        let lengths = self.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let layout = match (self.kind, self.shape.len()) {
            (Kind::Layer | Kind::Rms, _) | (_, 2) => "",
            _ if self.channels_last() => " NHWC",
            _ => " NCHW",
        };
        lengths + layout
    }

    pub fn channels(&self) -> usize {
        self.shape[self.channel_axis]
    }

    pub fn channels_last(&self) -> bool {
        self.channel_axis == self.shape.len() - 1
    }

    pub fn has_bias(&self) -> bool {
        self.kind != Kind::Rms
    }

    /// The norm in the library's table.
    pub fn entry(&self) -> sample::Kind {
        let axis = self.channel_axis as isize;
        match self.kind {
            Kind::Layer => sample::Kind::Layer { ndim: 1 },
            Kind::Rms => sample::Kind::Rms { ndim: 1, offset: 0.0 },
            Kind::BatchTrain => sample::Kind::BatchTrain { axis },
            Kind::BatchEval => sample::Kind::BatchEval { axis },
            Kind::Group => sample::Kind::Group { groups: GROUPS, axis },
            Kind::Instance => sample::Kind::Instance { axis },
        }
    }
}
