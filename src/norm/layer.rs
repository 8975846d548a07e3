//! Layer normalization.

use super::axes::Axes;
use super::heads::Heads;
use super::sealed::Lower;
use super::{DEFAULT_EPS, Norm, problem};
use crate::error::SpecError;
use crate::problem::{Problem, Rounding};

/// Layer normalization: each row, which is the last axes of `x`, or any others, has its own mean and variance.
///
/// `y = (x - mean) / sqrt(variance + eps) * weight + bias`, with the population variance. This is PyTorch's `LayerNorm` and
/// ONNX's `LayerNormalization`. Over the channels of an image, [`LayerNorm::over_axes`], it is the `LayerNorm2d` of ConvNeXt and of
/// Segment Anything; over any axes it is WebNN's `layerNormalization`.
///
/// `weight` (gamma) and `bias` (beta) have the lengths of the normalized axes, in the order of `x`. Each is optional. `mean` and `rstd` have the shape
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
    axes: Axes,
    eps: f32,
    heads: Heads,
    rounding: Rounding,
}

impl LayerNorm {
    const NAME: &str = "LayerNorm";

    /// Normalizes an `x` of `shape` over its last axes. Their lengths must be `normalized_shape`.
    ///
    /// # Errors
    ///
    /// [`SpecError`] if `shape` or `normalized_shape` is empty, if `shape` does not end with `normalized_shape`, or if it has
    /// more than 2^31 elements.
    pub fn new(shape: &[usize], normalized_shape: &[usize]) -> Result<Self, SpecError> {
        Ok(Self {
            axes: Axes::last(Self::NAME, shape, normalized_shape)?,
            eps: DEFAULT_EPS,
            heads: Heads::Alike,
            rounding: Rounding::AtEnd,
        })
    }

    /// Normalizes an `x` of `shape` over `axes`, in any order. A negative axis counts from the last. Where these are the last axes, it is
    /// [`LayerNorm::new`].
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::{Gpu, Inputs, LayerNorm};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// // ConvNeXt's LayerNorm2d: one image of two channels and three pixels, each normalized over its channels.
    /// let norm = LayerNorm::over_axes(&[1, 2, 1, 3], &[1])?;
    /// let x = [0.0, 1.0, 5.0, 2.0, 3.0, 5.0];
    /// let out = gpu.run_blocking(&norm, Inputs::new(&x[..]).weight(&[1.0, 10.0]).bias(&[0.0, 7.0]).with_mean())?;
    /// assert_eq!(out.mean.unwrap(), [1.0, 2.0, 5.0]);
    /// for (y, want) in out.y.iter().zip([-1.0, -1.0, 0.0, 17.0, 17.0, 7.0]) {
    ///     assert!((y - want).abs() < 1e-3);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SpecError`] if `shape` is empty or has more than 2^31 elements, if `axes` is empty or names an axis twice or one
    /// that does not exist, or if `axes` alternate with the other axes too often to be one [`Block`](crate::Block).
    pub fn over_axes(shape: &[usize], axes: &[isize]) -> Result<Self, SpecError> {
        Ok(Self {
            axes: Axes::new(Self::NAME, shape, axes)?,
            eps: DEFAULT_EPS,
            heads: Heads::Alike,
            rounding: Rounding::AtEnd,
        })
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

    /// When results of 16 bits are rounded. Default [`Rounding::AtEnd`]. [`Rounding::BeforeWeight`] is for an `x` of f16 or bf16 and
    /// a norm over its last axes, which is checked when planning.
    #[must_use]
    pub fn rounding(mut self, rounding: Rounding) -> Self {
        self.rounding = rounding;
        self
    }
}

impl Norm for LayerNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn shape(&self) -> &[usize] {
        self.axes.shape()
    }

    fn parameter_shape(&self) -> Vec<usize> {
        self.heads.parameter_shape(&self.axes)
    }

    fn statistics_shape(&self) -> Vec<usize> {
        self.axes.reduced_to_one()
    }
}

impl Lower for LayerNorm {
    fn lower(&self) -> Result<Problem, SpecError> {
        let problem = problem(self, self.axes.block(), self.axes.index(), self.eps)?;
        Ok(Problem { rounding: self.rounding, ..self.heads.of(problem, &self.axes)? })
    }
}
