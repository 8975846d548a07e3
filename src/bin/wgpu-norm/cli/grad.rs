//! The options of `wgpu-norm grad`.

use std::path::PathBuf;

use clap::Args;
use wgpu_norm::sample::Kind;

use super::common::{AFTER, BEFORE};
use super::{NormOptions, ParameterOptions, Run};
use crate::files::ToWrite;

const DETAILS: &str = "\
Computes what autograd would: from the input of a norm and the gradient of a loss with respect to its \
result, the gradients with respect to the input, the weight and the bias, and of what comes before and after the norm. Of the first three only those \
that are saved are computed. Layer, RMS, group, instance and batch norm have them.

Files:
  Inputs and outputs are .npy files, or tensors of .safetensors files written file.safetensors:name, as those of \
wgpu-norm apply. Of the type that --dtype says are --input, --skip, --branch and their gradients, --grad-output and --grad-residual.

Shapes:
  --grad-output has the shape of the input, and so has --save-grad-input. --weight has the normalized \
shape (layer, rms) or one value per channel (group, instance, batch), and so have the running \
statistics, --bias, --save-grad-weight and --save-grad-bias. Without --weight, the gradient of the weight is \
that of a factor of 1. --scale, --shift, --gate, --embedding and their gradients have one shape, as for apply.

Before the norm:
  After a residual, a gate or an embedding the input is the sum that was normalized, which apply writes by --save-residual-out. With \
--grad-residual the gradient of the input is that of the sum where it is used elsewhere, too. It is that of the residual; --save-grad-branch writes that of what \
--gate multiplied.

After the norm:
  --grad-output is the gradient of what comes last. That of --skip is --grad-output itself, unless --activation follows.

Batch norm:
  With --train the gradients go through the statistics of the input; without, the running statistics \
are constants.

Output:
  As that of wgpu-norm apply. If --check finds an error above 4e-6 of the size of the terms, the \
gradients are written all the same, and the exit status is 1.

Examples:
  wgpu-norm grad layer --input x.npy --grad-output dy.npy --weight w.npy \\
      --save-grad-input dx.npy --save-grad-weight dw.npy --save-grad-bias db.npy --check
  wgpu-norm grad batch --input x.npy --grad-output dy.npy --channel-axis 1 --train \\
      --save-grad-input dx.npy";

#[derive(Debug, Args)]
#[command(
    after_help = DETAILS,
    mut_arg("p", |p| p.hide(true)),
    mut_arg("bias", |bias| bias.help("The bias of the forward pass, for --activation, --scale and --shift"))
)]
pub(crate) struct Grad {
    #[command(flatten)]
    pub(crate) norm: NormOptions,

    /// The array that was normalized: a sum, where something came before
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// The gradient of the loss with respect to the result
    #[arg(long, value_name = "FILE")]
    pub(crate) grad_output: PathBuf,
    #[command(flatten)]
    pub(crate) parameters: ParameterOptions,
    /// The gradient of the loss with respect to the sum that apply saves by --save-residual-out, to add to that of the input
    #[arg(long, value_name = "FILE")]
    pub(crate) grad_residual: Option<PathBuf>,
    /// The file to write the gradient of the input to
    #[arg(long, value_name = "FILE")]
    pub(crate) save_grad_input: Option<PathBuf>,
    /// The file to write the gradient of the weight to
    #[arg(long, value_name = "FILE")]
    pub(crate) save_grad_weight: Option<PathBuf>,
    /// The file to write the gradient of the bias to
    #[arg(long, value_name = "FILE")]
    pub(crate) save_grad_bias: Option<PathBuf>,
    /// The file to write the gradient of the scale to
    #[arg(long, value_name = "FILE", help_heading = AFTER)]
    pub(crate) save_grad_scale: Option<PathBuf>,
    /// The file to write the gradient of the shift to
    #[arg(long, value_name = "FILE", help_heading = AFTER)]
    pub(crate) save_grad_shift: Option<PathBuf>,
    /// The file to write the gradient of --skip to, where --activation follows
    #[arg(long, value_name = "FILE", requires = "skip", help_heading = AFTER)]
    pub(crate) save_grad_skip: Option<PathBuf>,

    /// The array that --gate multiplied, which apply took as --input
    #[arg(long, value_name = "FILE", requires = "gate", help_heading = BEFORE)]
    pub(crate) branch: Option<PathBuf>,
    /// The file to write the gradient of the gate to
    #[arg(long, value_name = "FILE", requires = "branch", help_heading = BEFORE)]
    pub(crate) save_grad_gate: Option<PathBuf>,
    /// The file to write the gradient of --branch to
    #[arg(long, value_name = "FILE", requires = "branch", help_heading = BEFORE)]
    pub(crate) save_grad_branch: Option<PathBuf>,
    /// The file to write the gradient of the embedding to
    #[arg(long, value_name = "FILE", requires = "embedding", help_heading = BEFORE)]
    pub(crate) save_grad_embedding: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) run: Run,
}

impl Grad {
    pub(crate) fn kind(&self) -> Kind {
        self.norm.kind(self.parameters.weight_offset)
    }

    /// Each output that is asked for.
    pub(crate) fn wanted(&self) -> Vec<ToWrite<'_>> {
        [
            ("grad_input", "--save-grad-input", &self.save_grad_input),
            ("grad_weight", "--save-grad-weight", &self.save_grad_weight),
            ("grad_bias", "--save-grad-bias", &self.save_grad_bias),
            ("grad_scale", "--save-grad-scale", &self.save_grad_scale),
            ("grad_shift", "--save-grad-shift", &self.save_grad_shift),
            ("grad_skip", "--save-grad-skip", &self.save_grad_skip),
            ("grad_gate", "--save-grad-gate", &self.save_grad_gate),
            ("grad_branch", "--save-grad-branch", &self.save_grad_branch),
            ("grad_embedding", "--save-grad-embedding", &self.save_grad_embedding),
        ]
        .into_iter()
        .filter_map(|(name, option, path)| Some((name, option, path.as_deref()?)))
        .collect()
    }
}
