//! The options that say which norm, and over which axes.

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};

use super::values::{AxisList, Lengths, axes, axis, groups, lengths, power};

/// Which norm.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum NormName {
    /// Mean and variance over the last axes, of each sample
    Layer,
    /// Root mean square over the last axes, of each sample
    Rms,
    /// Mean and variance over a group of channels and all positions, of each sample
    Group,
    /// Mean and variance over all positions, of each channel of each sample
    Instance,
    /// Mean and variance over the batch and all positions, of each channel
    Batch,
    /// Mean and standard deviation over any axes, without weight: ONNX's MeanVarianceNormalization
    Mvn,
    /// L1 or L2 norm over any axes: each vector is divided by its length
    Lp,
}

#[derive(Debug, Args)]
pub(crate) struct NormOptions {
    /// The norm
    #[arg(value_name = "NORM")]
    pub(crate) name: NormName,

    /// The lengths of the last axes, over which is normalized, as in 8,64 [default: the last one]
    #[arg(
        long,
        value_name = "LENGTHS",
        value_parser = lengths,
        allow_hyphen_values = true,
        help_heading = "Layer and RMS norm"
    )]
    pub(crate) normalized_shape: Option<Lengths>,

    /// The axis of the channels, from the last if negative; 1 in PyTorch's layout [default: -1]
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

    /// The axes to normalize over, from the last if negative, as in 0,2,3 or -2,-1 [default: mvn 0,2,3; lp -1]
    #[arg(
        long,
        value_name = "AXES",
        value_parser = axes,
        allow_hyphen_values = true,
        help_heading = "Mean-variance and Lp norm"
    )]
    pub(crate) axes: Option<AxisList>,
    /// Which norm to divide by, 1 or 2, for lp [default: 2]
    #[arg(
        long,
        value_name = "P",
        value_parser = power,
        allow_hyphen_values = true,
        help_heading = "Mean-variance and Lp norm"
    )]
    pub(crate) p: Option<u32>,

    /// Normalize by the statistics of the input; without, by the running ones
    #[arg(long, help_heading = "Batch norm")]
    pub(crate) train: bool,
}

impl NormName {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Rms => "rms",
            Self::Group => "group",
            Self::Instance => "instance",
            Self::Batch => "batch",
            Self::Mvn => "mvn",
            Self::Lp => "lp",
        }
    }
}

impl NormOptions {
    pub(crate) fn channel_axis(&self) -> isize {
        self.channel_axis.unwrap_or(-1)
    }

    /// How many of the last axes are normalized, by layer and RMS norm.
    pub(crate) fn normalized(&self) -> usize {
        self.normalized_shape.as_ref().map_or(1, |lengths| lengths.0.len())
    }

    pub(crate) fn groups(&self) -> usize {
        self.groups.map_or(32, NonZeroUsize::get)
    }

    pub(crate) fn p(&self) -> u32 {
        self.p.unwrap_or(2)
    }

    pub(crate) fn axes(&self) -> Vec<isize> {
        match (&self.axes, self.name) {
            (Some(axes), _) => axes.0.clone(),
            (None, NormName::Mvn) => vec![0, 2, 3],
            (None, _) => vec![-1],
        }
    }
}
