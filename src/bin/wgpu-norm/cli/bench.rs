//! The options of `wgpu-norm bench`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use wgpu_norm::sample::Kind;
use wgpu_norm::{Activation, Element};

use super::Place;
use super::values::{AxisList, Dims, activation, axes, axis, dims, element, groups, norm};

const DETAILS: &str = "\
Times every norm at sizes that networks have, by turns with the fastest of ten kernels that copy a \
tensor of the same size on the same adapter; on the CPU, with memcpy on all of its threads. Told are the norm's time over the copy's, the bytes it moves over \
the copy's, and so its GB/s over the copy's: 1.00 is as fast as memory allows for the bytes it moves. Results are checked against float64 first; a wrong one is FAILED and makes the exit \
status 1. Takes a few minutes.

Backward passes compute the gradients of x, weight and bias by the statistics that the forward pass \
saved; `dx alone` is that of x only, by statistics of their own. Norms without weight and bias have \
no backward pass.

Examples:
  wgpu-norm bench
  wgpu-norm bench --norm layer rms --json now.json --plot now.svg
  wgpu-norm bench --direction backward
  wgpu-norm bench --dtype f16
  wgpu-norm bench --norm group --activation silu
  wgpu-norm bench --device cpu
  wgpu-norm bench --norm batch --shape 32x64x56x56 --channel-axis 1
  wgpu-norm bench --compare now.json
  wgpu-norm bench --share

Without a FILE, --share writes wgpu-norm-bench.json. docs/measuring.md says where to send it.";

/// Which passes of a norm.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Directions {
    /// Normalizing
    Forward,
    /// The gradients of that
    Backward,
    /// All there are
    Both,
}

#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Bench {
    /// Only these norms [default: all]
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = norm())]
    pub(crate) norm: Vec<Kind>,
    /// Only forward or only backward passes
    #[arg(long, value_name = "WHICH", default_value = "both")]
    pub(crate) direction: Directions,
    /// What the tensors are stored as, weight and bias apart: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = element)]
    pub(crate) dtype: Element,
    /// What follows each norm in the same pass: relu, silu, gelu or gelu-tanh [default: as listed]
    #[arg(long, value_name = "FUNCTION", value_parser = activation)]
    pub(crate) activation: Option<Activation>,
    /// Shapes of your own for each --norm, as in 4096x768
    #[arg(
        long,
        value_name = "DIMS",
        num_args = 1..,
        value_parser = dims,
        requires = "norm"
    )]
    pub(crate) shape: Vec<Dims>,
    /// With --shape: the axis of the channels, from the last if negative [default: -1]
    #[arg(long, value_name = "AXIS", value_parser = axis, allow_hyphen_values = true, requires = "shape")]
    pub(crate) channel_axis: Option<isize>,
    /// With --shape: how many groups the channels are cut into, for group norm [default: 32]
    #[arg(long, value_name = "G", value_parser = groups, allow_hyphen_values = true, requires = "shape")]
    pub(crate) groups: Option<NonZeroUsize>,
    /// With --shape: the axes to normalize over, for norms over any, as in 1 or -2,-1 [default: as the norm has it]
    #[arg(long, value_name = "AXES", value_parser = axes, allow_hyphen_values = true, requires = "shape")]
    pub(crate) axes: Option<AxisList>,
    /// Fewer rounds: less time, and numbers to match
    #[arg(long)]
    pub(crate) quick: bool,
    /// Compile the norms' shaders without checks of indices; the copies keep theirs
    #[arg(long)]
    pub(crate) trusted: bool,

    /// Write the numbers to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw them, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Examine the adapter as `wgpu-norm doctor` does, and write that with the numbers and the adapter's limits, for
    /// others to read; no names of machine, user or files are in it
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "wgpu-norm-bench.json")]
    pub(crate) share: Option<PathBuf>,
    /// Compare with a file that --json or --share wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
}
