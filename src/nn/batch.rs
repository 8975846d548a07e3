//! Batch normalization as a layer.

use super::Layer;
use super::options::sealed::Kind;
use super::options::{Affine, Channels};
use super::repr::{Bool, Float};
use crate::element::Storage;
use crate::epilogue::Activation;
use crate::error::{Error, LayerError};
use crate::norm::{BatchNorm, DEFAULT_EPS, Norm};
use crate::problem::{Average, Momentum, VarianceEstimator};

/// A batch normalization layer with its parameters and running statistics: PyTorch's `BatchNorm1d` to `3d`.
pub type BatchNormLayer = Layer<BatchNormOptions>;

/// Options of a [`BatchNormLayer`].
///
/// | constructor | channels | running variance | equals |
/// |---|---|---|---|
/// | [`BatchNormOptions::new`] | last | biased | |
/// | [`BatchNormOptions::pytorch`] | axis 1 | unbiased | `torch.nn.BatchNorm1d` to `3d` |
/// | [`BatchNormOptions::onnx`] | axis 1 | biased | ONNX's `BatchNormalization` |
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::Gpu;
/// use wgpu_norm::nn::{BatchNormLayer, BatchNormOptions};
///
/// let gpu = Gpu::new_blocking()?;
/// let norm = BatchNormLayer::new_blocking(&gpu, BatchNormOptions::pytorch(64).dims(2))?;
/// assert_eq!(
///     format!("{norm:?}"),
///     "BatchNorm2d(64, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNormOptions {
    channels: Channels,
    eps: f32,
    momentum: Momentum,
    estimator: VarianceEstimator,
    affine: Affine,
    track: bool,
    storage: Storage,
    activation: Option<Activation>,
}

impl BatchNormOptions {
    /// `num_features` channels along the last axis, with weight and bias, momentum 0.1 and biased running variance.
    #[must_use]
    pub fn new(num_features: usize) -> Self {
        Self {
            channels: Channels::last(num_features),
            eps: DEFAULT_EPS,
            momentum: Momentum::exponential(0.1),
            estimator: VarianceEstimator::Biased,
            affine: Affine::ALL,
            track: true,
            storage: Storage::default(),
            activation: None,
        }
    }

    /// PyTorch's defaults: channels along axis 1, unbiased running variance.
    #[must_use]
    pub fn pytorch(num_features: usize) -> Self {
        Self::new(num_features).channels_first().running_variance(VarianceEstimator::Unbiased)
    }

    /// The defaults of ONNX's `BatchNormalization`: channels along axis 1, [`Momentum::onnx`]`(0.9)`, biased running variance.
    #[must_use]
    pub fn onnx(num_features: usize) -> Self {
        Self::new(num_features).channels_first().momentum(Momentum::onnx(0.9))
    }

    /// Small number added to the variance. Default 1e-5.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// How running statistics are updated. A number means the same as in PyTorch, and [`Momentum::cumulative`] is PyTorch's
    /// `None`. Default 0.1.
    #[must_use]
    pub fn momentum(mut self, momentum: impl Into<Momentum>) -> Self {
        self.momentum = momentum.into();
        self
    }

    /// Which variance updates the running variance.
    #[must_use]
    pub fn running_variance(mut self, estimator: VarianceEstimator) -> Self {
        self.estimator = estimator;
        self
    }

    /// Whether the layer has a weight (gamma) and a bias (beta). Default true.
    #[must_use]
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = Affine::new(affine, affine);
        self
    }

    /// Whether a layer with a weight also has a bias. Default true.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.affine = Affine::new(self.affine.weight, bias);
        self
    }

    /// Whether the layer keeps running statistics. Without them, eval mode uses those of the batch too. Default true.
    #[must_use]
    pub fn track_running_stats(mut self, track: bool) -> Self {
        self.track = track;
        self
    }

    /// Channels along axis 1: inputs have the shape `(N, C, *)`.
    #[must_use]
    pub fn channels_first(self) -> Self {
        self.channel_axis(Channels::FIRST)
    }

    /// The axis of the channels. Negative axes count from the last. Default -1.
    #[must_use]
    pub fn channel_axis(mut self, axis: isize) -> Self {
        self.channels.axis = axis;
        self
    }

    /// Accepts only the inputs that PyTorch's class of this number accepts, and prints that name. `dims(2)` is `BatchNorm2d`,
    /// for inputs with four axes. By default the layer accepts any number of axes.
    #[must_use]
    pub fn dims(mut self, dims: usize) -> Self {
        self.channels.dims = Some(dims);
        self
    }

    /// How tensors are stored: an [`Element`](crate::Element) for `x` and all of its size, or a [`Storage`], which says it of weight and
    /// bias, too. Default f32. Gradients of weight and bias, and running statistics, are always f32.
    #[must_use]
    pub fn stored_as(mut self, storage: impl Into<Storage>) -> Self {
        self.storage = storage.into();
        self
    }

    /// What follows the norm in the same pass, forward and backward. Default none.
    #[must_use]
    pub fn activation(mut self, activation: impl Into<Option<Activation>>) -> Self {
        self.activation = activation.into();
        self
    }

    /// The norm of an input of this shape, by the statistics of the batch.
    fn of_batch(&self, shape: &[usize]) -> Result<BatchNorm, Error> {
        let (layer, rank) = (self.name(), shape.len());
        self.channels.check(layer)?;
        let must = match self.channels.dims {
            Some(1) if rank != 2 && rank != 3 => Some("have 2 or 3 axes".to_owned()),
            Some(dims) if dims > 1 && rank != dims + 2 => Some(format!("have {} axes", dims + 2)),
            _ => None,
        };
        if let Some(must) = must {
            return Err(LayerError::Input { layer, shape: shape.to_vec(), must }.into());
        }
        let norm = BatchNorm::new(shape, self.channels.axis)?
            .eps(self.eps)
            .momentum(self.momentum)
            .running_variance(self.estimator);
        self.channels.check_input(layer, &norm)?;
        Ok(if self.track { norm } else { norm.without_tracking() })
    }

    /// What is added to the variance.
    pub(super) fn epsilon(&self) -> f32 {
        self.eps
    }
}

impl Kind for BatchNormOptions {
    fn name(&self) -> &'static str {
        self.channels.class(["BatchNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d"])
    }

    fn repr(&self) -> String {
        let momentum = match self.momentum.0 {
            Average::Exponential { take, .. } => Float(take).to_string(),
            Average::Cumulative => "None".to_owned(),
        };
        format!(
            "{}, eps={}, momentum={momentum}, affine={}, bias={}, track_running_stats={}",
            self.channels.count,
            Float(self.eps),
            Bool(self.affine.weight),
            Bool(self.affine.bias),
            Bool(self.track)
        )
    }

    fn norm(&self, shape: &[usize], training: bool) -> Result<Box<dyn Norm>, Error> {
        let norm = self.of_batch(shape)?;
        Ok(Box::new(if self.track && !training { norm.eval() } else { norm }))
    }

    fn batch_norm(&self, shape: &[usize]) -> Result<Option<BatchNorm>, Error> {
        self.of_batch(shape).map(Some)
    }

    fn example_shape(&self) -> Vec<usize> {
        self.channels.example_shape()
    }

    fn parameter_shape(&self) -> Vec<usize> {
        vec![self.channels.count]
    }

    fn affine(&self) -> Affine {
        self.affine
    }

    fn storage(&self) -> Storage {
        self.storage
    }

    fn activation(&self) -> Option<Activation> {
        self.activation
    }

    fn tracks(&self) -> bool {
        self.track
    }
}
