//! Instance normalization.

use super::sealed::Lower;
use super::{Channels, DEFAULT_EPS, Norm, check_channel_axis, count, problem};
use crate::block::{AffineIndex, Block};
use crate::error::SpecError;
use crate::problem::{Problem, Source};

/// Instance normalization: each channel of each sample has its own mean and variance over all positions.
///
/// `y = (x - mean) / sqrt(variance + eps) * weight[c] + bias[c]`, with the population variance. This is PyTorch's
/// `InstanceNorm1d` to `3d` and ONNX's `InstanceNormalization`.
///
/// `weight` (gamma) and `bias` (beta) have the shape `[C]`. Each is optional. `mean` and `rstd` have the shape `[N, C]`.
/// Axis 0 is the batch. If it is the channel axis, `x` is one sample and `N` is 1. In eval mode ([`InstanceNorm::eval`]),
/// the norm uses running statistics, of shape `[C]`, instead of those of `x`.
///
/// Ulyanov, Vedaldi and Lempitsky, *Instance Normalization*, 2016, <https://arxiv.org/abs/1607.08022>.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Gpu, InstanceNorm, Inputs};
///
/// let gpu = Gpu::new_blocking()?;
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
/// let out = gpu.run_blocking(&InstanceNorm::channels_last(&[2, 2, 2])?, Inputs::new(&x[..]).with_mean())?;
/// assert_eq!(out.mean.unwrap(), [2.0, 3.0, 6.0, 7.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceNorm {
    shape: Vec<usize>,
    axis: usize,
    eps: f32,
    eval: bool,
}

impl InstanceNorm {
    /// Normalizes an `x` of `shape`, with the channels along `channel_axis`. A negative axis counts from the last.
    ///
    /// # Errors
    ///
    /// [`SpecError`] if `shape` is empty or has more than 2^31 elements, or if `channel_axis` is not one of its axes.
    pub fn new(shape: &[usize], channel_axis: isize) -> Result<Self, SpecError> {
        let axis = check_channel_axis("InstanceNorm", shape, channel_axis)?;
        Ok(Self { shape: shape.to_vec(), axis, eps: DEFAULT_EPS, eval: false })
    }

    /// Normalizes an `x` of shape `(N, *, C)`.
    ///
    /// # Errors
    ///
    /// As [`InstanceNorm::new`].
    pub fn channels_last(shape: &[usize]) -> Result<Self, SpecError> {
        Self::new(shape, -1)
    }

    /// Normalizes an `x` of shape `(N, C, *)`, the layout of PyTorch and ONNX.
    ///
    /// # Errors
    ///
    /// As [`InstanceNorm::new`].
    pub fn channels_first(shape: &[usize]) -> Result<Self, SpecError> {
        Self::new(shape, 1)
    }

    /// Small number added to the variance. Default 1e-5. Must be finite and at least 0, which is checked when planning.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// Eval mode: normalizes all samples with the running statistics of each channel, as PyTorch does in evaluation with
    /// `track_running_stats=True`. [`nn::InstanceNormLayer`](crate::nn::InstanceNormLayer) keeps such statistics.
    #[must_use]
    pub fn eval(mut self) -> Self {
        self.eval = true;
        self
    }
}

impl Norm for InstanceNorm {
    fn name(&self) -> &'static str {
        "InstanceNorm"
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn parameter_shape(&self) -> Vec<usize> {
        vec![self.shape[self.axis]]
    }

    fn statistics_shape(&self) -> Vec<usize> {
        if self.eval {
            return self.parameter_shape();
        }
        vec![if self.axis == 0 { 1 } else { self.shape[0] }, self.shape[self.axis]]
    }
}

impl Lower for InstanceNorm {
    fn lower(&self) -> Result<Problem, SpecError> {
        let Channels { n, before, c, after } = Channels::split(&self.shape, self.axis);
        if self.eval {
            // No sample differs from another: as batch norm.
            let block = Block { b: 1, r: count(&self.shape[..self.axis]), k: c, s: after };
            let problem = problem(self, block, AffineIndex::PER_K, self.eps)?;
            return Ok(Problem { source: Source::Running, ..problem });
        }
        problem(self, Block { b: n, r: before, k: c, s: after }, AffineIndex::PER_K, self.eps)
    }
}
