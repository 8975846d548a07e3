//! Instance normalization as a layer.

use super::Layer;
use super::options::sealed::Kind;
use super::options::{Affine, Channels, Following};
use super::repr::{Bool, Float};
use crate::element::Storage;
use crate::epilogue::Activation;
use crate::error::{Error, LayerError, SpecError};
use crate::norm::{DEFAULT_EPS, InstanceNorm, Norm};
use crate::problem::VarianceEstimator;

/// An instance normalization layer with its parameters: PyTorch's `InstanceNorm1d` to `3d`.
pub type InstanceNormLayer = Layer<InstanceNormOptions>;

/// Options of an [`InstanceNormLayer`].
///
/// With [`InstanceNormOptions::track_running_stats`], training updates the running mean and variance of each channel from
/// their averages over the samples of the batch. Eval mode normalizes all samples with them. As in PyTorch,
/// `num_batches_tracked` is saved and loaded, but never incremented.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::Gpu;
/// use wgpu_norm::nn::{InstanceNormLayer, InstanceNormOptions};
///
/// let gpu = Gpu::new_blocking()?;
/// let norm = InstanceNormLayer::new_blocking(&gpu, InstanceNormOptions::pytorch(3).dims(2).affine(true))?;
/// assert_eq!(
///     format!("{norm:?}"),
///     "InstanceNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=False)"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceNormOptions {
    channels: Channels,
    eps: f32,
    momentum: f32,
    estimator: VarianceEstimator,
    affine: Affine,
    track: bool,
    storage: Storage,
    activation: Option<Activation>,
}

impl InstanceNormOptions {
    /// `num_features` channels along the last axis, without weight and bias, as in PyTorch.
    #[must_use]
    pub fn new(num_features: usize) -> Self {
        Self {
            channels: Channels::last(num_features),
            eps: DEFAULT_EPS,
            momentum: 0.1,
            estimator: VarianceEstimator::Biased,
            affine: Affine::new(false, false),
            track: false,
            storage: Storage::default(),
            activation: None,
        }
    }

    /// PyTorch's defaults: channels along axis 1, no weight and bias, and unbiased running variance if it is tracked. ONNX's
    /// `InstanceNormalization` is this with [`affine(true)`](Self::affine).
    #[must_use]
    pub fn pytorch(num_features: usize) -> Self {
        Self::new(num_features).channels_first().running_variance(VarianceEstimator::Unbiased)
    }

    /// Small number added to the variance. Default 1e-5.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// The share of the new batch in running statistics: `running = (1 - momentum) * running + momentum * batch`. In 0 to 1.
    /// Default 0.1. (For this norm, PyTorch's `None` means 0.)
    #[must_use]
    pub fn momentum(mut self, momentum: f32) -> Self {
        self.momentum = momentum;
        self
    }

    /// Which variance of an instance updates the running variance.
    #[must_use]
    pub fn running_variance(mut self, estimator: VarianceEstimator) -> Self {
        self.estimator = estimator;
        self
    }

    /// Whether the layer keeps running statistics and uses them in eval mode. Default false.
    #[must_use]
    pub fn track_running_stats(mut self, track: bool) -> Self {
        self.track = track;
        self
    }

    /// Whether the layer has a weight (gamma) and a bias (beta). Default false.
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

    /// Accepts only the inputs that PyTorch's class of this number accepts, and prints that name. `dims(2)` is
    /// `InstanceNorm2d`, for inputs with four axes, or with three: one sample without a batch axis. By default the layer
    /// accepts any number of axes, and the first is the batch.
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
}

impl Kind for InstanceNormOptions {
    fn name(&self) -> &'static str {
        self.channels.class(["InstanceNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"])
    }

    fn repr(&self) -> String {
        format!(
            "{}, eps={}, momentum={}, affine={}, bias={}, track_running_stats={}",
            self.channels.count,
            Float(self.eps),
            Float(self.momentum),
            Bool(self.affine.weight),
            Bool(self.affine.bias),
            Bool(self.track)
        )
    }

    fn norm(&self, shape: &[usize], training: bool) -> Result<Box<dyn Norm>, Error> {
        let (layer, rank) = (self.name(), shape.len());
        self.channels.check(layer)?;
        if !(0.0..=1.0).contains(&self.momentum) {
            let (norm, parameter, value, must) = (layer, "momentum", self.momentum, "in 0 to 1");
            return Err(SpecError::Parameter { norm, parameter, value, must }.into());
        }
        let batched;
        let shape = match self.channels.dims {
            Some(dims) if rank == dims + 1 => {
                batched = [&[1], shape].concat();
                &batched
            }
            Some(dims) if rank != dims + 2 => {
                let must = format!("have {} axes, or {} for one sample", dims + 2, dims + 1);
                return Err(LayerError::Input { layer, shape: shape.to_vec(), must }.into());
            }
            _ => shape,
        };
        let norm = InstanceNorm::new(shape, self.channels.axis)?.eps(self.eps);
        self.channels.check_input(layer, &norm)?;
        Ok(Box::new(if self.track && !training { norm.eval() } else { norm }))
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

    fn following(&self) -> Option<Following> {
        self.track.then_some(Following { momentum: self.momentum, estimator: self.estimator })
    }

    /// To ignore them, as one may ignore other keys, would give other results than the model's.
    #[cfg(feature = "safetensors")]
    fn refused_keys(&self) -> Option<(&'static [&'static str], &'static str)> {
        let why = "this instance norm keeps no running statistics; InstanceNormOptions::track_running_stats(true) makes one \
                   that does";
        (!self.track).then_some((&["running_mean", "running_var", "num_batches_tracked"], why))
    }
}
