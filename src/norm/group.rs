//! Group normalization.

use super::sealed::Lower;
use super::{Channels, DEFAULT_EPS, Norm, check_channel_axis, problem};
use crate::block::{AffineIndex, Block};
use crate::error::SpecError;
use crate::problem::Problem;

/// Group normalization: the channels are split into contiguous groups. Each group of each sample has its own mean and
/// variance, over its channels and all positions.
///
/// `y = (x - mean) / sqrt(variance + eps) * weight[c] + bias[c]`, with the population variance. This is PyTorch's
/// `GroupNorm` and ONNX's `GroupNormalization`.
///
/// `weight` (gamma) and `bias` (beta) have the shape `[C]`. Each is optional. `mean` and `rstd` have the shape `[N, G]`.
/// Axis 0 is the batch. If it is the channel axis, `x` is one sample and `N` is 1.
///
/// Wu and He, *Group Normalization*, 2018, <https://arxiv.org/abs/1803.08494>.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Gpu, GroupNorm, Inputs};
///
/// let gpu = Gpu::new_blocking()?;
/// // Two samples of two positions and four channels, in two groups.
/// let x: Vec<f32> = (0..16).map(|i| i as f32).collect();
/// let out = gpu.run_blocking(&GroupNorm::channels_last(&[2, 2, 4], 2)?, Inputs::new(&x[..]).with_mean())?;
/// assert_eq!(out.mean.unwrap(), [2.5, 4.5, 10.5, 12.5]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GroupNorm {
    shape: Vec<usize>,
    axis: usize,
    num_groups: usize,
    eps: f32,
}

impl GroupNorm {
    /// The number of groups of the paper, and of the command.
    pub const DEFAULT_NUM_GROUPS: usize = 32;

    /// Normalizes an `x` of `shape`, whose channels along `channel_axis` are split into `num_groups`. A negative axis counts
    /// from the last.
    ///
    /// # Errors
    ///
    /// [`SpecError`] if `shape` is empty or has more than 2^31 elements, if `channel_axis` is not one of its axes, or if
    /// `num_groups` is 0 or does not divide the number of channels.
    pub fn new(shape: &[usize], num_groups: usize, channel_axis: isize) -> Result<Self, SpecError> {
        let axis = check_channel_axis("GroupNorm", shape, channel_axis)?;
        let channels = shape[axis];
        if num_groups == 0 || !channels.is_multiple_of(num_groups) {
            return Err(SpecError::NumGroups { num_groups, channels, axis, shape: shape.to_vec() });
        }
        Ok(Self { shape: shape.to_vec(), axis, num_groups, eps: DEFAULT_EPS })
    }

    /// Normalizes an `x` of shape `(N, *, C)`.
    ///
    /// # Errors
    ///
    /// As [`GroupNorm::new`].
    pub fn channels_last(shape: &[usize], num_groups: usize) -> Result<Self, SpecError> {
        Self::new(shape, num_groups, -1)
    }

    /// Normalizes an `x` of shape `(N, C, *)`, the layout of PyTorch and ONNX.
    ///
    /// # Errors
    ///
    /// As [`GroupNorm::new`].
    pub fn channels_first(shape: &[usize], num_groups: usize) -> Result<Self, SpecError> {
        Self::new(shape, num_groups, 1)
    }

    /// Small number added to the variance. Default 1e-5. Must be finite and at least 0, which is checked when planning.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }
}

impl Norm for GroupNorm {
    fn name(&self) -> &'static str {
        "GroupNorm"
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn parameter_shape(&self) -> Vec<usize> {
        vec![self.shape[self.axis]]
    }

    fn statistics_shape(&self) -> Vec<usize> {
        vec![if self.axis == 0 { 1 } else { self.shape[0] }, self.num_groups]
    }
}

impl Lower for GroupNorm {
    fn lower(&self) -> Result<Problem, SpecError> {
        let Channels { n, before, c, after } = Channels::split(&self.shape, self.axis);
        let groups = self.num_groups as u64;
        let block = Block { b: n, r: before, k: groups, s: c / groups * after };
        let index = AffineIndex { k_mul: c / groups, s_div: after.max(1), ..AffineIndex::NONE };
        problem(self, block, index, self.eps)
    }
}
