//! Mean-variance normalization.

use super::axes::Axes;
use super::sealed::Lower;
use super::{Norm, problem};
use crate::block::AffineIndex;
use crate::error::SpecError;
use crate::problem::{Problem, Scaling};

/// Mean-variance normalization over any axes, without parameters.
///
/// `y = (x - mean) / (sqrt(variance) + eps)`, with the population variance. This is ONNX's `MeanVarianceNormalization`.
///
/// There is no weight, no bias and no backward pass. `mean`, and `rstd`, which is `1 / (sqrt(variance) + eps)`, have the
/// shape of `x` with the reduced axes as 1.
///
/// <https://onnx.ai/onnx/operators/onnx__MeanVarianceNormalization.html>
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Gpu, Inputs, MeanVarianceNorm};
///
/// let gpu = Gpu::new_blocking()?;
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
/// let norm = MeanVarianceNorm::new(&[2, 2, 2], &[0, 2])?;
/// let out = gpu.run_blocking(&norm, Inputs::new(&x[..]).with_mean())?;
/// assert_eq!(out.mean.unwrap(), [3.5, 5.5]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MeanVarianceNorm {
    axes: Axes,
    eps: f32,
}

impl MeanVarianceNorm {
    const NAME: &str = "MeanVarianceNorm";

    /// Normalizes an `x` of `shape` over `axes`. A negative axis counts from the last. ONNX's default is `[0, 2, 3]`.
    ///
    /// # Errors
    ///
    /// [`SpecError`] if `shape` is empty or has more than 2^31 elements, if `axes` is empty or names an axis twice or one
    /// that does not exist, or if `axes` alternate with the other axes too often to be one [`Block`](crate::Block).
    pub fn new(shape: &[usize], axes: &[isize]) -> Result<Self, SpecError> {
        Ok(Self { axes: Axes::new(Self::NAME, shape, axes)?, eps: 1e-9 })
    }

    /// Small number added to the standard deviation. Default 1e-9. Must be finite and at least 0, which is checked when
    /// planning.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }
}

impl Norm for MeanVarianceNorm {
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

impl Lower for MeanVarianceNorm {
    fn lower(&self) -> Result<Problem, SpecError> {
        let problem = problem(self, self.axes.block(), AffineIndex::NONE, self.eps)?;
        Ok(Problem { scaling: Scaling::Deviation, affine: false, ..problem })
    }
}
