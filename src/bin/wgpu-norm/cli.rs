//! The command line: what can be written, and what it says about itself.

mod bench;
mod common;
mod grad;
mod norm;
mod plan;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wgpu_norm::sample::{Kind, Running};
use wgpu_norm::{Rounding, VarianceEstimator};

pub(crate) use bench::{Bench, Directions};
pub(crate) use common::{ParameterOptions, Place, Run};
pub(crate) use grad::Grad;
pub(crate) use norm::NormOptions;
pub(crate) use plan::Plan;
use values::momentum;
pub(crate) use values::{Dims, Lengths, word};

use crate::files::ToWrite;

const EXAMPLES: &str = "\
Examples:
  Layer norm over the last axis, held against a float64 computation of the same:
    wgpu-norm apply layer --input x.npy --output y.npy \\
        --weight model.safetensors:ln.weight --bias model.safetensors:ln.bias --check

  The same of f16, into one file with its statistics:
    wgpu-norm apply layer --dtype f16 --input model.safetensors:x \\
        --output out.safetensors:y --save-mean out.safetensors:mean

  RMS norm as in Gemma, whose weights are stored less one:
    wgpu-norm apply rms --input x.npy --output y.npy --weight w.npy --weight-offset 1

  Group norm of PyTorch's layout, (N, C, H, W):
    wgpu-norm apply group --input x.npy --output y.npy --groups 8 --channel-axis 1

  AdaLN of diffusion transformers, y = norm(x) * (1 + scale) + shift:
    wgpu-norm apply layer --input x.npy --output y.npy --scale scale.npy --shift shift.npy

  Batch norm, training as PyTorch does it, then with the statistics kept:
    wgpu-norm apply batch --input x.npy --output y.npy --channel-axis 1 --train \\
        --running-var-estimator unbiased \\
        --save-running-mean mean.npy --save-running-var var.npy
    wgpu-norm apply batch --input x.npy --output y.npy --channel-axis 1 \\
        --running-mean mean.npy --running-var var.npy

  The gradients of the layer norm above, for a gradient that came back:
    wgpu-norm grad layer --input x.npy --grad-output dy.npy --weight model.safetensors:ln.weight \\
        --save-grad-input dx.npy --save-grad-weight dw.npy --save-grad-bias db.npy

Exit status:
  0  all was done
  1  something failed, or --check found an error that is too large
  2  the command line is wrong
  3  there is no adapter to compute on, or none of the name that is given";

const APPLY_DETAILS: &str = "\
Files:
  An input is a .npy file, or a tensor of a .safetensors file written file.safetensors:name. float32 \
is taken as it is; float64, float16, bfloat16, integers and bool are converted to it, with a note. An output is written \
the same: as a .npy file, or as file.safetensors:name. Outputs of one call may be tensors of one .safetensors file, \
which then has these and no others. Outputs are written all or none; what is there is replaced, inputs included, \
which are read first, but no .safetensors file with tensors that would be lost.

Types:
  By --dtype f16 or bf16 the input is converted to that type, unless it is of it, and the result is rounded to it \
once and written in it, and so are --residual, --save-residual-out and --skip; all else is float32. NumPy has no bfloat16: a .npy file then has its bits as uint16, which \
numpy.load(file).view(ml_dtypes.bfloat16) shows and this command would read as integers.

Shapes:
  --weight and --bias have the normalized shape (layer, rms) or one value per channel (group, \
instance, batch), and so have the running statistics. --save-mean and --save-rstd write (N, groups) (group), \
(N, C) (instance), (C) (batch), or else the shape of the input with the normalized axes as 1. --scale, --shift, --gate and --embedding have one shape, that of the \
input with 1 for the axes that share them, which must be neighbours: (B, 1, H) is a row for each sample of (B, T, H), \
(N, C, 1, 1) a number for each channel of each image.

Before and after the norm:
  activation(norm(z) * (offset + scale) + shift + skip), of z = residual + gate * input + embedding, each part of it where its option is \
given. --gate and --embedding have the shape of --scale.

Output:
  A few lines, or with --json one JSON object, on standard output; notes and errors on \
standard error. They say what it ran on, and why there. The time is that of the whole call: memory for the results and, on a GPU, transfers and shader compilation \
included. By --device auto it is a GPU, or the CPU if there is none but software. --check goes by the values in the files: where float32 rounds them, it says how much of the \
error that is. If it finds one above 4e-6 of the size of the terms, and half a unit in the last place of f16 or bf16, \
the outputs are written all the same, and the exit status is 1.";

const DOCTOR_DETAILS: &str = "\
Probes what floating point does on the adapter, then holds every norm and its gradients against a float64 \
computation of the same: in every layout, planned in every way this adapter can be planned for, on data \
that wrong arithmetic cannot get right, from 1e-36 to 1e37. Takes seconds, and the first time as long as the driver compiles \
some hundred shaders. The exit status is 0 if the adapter can be trusted, 1 if \
not, and 3 if there is none, or none of that name. docs/doctor.md has more.";

