//! Batch normalization.

use super::sealed::Lower;
use super::{DEFAULT_EPS, Norm, Problem, Source, Tracking, check_channel_axis, count};
use crate::block::{AffineIndex, Block};
use crate::error::SpecError;

/// Batch normalization: each channel has one mean and variance over the whole batch and all positions.
///
/// `y = (x - mean) / sqrt(variance + eps) * weight[c] + bias[c]`. In training, the default, the statistics are those
/// of `x` (population variance), and `running_mean` and `running_var` are updated on the GPU; after [`BatchNorm::eval`]
/// they are the running ones. `weight`, `bias`, `mean`, `rstd` and the running statistics have the shape `[C]`.
///
/// | | channels | running update, new = | running variance |
/// |---|---|---|---|
/// | [`BatchNorm::channels_last`] | last | `0.9 * old + 0.1 * batch` | biased |
/// | [`BatchNorm::pytorch`] | axis 1 | `0.9 * old + 0.1 * batch` | unbiased |
/// | [`BatchNorm::onnx`] | axis 1 | `0.9 * old + 0.1 * batch`, as `momentum = 0.9` | biased |
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

/// How much of the old running statistics a batch leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Momentum(pub(crate) Average);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Average {
    Exponential { given: f32, keep: f32, take: f32 },
    Cumulative,
}

impl Momentum {
    /// `running = (1 - momentum) * running + momentum * batch`, as PyTorch means it: in 0 to 1, which is checked when
    /// planning.
    #[must_use]
    pub fn exponential(momentum: f32) -> Self {
        // In f64, so that the two parts of 0.1 are the nearest f32 to 0.9 and 0.1.
        Self(Average::Exponential { given: momentum, keep: (1.0 - f64::from(momentum)) as f32, take: momentum })
    }

    /// `running = momentum * running + (1 - momentum) * batch`, as ONNX means it: in 0 to 1, which is checked when
    /// planning.
    #[must_use]
    pub fn onnx(momentum: f32) -> Self {
        Self(Average::Exponential { given: momentum, keep: momentum, take: (1.0 - f64::from(momentum)) as f32 })
    }

    /// The average of all batches so far, each with the same weight: PyTorch's `momentum=None`. Needs
    /// `num_batches_tracked`.
    #[must_use]
    pub fn cumulative() -> Self {
        Self(Average::Cumulative)
    }
}

impl From<f32> for Momentum {
    /// [`Momentum::exponential`].
    fn from(momentum: f32) -> Self {
        Self::exponential(momentum)
    }
}

/// Which variance of the batch goes into the running variance. The normalization itself is always by the biased one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VarianceEstimator {
    /// Divided by `n`: the population variance, as ONNX.
    #[default]
    Biased,
    /// Divided by `n - 1`, as PyTorch. With one value per channel it is taken as it is, 0.
    Unbiased,
}

impl BatchNorm {
    /// Training mode with `momentum` 0.1 and biased running variance, with the channels along `channel_axis` of
    /// `shape` (negative: from the last).
    ///
    /// # Errors
    ///
    /// [`SpecError`] if `shape` is empty or has more than 2^31 elements, or `channel_axis` is not one of its axes.
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

    /// `(N, *, C)`: statistics over every axis but the last.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::new`].
    pub fn channels_last(shape: &[usize]) -> Result<Self, SpecError> {
        Self::new(shape, -1)
    }

    /// `(N, C, *)`.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::new`].
    pub fn channels_first(shape: &[usize]) -> Result<Self, SpecError> {
        Self::new(shape, 1)
    }

    /// As PyTorch's `BatchNorm1d` to `3d`: channels first, momentum 0.1, unbiased running variance.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::new`].
    pub fn pytorch(shape: &[usize]) -> Result<Self, SpecError> {
        Ok(Self::new(shape, 1)?.running_variance(VarianceEstimator::Unbiased))
    }

    /// As ONNX's `BatchNormalization`: channels first, its complement momentum 0.9, biased running variance.
    ///
    /// # Errors
    ///
    /// As [`BatchNorm::new`].
    pub fn onnx(shape: &[usize]) -> Result<Self, SpecError> {
        Ok(Self::new(shape, 1)?.momentum(Momentum::onnx(0.9)))
    }

    /// What is added to the variance: finite and at least 0, which is checked when planning. Default 1e-5.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// How running statistics follow the batches: a number is [`Momentum::exponential`].
    #[must_use]
    pub fn momentum(mut self, momentum: impl Into<Momentum>) -> Self {
        self.momentum = momentum.into();
        self
    }

    /// Which variance goes into the running variance. Default biased.
    #[must_use]
    pub fn running_variance(mut self, estimator: VarianceEstimator) -> Self {
        self.estimator = estimator;
        self
    }

    /// Normalizes by the running statistics, which stay as they are.
    #[must_use]
    pub fn eval(mut self) -> Self {
        self.mode = Mode::Eval;
        self
    }

    /// Normalizes by the statistics of `x` and keeps none: PyTorch's `track_running_stats=False`.
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
        if let Average::Exponential { given, .. } = self.momentum.0 {
            if !(0.0..=1.0).contains(&given) {
                return Err(SpecError::Parameter {
                    norm: self.name(),
                    parameter: "momentum",
                    value: given,
                    must: "in 0 to 1",
                });
            }
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
        Ok(Problem { source, ..Problem::new(self, block, AffineIndex::PER_K, self.eps)? })
    }
}
