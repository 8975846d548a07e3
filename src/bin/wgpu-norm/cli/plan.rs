//! The options of `wgpu-norm plan`.

use clap::Args;

use super::NormOptions;
use super::common::AFTER;
use super::values::{Dims, dims};

const DETAILS: &str = "\
Prints how a norm of this shape would run on the adapter: the block it becomes, its passes with their \
kernels and workgroups, what they read and write of the input and output, the scratch that binding \
allocates, and what the words mean. Nothing is computed.

With --backward it is the pass that computes the gradients of the input, the weight and the bias, \
and with --modulated those of scale and shift, for shapes that have them.

Examples:
  wgpu-norm plan layer --shape 4096x768
  wgpu-norm plan layer --shape 4096x768 --dtype bf16
  wgpu-norm plan layer --shape 8x512x768 --modulated 8x1x768
  wgpu-norm plan group --shape 8x256x32x32 --channel-axis 1 --groups 16
  wgpu-norm plan batch --shape 32x64x56x56 --channel-axis 1 --train --track --json
  wgpu-norm plan layer --shape 4096x768 --backward --saved-statistics";

#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) norm: NormOptions,
    /// The shape of the input, as in 4096x768
    #[arg(long, value_name = "DIMS", value_parser = dims, allow_hyphen_values = true)]
    pub(crate) shape: Dims,
    /// With a scale and a shift after it, of this shape: that of the input, with 1 for the axes that share them
    #[arg(long, value_name = "DIMS", value_parser = dims, allow_hyphen_values = true, help_heading = AFTER)]
    pub(crate) modulated: Option<Dims>,
    /// With a tensor of the shape of the input added to the result, before --activation
    #[arg(long, help_heading = AFTER)]
    pub(crate) plus_skip: bool,
    /// Of the gradients, rather than of the norm
    #[arg(long, help_heading = "Gradients")]
    pub(crate) backward: bool,
    /// With --backward: by the statistics that the forward pass saved, rather than computed anew
    #[arg(long, requires = "backward", help_heading = "Gradients")]
    pub(crate) saved_statistics: bool,
    /// With --train: also update running statistics
    #[arg(long, requires = "train", conflicts_with = "backward", help_heading = "Batch norm")]
    pub(crate) track: bool,
    /// Use the adapter whose name has this in it, upper or lower case; see wgpu-norm adapters
    #[arg(long, value_name = "NAME", help_heading = "Running")]
    pub(crate) adapter: Option<String>,
    /// Print one JSON object
    #[arg(long, help_heading = "Running")]
    pub(crate) json: bool,
}
