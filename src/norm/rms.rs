//! Root mean square normalization.

use super::axes::Axes;
use super::heads::Heads;
use super::sealed::Lower;
use super::{DEFAULT_EPS, Norm, problem};
use crate::error::SpecError;
use crate::problem::{Centering, Problem, Rounding};

/// Root mean square normalization: layer normalization without subtracting the mean.
///
/// `y = x / sqrt(mean(x^2) + eps) * weight + bias`. This is ONNX's `RMSNormalization` and PyTorch's `RMSNorm`. Neither of
/// them has a bias, and PyTorch has another default for `eps`.
///
/// `weight` (gamma) and `bias` (beta) have the lengths of the normalized axes, in the order of `x`. Each is optional. `rstd` is
/// `1 / sqrt(mean(x^2) + eps)`, of the shape of `x` with the normalized axes as 1. There is no `mean`.
///
/// Zhang and Sennrich, *Root Mean Square Layer Normalization*, 2019, <https://arxiv.org/abs/1910.07467>.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Gpu, Inputs, RmsNorm};
///
/// let gpu = Gpu::new_blocking()?;
/// let norm = RmsNorm::new(&[2, 2], &[2])?.eps(0.0);
/// let out = gpu.run_blocking(&norm, Inputs::new(&[1.0, 7.0, 3.0, -3.0][..]))?;
/// for (y, want) in out.y.iter().zip([0.2, 1.4, 1.0, -1.0]) {
///     assert!((y - want).abs() < 1e-6);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RmsNorm {
    axes: Axes,
    eps: f32,
    heads: Heads,
    weight_offset: f32,
    rounding: Rounding,
}

impl RmsNorm {
    const NAME: &str = "RmsNorm";

    /// Normalizes an `x` of `shape` over its last axes. Their lengths must be `normalized_shape`.
    ///
    /// # Errors
    ///
    /// [`SpecError`] if `shape` or `normalized_shape` is empty, if `shape` does not end with `normalized_shape`, or if it has
    /// more than 2^31 elements.
    pub fn new(shape: &[usize], normalized_shape: &[usize]) -> Result<Self, SpecError> {
        Ok(Self::over(Axes::last(Self::NAME, shape, normalized_shape)?))
    }

    /// Normalizes an `x` of `shape` over `axes`, in any order. A negative axis counts from the last. Where these are the last axes, it is
    /// [`RmsNorm::new`]. See [`LayerNorm::over_axes`](crate::LayerNorm::over_axes).
    ///
    /// # Errors
    ///
    /// As [`LayerNorm::over_axes`](crate::LayerNorm::over_axes).
    pub fn over_axes(shape: &[usize], axes: &[isize]) -> Result<Self, SpecError> {
        Ok(Self::over(Axes::new(Self::NAME, shape, axes)?))
    }

    fn over(axes: Axes) -> Self {
        Self { axes, eps: DEFAULT_EPS, heads: Heads::Alike, rounding: Rounding::AtEnd, weight_offset: 0.0 }
    }

    /// Small number added to the mean square. Default 1e-5. Must be finite and at least 0, which is checked when planning.
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
    /// [`with_strides`](Norm::with_strides).
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::{Gpu, Inputs, Norm, RmsNorm, Strides};
    ///
    /// // Two tokens of two heads of q, one of k and one of v, of two elements each.
    /// let norm = RmsNorm::new(&[2, 3, 2], &[2])?.segments(&[(2, 0.0), (1, 0.0)]).with_strides(Strides::all(&[8, 2, 1]));
    /// let packed = [3.0, 3.0, 1.0, -1.0, 5.0, 5.0, 7.0, 7.0, 1.0, 1.0, 2.0, 2.0, -4.0, 4.0];
    /// let gpu = Gpu::new_blocking()?;
    /// let out = gpu.run_blocking(&norm, Inputs::new(&packed[..]).weight(&[1.0, 2.0, 10.0, 20.0]))?;
    /// for (y, want) in out.y[..6].iter().zip([1.0, 2.0, 1.0, -2.0, 10.0, 20.0]) {
    ///     assert!((y - want).abs() < 1e-5);
    /// }
    /// // What lies between the tensor's elements is as it was.
    /// assert_eq!(out.y[6..8], [7.0, 7.0]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn segments(mut self, segments: &[(usize, f32)]) -> Self {
        self.heads = Heads::Segments(segments.to_vec());
        self
    }

    /// Number added to every weight: the scale is `weight_offset + weight`. Default 0. Use 1 for models that store a
    /// zero-centred weight, such as Gemma. It has no effect without a weight. Must be finite, which is checked when planning.
    #[must_use]
    pub fn weight_offset(mut self, weight_offset: f32) -> Self {
        self.weight_offset = weight_offset;
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

impl Norm for RmsNorm {
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

impl Lower for RmsNorm {
    fn lower(&self) -> Result<Problem, SpecError> {
        if !self.weight_offset.is_finite() {
            return Err(SpecError::Parameter {
                norm: self.name(),
                parameter: "weight_offset",
                value: self.weight_offset,
                must: "finite",
            });
        }
        let problem = problem(self, self.axes.block(), self.axes.index(), self.eps)?;
        let problem = self.heads.of(problem, &self.axes)?;
        Ok(Problem {
            centering: Centering::None,
            rounding: self.rounding,
            weight_offset: self.weight_offset,
            ..problem
        })
    }
}
