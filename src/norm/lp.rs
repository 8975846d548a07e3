//! L1 and L2 normalization.

use super::axes::Axes;
use super::sealed::Lower;
use super::{Centering, Norm, Problem, Scaling};
use crate::block::AffineIndex;
use crate::error::SpecError;

/// L1 or L2 normalization over any axes: every vector along them is divided by its norm.
///
/// `y = x / max(norm, eps)`, where `norm` is the sum of magnitudes or the root of the sum of squares, and `eps` 1e-12, as
/// PyTorch's `functional.normalize`; ONNX's `LpNormalization` is that with `eps` 0. A vector of norm 0 stays 0. There is
/// no weight, bias or `mean`; `rstd` is the factor `1 / max(norm, eps)`, 0 for a vector of norm 0 where `eps` is 0, of the
/// shape of `x` with the reduced axes as 1.
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

    /// Divides by the sum of magnitudes over `axes` (negative: from the last).
    ///
    /// # Errors
    ///
    /// [`SpecError`] if `shape` is empty or has more than 2^31 elements, `axes` is empty, names an axis twice or one that
    /// is not there, or alternates with the other axes too often to be one [`Block`](crate::Block).
    pub fn l1(shape: &[usize], axes: &[isize]) -> Result<Self, SpecError> {
        Ok(Self { axes: Axes::new(Self::NAME, shape, axes)?, scaling: Scaling::L1, eps: 1e-12 })
    }

    /// Divides by the root of the sum of squares over `axes` (negative: from the last).
    ///
    /// # Errors
    ///
    /// As [`LpNorm::l1`].
    pub fn l2(shape: &[usize], axes: &[isize]) -> Result<Self, SpecError> {
        Ok(Self { axes: Axes::new(Self::NAME, shape, axes)?, scaling: Scaling::L2, eps: 1e-12 })
    }

    /// The least that is divided by: finite and at least 0, which is checked when planning. Default 1e-12.
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
        let problem = Problem::new(self, self.axes.block(), AffineIndex::NONE, self.eps)?;
        Ok(Problem { centering: Centering::None, scaling: self.scaling, affine: false, ..problem })
    }
}
