//! Batch normalization.

use super::sealed::Lower;
use super::{DEFAULT_EPS, Norm, check_channel_axis, count, problem};
use crate::block::{AffineIndex, Block};
use crate::error::SpecError;
use crate::problem::{Average, Momentum, Problem, Source, Tracking, VarianceEstimator};

/// Batch normalization: each channel has one mean and variance, over the whole batch and all positions.
///
/// `y = (x - mean) / sqrt(variance + eps) * weight[c] + bias[c]`. There are two modes:
///
/// - Training, the default: the statistics are those of `x`, with the population variance. `running_mean` and
///   `running_var` are updated on the GPU.
/// - Eval, after [`BatchNorm::eval`]: the statistics are the running ones, which stay unchanged.
///
/// `weight` (gamma) and `bias` (beta) have the shape `[C]`. Each is optional. `mean`, `rstd` and the running statistics have
/// the shape `[C]` as well.
///
/// | constructor | channels | new running statistics | running variance |
/// |---|---|---|---|
/// | [`BatchNorm::channels_last`] | last | `0.9 * old + 0.1 * batch` | biased |
/// | [`BatchNorm::pytorch`] | axis 1 | `0.9 * old + 0.1 * batch` | unbiased |
/// | [`BatchNorm::onnx`] | axis 1 | `0.9 * old + 0.1 * batch`, which ONNX calls `momentum = 0.9` | biased |
///
/// Ioffe and Szegedy, *Batch Normalization*, 2015, <https://arxiv.org/abs/1502.03167>.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{BatchNorm, Gpu, Inputs};
///
/// let gpu = Gpu::new_blocking()?;
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
/// let (mean, var) = ([0.0, 0.0], [1.0, 1.0]);
/// let out = gpu.run_blocking(
///     &BatchNorm::channels_last(&[2, 2, 2])?,
///     Inputs::new(&x[..]).running_mean(&mean).running_var(&var).with_mean(),
/// )?;
/// assert_eq!(out.mean.unwrap(), [4.0, 5.0]);
/// // 0.9 * 1 + 0.1 * 5
/// assert_eq!(out.running_var.unwrap(), [1.4, 1.4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    shape: Vec<usize>,
    axis: usize,
    eps: f32,
    momentum: Momentum,
    estimator: VarianceEstimator,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Train,
    Eval,
    Untracked,
}

impl BatchNorm {
    /// Normalizes an `x` of `shape`, with the channels along `channel_axis`. A negative axis counts from the last. The norm is
    /// in training mode, with momentum 0.1 and a biased running variance.
    ///
    /// # Errors
    ///
    /// [`SpecError`] if `shape` is empty or has more than 2^31 elements, or if `channel_axis` is not one of its axes.
    pub fn new(shape: &[usize], channel_axis: isize) -> Result<Self, SpecError> {
        let axis = check_channel_axis("BatchNorm", shape, channel_axis)?;
        Ok(Self {
            shape: shape.to_vec(),
            axis,
            eps: DEFAULT_EPS,
            momentum: Momentum::exponential(0.1),
            estimator: VarianceEstimator::Biased,
            mode: Mode::Train,
        })
    }

    /// Normalizes an `x` of shape `(N, *, C)`.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::new`].
    pub fn channels_last(shape: &[usize]) -> Result<Self, SpecError> {
        Self::new(shape, -1)
    }

    /// Normalizes an `x` of shape `(N, C, *)`.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::new`].
    pub fn channels_first(shape: &[usize]) -> Result<Self, SpecError> {
        Self::new(shape, 1)
    }

    /// PyTorch's `BatchNorm1d` to `3d`: shape `(N, C, *)`, momentum 0.1, unbiased running variance.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::new`].
    pub fn pytorch(shape: &[usize]) -> Result<Self, SpecError> {
        Ok(Self::new(shape, 1)?.running_variance(VarianceEstimator::Unbiased))
    }

    /// ONNX's `BatchNormalization`: shape `(N, C, *)`, [`Momentum::onnx`]`(0.9)`, biased running variance.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::new`].
    pub fn onnx(shape: &[usize]) -> Result<Self, SpecError> {
        Ok(Self::new(shape, 1)?.momentum(Momentum::onnx(0.9)))
    }

    /// Small number added to the variance. Default 1e-5. Must be finite and at least 0, which is checked when planning.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// How running statistics are updated. A number is [`Momentum::exponential`]. Default 0.1.
    #[must_use]
    pub fn momentum(mut self, momentum: impl Into<Momentum>) -> Self {
        self.momentum = momentum.into();
        self
    }

    /// Which variance updates the running variance. Default biased.
    #[must_use]
    pub fn running_variance(mut self, estimator: VarianceEstimator) -> Self {
        self.estimator = estimator;
        self
    }

    /// Eval mode: normalizes with the running statistics, which stay unchanged.
    #[must_use]
    pub fn eval(mut self) -> Self {
        self.mode = Mode::Eval;
        self
    }

    /// Normalizes with the statistics of `x` and keeps no running ones: PyTorch's `track_running_stats=False`.
    #[must_use]
    pub fn without_tracking(mut self) -> Self {
        self.mode = Mode::Untracked;
        self
    }
}

impl Norm for BatchNorm {
    fn name(&self) -> &'static str {
        "BatchNorm"
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn parameter_shape(&self) -> Vec<usize> {
        vec![self.shape[self.axis]]
    }

    fn statistics_shape(&self) -> Vec<usize> {
        self.parameter_shape()
    }
}

impl Lower for BatchNorm {
    fn lower(&self) -> Result<Problem, SpecError> {
        if let Average::Exponential { given, .. } = self.momentum.0
            && !(0.0..=1.0).contains(&given)
        {
            return Err(SpecError::Parameter {
                norm: self.name(),
                parameter: "momentum",
                value: given,
                must: "in 0 to 1",
            });
        }
        let block = Block {
            b: 1,
            r: count(&self.shape[..self.axis]),
            k: self.shape[self.axis] as u64,
            s: count(&self.shape[self.axis + 1..]),
        };
        let source = match self.mode {
            Mode::Train => Source::Tracked(Tracking { momentum: self.momentum, estimator: self.estimator }),
            Mode::Eval => Source::Running,
            Mode::Untracked => Source::Batch,
        };
        Ok(Problem { source, ..problem(self, block, AffineIndex::PER_K, self.eps)? })
    }
}
