//! The options that `wgpu-norm apply` and `wgpu-norm grad` share.

use std::path::PathBuf;

use clap::Args;

use super::Device;
use super::values::{device, eps, finite};

/// The heading of what follows a norm in the same pass.
pub(super) const AFTER: &str = "After the norm";

/// The heading of what comes before it.
pub(super) const BEFORE: &str = "Before the norm";

/// What a norm goes by beside its input, in either direction.
#[derive(Debug, Default, Args)]
pub(crate) struct ParameterOptions {
    /// What the normalized values are multiplied by [default: 1]
    #[arg(long, value_name = "FILE")]
    pub(crate) weight: Option<PathBuf>,
    /// What is added at the end [default: 0]
    #[arg(long, value_name = "FILE")]
    pub(crate) bias: Option<PathBuf>,
    /// What is added to the variance [default: 1e-5, unless NORM says otherwise]
    #[arg(long, value_parser = eps, allow_hyphen_values = true)]
    pub(crate) eps: Option<f32>,
    /// What the input is multiplied by first: of its shape, with 1 for the axes that share it
    #[arg(long, value_name = "FILE", help_heading = BEFORE)]
    pub(crate) gate: Option<PathBuf>,
    /// What is then added, of the same shape
    #[arg(long, value_name = "FILE", help_heading = BEFORE)]
    pub(crate) embedding: Option<PathBuf>,
    /// What the norm is multiplied by, after --offset is added: of the shape of the input, with 1 for the axes that share it
    #[arg(long, value_name = "FILE", help_heading = AFTER)]
    pub(crate) scale: Option<PathBuf>,
    /// What is then added, of the same shape
    #[arg(long, value_name = "FILE", help_heading = AFTER)]
    pub(crate) shift: Option<PathBuf>,
    /// What is added to --scale [default: 1]
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = finite,
        allow_hyphen_values = true,
        requires = "scale",
        help_heading = AFTER
    )]
    pub(crate) offset: Option<f32>,
    /// What is added before --activation, of the shape of the input
    #[arg(long, value_name = "FILE", help_heading = AFTER)]
    pub(crate) skip: Option<PathBuf>,
    /// What is added to each weight, for RMS norm [default: 0]
    #[arg(
        long,
        value_name = "W",
        value_parser = finite,
        allow_hyphen_values = true,
        help_heading = "Layer and RMS norm"
    )]
    pub(crate) weight_offset: Option<f32>,
    /// The running mean, needed without --train
    #[arg(long, value_name = "FILE", help_heading = "Batch norm")]
    pub(crate) running_mean: Option<PathBuf>,
    /// The running variance, needed without --train
    #[arg(long, value_name = "FILE", help_heading = "Batch norm")]
    pub(crate) running_var: Option<PathBuf>,
}

impl ParameterOptions {
    /// Whether a gate or an embedding comes before the norm.
    pub(crate) fn comes_before(&self) -> bool {
        self.gate.is_some() || self.embedding.is_some()
    }

    /// Whether a scale or a shift follows the norm.
    pub(crate) fn modulates(&self) -> bool {
        self.scale.is_some() || self.shift.is_some()
    }
}

/// Where it runs, and what is told of it.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Also compute in float64 on the CPU, which takes a while, and print the largest error
    #[arg(long, help_heading = "Running")]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Print one JSON object
    #[arg(long, help_heading = "Running")]
    pub(crate) json: bool,
}

/// Where it runs.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Where to compute: gpu, cpu, or auto for a GPU if there is one that is not software, else the CPU
    #[arg(
        long,
        value_name = "WHERE",
        env = "WGPU_NORM_DEVICE",
        hide_env_values = true,
        default_value = "auto",
        value_parser = device,
        help_heading = "Running"
    )]
    pub(crate) device: Device,
    /// Use the adapter whose name has this in it, upper or lower case; see wgpu-norm adapters
    #[arg(long, value_name = "NAME", help_heading = "Running")]
    pub(crate) adapter: Option<String>,
}