/// Normalize arrays on the GPU or the CPU, and differentiate that: layer, RMS, group, instance, batch, mean-variance, L1 and L2 norm.
#[derive(Debug, Parser)]
#[command(name = "wgpu-norm", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Normalize an array in a file
    Apply(Box<Apply>),
    /// Compute the gradients of a norm, of arrays in files
    Grad(Box<Grad>),
    /// List the adapters of this machine and its CPU, and which of them --device takes
    Adapters(Adapters),
    /// Check every norm and its gradients on an adapter, and say whether to trust it
    Doctor(Doctor),
    /// Show how a norm would run here, without data
    Plan(Plan),
    /// Time every norm and its gradients, by the speed of a copy
    Bench(Bench),
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Device {
    /// On a GPU, or on the CPU where there is none.
    Auto,
    Gpu,
    Cpu,
}

/// Which variance goes into the running variance.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Estimator {
    /// Divided by the number of values, n
    Biased,
    /// Divided by n - 1, as PyTorch does
    Unbiased,
}

/// When results of 16 bits are rounded.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum RoundingOption {
    /// Once, at the end, as in Gemma's layers and PyTorch
    AtEnd,
    /// The normalized values before the weight, and the result once more, as in Llama's layers
    BeforeWeight,
}

#[derive(Debug, Args)]
#[command(after_help = APPLY_DETAILS)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) norm: NormOptions,

    /// The array to normalize
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// The file to write the result to
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) parameters: ParameterOptions,
    /// What is added to the input before it is normalized, of its shape
    #[arg(long, value_name = "FILE")]
    pub(crate) residual: Option<PathBuf>,
    /// Also write what is normalized: the sum of the input past --gate, --residual and --embedding
    #[arg(long, value_name = "FILE")]
    pub(crate) save_residual_out: Option<PathBuf>,
    /// Also write the mean of each group
    #[arg(long, value_name = "FILE")]
    pub(crate) save_mean: Option<PathBuf>,
    /// Also write what each group was multiplied by, 1 / sqrt(variance + eps)
    #[arg(long, value_name = "FILE")]
    pub(crate) save_rstd: Option<PathBuf>,

    /// When results of 16 bits are rounded, of norms over the last axes [default: at-end]
    #[arg(long, value_name = "WHEN", help_heading = "Layer and RMS norm")]
    pub(crate) rounding: Option<RoundingOption>,

    /// How much of the running statistics the input replaces, 0 to 1 [default: 0.1]
    #[arg(
        long,
        value_name = "M",
        value_parser = momentum,
        allow_hyphen_values = true,
        help_heading = "Batch norm"
    )]
    pub(crate) momentum: Option<f32>,
    /// Which variance of the input goes into the running one [default: biased]
    #[arg(long, value_name = "WHICH", help_heading = "Batch norm")]
    pub(crate) running_var_estimator: Option<Estimator>,
    /// Write the running mean after this batch; without --running-mean, it starts at 0
    #[arg(long, value_name = "FILE", help_heading = "Batch norm")]
    pub(crate) save_running_mean: Option<PathBuf>,
    /// Write the running variance after this batch; without --running-var, it starts at 1
    #[arg(long, value_name = "FILE", help_heading = "Batch norm")]
    pub(crate) save_running_var: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Debug, Args)]
pub(crate) struct Adapters {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = DOCTOR_DETAILS)]
pub(crate) struct Doctor {
    /// Check the adapter whose name has this in it, upper or lower case; see wgpu-norm adapters
    #[arg(long, value_name = "NAME")]
    pub(crate) adapter: Option<String>,
    /// First print every case: its layout, shape and kernels, and its largest error
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Print one JSON object, with every check in it
    #[arg(long, conflicts_with = "verbose")]
    pub(crate) json: bool,
}

impl Apply {
    pub(crate) fn kind(&self) -> Kind {
        self.norm.kind(self.parameters.weight_offset)
    }

    pub(crate) fn rounding(&self) -> Rounding {
        match self.rounding {
            None | Some(RoundingOption::AtEnd) => Rounding::AtEnd,
            Some(RoundingOption::BeforeWeight) => Rounding::BeforeWeight,
        }
    }

    /// How running statistics are updated, if they are: a norm that trains is given them, or asked for them.
    pub(crate) fn running(&self) -> Option<Running> {
        let given = self.parameters.running_mean.is_some();
        let asked = self.save_running_mean.is_some() || self.save_running_var.is_some();
        let variance = match self.running_var_estimator {
            None | Some(Estimator::Biased) => VarianceEstimator::Biased,
            Some(Estimator::Unbiased) => VarianceEstimator::Unbiased,
        };
        (self.norm.train && (given || asked)).then(|| Running { take: self.momentum.unwrap_or(0.1), variance })
    }

    /// Each output that is asked for.
    pub(crate) fn wanted(&self) -> Vec<ToWrite<'_>> {
        let optional = [
            ("residual_out", "--save-residual-out", &self.save_residual_out),
            ("mean", "--save-mean", &self.save_mean),
            ("rstd", "--save-rstd", &self.save_rstd),
            ("running_mean", "--save-running-mean", &self.save_running_mean),
            ("running_var", "--save-running-var", &self.save_running_var),
        ];
        let mut wanted = vec![("y", "--output", self.output.as_path())];
        wanted.extend(optional.into_iter().filter_map(|(name, option, path)| Some((name, option, path.as_deref()?))));
        wanted
    }
}
