//! The options that say which norm, and over which axes.

use std::num::NonZeroUsize;

use clap::Args;
use wgpu_norm::sample::{Arguments, Kind};
use wgpu_norm::{Activation, Element};

use super::common::AFTER;
use super::values::{AxisList, Lengths, activation, axes, axis, element, groups, lengths, norm, power};

#[derive(Debug, Args)]
pub(crate) struct NormOptions {
    /// The norm
    #[arg(value_name = "NORM", value_parser = norm())]
    pub(crate) norm: Kind,

    /// What the input and all tensors of its size are stored as: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = element)]
    pub(crate) dtype: Element,

    /// What comes last, in the same pass: relu, silu, gelu or gelu-tanh
    #[arg(long, value_name = "FUNCTION", value_parser = activation, help_heading = AFTER)]
    pub(crate) activation: Option<Activation>,

    /// The lengths of the last axes, over which is normalized, as in 8,64 [default: the last one]; others by --axes
    #[arg(
        long,
        value_name = "LENGTHS",
        value_parser = lengths,
        allow_hyphen_values = true,
        help_heading = "Layer and RMS norm"
    )]
    pub(crate) normalized_shape: Option<Lengths>,

    /// The axis of the channels, from the last if negative; 1 in PyTorch's layout; if 0, group and instance norm take the input as one sample
    /// [default: -1]
    #[arg(
        long,
        value_name = "AXIS",
        value_parser = axis,
        allow_hyphen_values = true,
        help_heading = "Group, instance and batch norm"
    )]
    pub(crate) channel_axis: Option<isize>,
    /// How many groups the channels are cut into, for group norm [default: 32]
    #[arg(
        long,
        value_name = "G",
        value_parser = groups,
        allow_hyphen_values = true,
        help_heading = "Group, instance and batch norm"
    )]
    pub(crate) groups: Option<NonZeroUsize>,

    /// The axes to normalize over, from the last if negative, as in 0,2,3 or -2,-1 [default: as NORM says]
    #[arg(
        long,
        value_name = "AXES",
        value_parser = axes,
        allow_hyphen_values = true,
        help_heading = "Norms over any axes"
    )]
    pub(crate) axes: Option<AxisList>,
    /// Which norm to divide by, 1 or 2, for lp [default: 2]
    #[arg(
        long,
        value_name = "P",
        value_parser = power,
        allow_hyphen_values = true,
        help_heading = "Norms over any axes"
    )]
    pub(crate) p: Option<u32>,

    /// Normalize by the statistics of the input; without, by the running ones
    #[arg(long, help_heading = "Batch norm")]
    pub(crate) train: bool,
}

impl NormOptions {
    /// The norm with its arguments; `offset` is that of the weights.
    pub(crate) fn kind(&self, offset: Option<f32>) -> Kind {
        self.norm.with(&Arguments {
            ndim: self.normalized_shape.as_ref().map(|lengths| lengths.0.len()),
            offset,
            groups: self.groups.map(NonZeroUsize::get),
            axis: self.channel_axis,
            axes: self.axes.as_ref().map(|axes| axes.0),
            p: self.p,
            train: self.train,
        })
    }
}
