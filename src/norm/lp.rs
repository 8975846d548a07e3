//! L1 and L2 normalization.

use super::axes::Axes;
use super::sealed::Lower;
use super::{Norm, problem};
use crate::block::AffineIndex;
use crate::error::SpecError;
use crate::problem::{Centering, Problem, Scaling};

/// L1 or L2 normalization over any axes: every vector along them is divided by its norm.
///
/// `y = x / max(norm, eps)`, where `norm` is the sum of absolute values (L1) or the square root of the sum of squares (L2).
/// This is PyTorch's `functional.normalize`. With `eps` 0 it is ONNX's `LpNormalization`. A vector of norm 0 stays 0.
///
/// There is no weight, no bias, no `mean` and no backward pass. `rstd` is `1 / max(norm, eps)`, of the shape of `x` with the
/// reduced axes as 1. If both the norm and `eps` are 0, `rstd` is 0.
///
/// <https://pytorch.org/docs/stable/generated/torch.nn.functional.normalize.html>
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Gpu, Inputs, LpNorm};
///
/// let gpu = Gpu::new_blocking()?;
/// let out = gpu.run_blocking(&LpNorm::l2(&[2, 2], &[-1])?, Inputs::new(&[3.0, 4.0, 0.0, 0.0][..]))?;
/// assert!((out.y[0] - 0.6).abs() < 1e-6);
/// assert_eq!(out.y[2..], [0.0, 0.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LpNorm {
    axes: Axes,
    scaling: Scaling,
    eps: f32,
}

impl LpNorm {
    const NAME: &str = "LpNorm";

    /// L1: divides by the sum of absolute values over `axes`. A negative axis counts from the last.
    ///
    /// # Errors
    ///
    /// [`SpecError`] if `shape` is empty or has more than 2^31 elements, if `axes` is empty or names an axis twice or one
    /// that does not exist, or if `axes` alternate with the other axes too often to be one [`Block`](crate::Block).
    pub fn l1(shape: &[usize], axes: &[isize]) -> Result<Self, SpecError> {
        Ok(Self { axes: Axes::new(Self::NAME, shape, axes)?, scaling: Scaling::L1, eps: 1e-12 })
    }

    /// L2: divides by the square root of the sum of squares over `axes`. A negative axis counts from the last.
    ///
    /// # Errors
    ///
    /// As [`LpNorm::l1`].
    pub fn l2(shape: &[usize], axes: &[isize]) -> Result<Self, SpecError> {
        Ok(Self { axes: Axes::new(Self::NAME, shape, axes)?, scaling: Scaling::L2, eps: 1e-12 })
    }

    /// Smallest divisor. Default 1e-12. Must be finite and at least 0, which is checked when planning.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }
}

impl Norm for LpNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn shape(&self) -> &[usize] {
        self.axes.shape()
    }

    fn parameter_shape(&self) -> Vec<usize> {
        Vec::new()
    }

    fn statistics_shape(&self) -> Vec<usize> {
        self.axes.reduced_to_one()
    }
}

impl Lower for LpNorm {
    fn lower(&self) -> Result<Problem, SpecError> {
        let problem = problem(self, self.axes.block(), AffineIndex::NONE, self.eps)?;
        Ok(Problem { centering: Centering::None, scaling: self.scaling, affine: false, ..problem })
    }
}
