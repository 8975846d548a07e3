//! The rows of the table: which norm of which shape, and what it should give.

use std::fmt;

use clap::ValueEnum;
use wgpu_norm::reference::{self, Forward};
use wgpu_norm::{DEFAULT_EPS, GroupNorm};

use crate::data::Tensors;

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

/// A norm of a shape. Layer and RMS norm take the last axis, which then is the channel axis, too.
#[derive(Clone, Copy)]
pub struct Case {
    pub kind: Kind,
    pub shape: &'static [usize],
    pub channel_axis: usize,
}

pub fn all() -> Vec<Case> {
    let rows = |kind, shape: &'static [usize]| Case { kind, shape, channel_axis: shape.len() - 1 };
    let images = |kind, shape| Case { kind, shape, channel_axis: 1 };
    vec![
        rows(Kind::Layer, &[4096, 768]),
        rows(Kind::Layer, &[8192, 1024]),
        rows(Kind::Layer, &[2048, 4096]),
        rows(Kind::Layer, &[512, 16384]),
        rows(Kind::Layer, &[65536, 64]),
        rows(Kind::Layer, &[200_000, 8]),
        rows(Kind::Layer, &[8, 3_000_000]),
        rows(Kind::Layer, &[4, 8, 64]),
        rows(Kind::Rms, &[2048, 4096]),
        rows(Kind::BatchTrain, &[100_352, 64]),
        rows(Kind::BatchTrain, &[12544, 256]),
        images(Kind::BatchTrain, &[32, 64, 56, 56]),
        rows(Kind::BatchEval, &[100_352, 64]),
        rows(Kind::BatchEval, &[12544, 256]),
        images(Kind::BatchEval, &[32, 64, 56, 56]),
        images(Kind::Group, &[8, 256, 32, 32]),
        rows(Kind::Group, &[8, 32, 32, 256]),
        images(Kind::Instance, &[32, 64, 56, 56]),
    ]
}

impl Case {
    /// The norm and the shape, which no two cases share.
    pub fn name(&self) -> String {
        format!("{} {}", self.kind, self.shape())
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

    /// The same in float64.
    pub fn oracle(&self, tensors: &Tensors) -> Forward {
        let double = |values: &[f32]| wgpu_norm::ndarray::arr1(values).mapv(f64::from).into_dyn();
        let x = tensors.x.mapv(f64::from);
        let (x, axis) = (x.view(), self.channel_axis);
        let (weight, bias) = (double(&tensors.weight), double(&tensors.bias));
        let (w, b) = (Some(weight.view()), Some(bias.view()));
        match self.kind {
            Kind::Layer => reference::layer_norm(x, 1, w, b, EPS),
            Kind::Rms => reference::rms_norm(x, 1, w, None, EPS, 0.0),
            Kind::BatchTrain => reference::batch_norm_train(x, axis, w, b, EPS),
            Kind::BatchEval => {
                let (mean, var) = (double(&tensors.running_mean), double(&tensors.running_var));
                reference::batch_norm_eval(x, axis, mean.view(), var.view(), w, b, EPS)
            }
            Kind::Group => reference::group_norm(x, axis, GROUPS, w, b, EPS),
            Kind::Instance => reference::instance_norm(x, axis, w, b, EPS),
        }
    }
}
