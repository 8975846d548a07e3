//! Layer normalization.

use super::heads::Heads;
use super::sealed::Lower;
use super::{DEFAULT_EPS, Norm, check_normalized_shape, count, problem};
use crate::block::{AffineIndex, Block};
use crate::error::SpecError;
use crate::problem::Problem;

/// Layer normalization: each row, which is the last axes of `x`, has its own mean and variance.
///
/// `y = (x - mean) / sqrt(variance + eps) * weight + bias`, with the population variance. This is PyTorch's `LayerNorm` and
/// ONNX's `LayerNormalization`.
///
/// `weight` (gamma) and `bias` (beta) have the shape `normalized_shape`. Each is optional. `mean` and `rstd` have the shape
/// of `x` with the normalized axes as 1.
///
/// Ba, Kiros and Hinton, *Layer Normalization*, 2016, <https://arxiv.org/abs/1607.06450>.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Gpu, Inputs, LayerNorm};
///
/// let gpu = Gpu::new_blocking()?;
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
/// let out = gpu.run_blocking(&LayerNorm::new(&[2, 2, 2], &[2])?, Inputs::new(&x[..]).with_mean())?;
/// assert_eq!(out.mean.unwrap(), [1.5, 3.5, 5.5, 7.5]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    shape: Vec<usize>,
    first_axis: usize,
    eps: f32,
    heads: Heads,
}

impl LayerNorm {
    /// Normalizes an `x` of `shape` over its last axes. Their lengths must be `normalized_shape`.
    ///
    /// # Errors
    ///
    /// [`SpecError`] if `shape` or `normalized_shape` is empty, if `shape` does not end with `normalized_shape`, or if it has
    /// more than 2^31 elements.
    pub fn new(shape: &[usize], normalized_shape: &[usize]) -> Result<Self, SpecError> {
        let first_axis = check_normalized_shape("LayerNorm", shape, normalized_shape)?;
        Ok(Self { shape: shape.to_vec(), first_axis, eps: DEFAULT_EPS, heads: Heads::Alike })
    }

    /// Small number added to the variance. Default 1e-5. Must be finite and at least 0, which is checked when planning.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// With a weight and a bias for each head: they have one more axis in front, of the length of the axis before those that are
    /// normalized. Of `[tokens, heads, head_dim]` they are `[heads, head_dim]`. That there is such an axis is checked when planning.
    #[must_use]
    pub fn per_head(mut self) -> Self {
        self.heads = Heads::Each;
        self
    }

    /// With segments of heads, each with a weight, a bias and an `eps` of its own: so many heads and their `eps`, for one to four segments
    /// that make up the axis before those that are normalized. Weight and bias are `[segments, head_dim]`.
    ///
    /// This is the QK-norm of packed projections in one dispatch: q and k lie side by side, and v is left alone by
    /// [`with_strides`](Norm::with_strides). [`RmsNorm::segments`](crate::RmsNorm::segments) has an example.
    #[must_use]
    pub fn segments(mut self, segments: &[(usize, f32)]) -> Self {
        self.heads = Heads::Segments(segments.to_vec());
        self
    }
}

impl Norm for LayerNorm {
    fn name(&self) -> &'static str {
        "LayerNorm"
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn parameter_shape(&self) -> Vec<usize> {
        self.heads.parameter_shape(&self.shape, self.first_axis)
    }

    fn statistics_shape(&self) -> Vec<usize> {
        reduced_to_one(&self.shape, self.first_axis)
    }
}

impl Lower for LayerNorm {
    fn lower(&self) -> Result<Problem, SpecError> {
        let problem = problem(self, rows(&self.shape, self.first_axis), AffineIndex::PER_ELEMENT, self.eps)?;
        let problem = self.heads.of(problem, self.first_axis)?;
        Ok(Problem { residual: true, ..problem })
    }
}

/// The block of a norm over the axes from `first_axis` on.
pub(super) fn rows(shape: &[usize], first_axis: usize) -> Block {
    Block { b: count(&shape[..first_axis]), r: 1, k: 1, s: count(&shape[first_axis..]) }
}

/// `shape` with the axes from `first_axis` on as 1.
pub(super) fn reduced_to_one(shape: &[usize], first_axis: usize) -> Vec<usize> {
    shape.iter().enumerate().map(|(axis, &n)| if axis < first_axis { n } else { 1 }).collect()
}
