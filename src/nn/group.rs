//! Group normalization as a layer.

use super::Layer;
use super::options::sealed::Kind;
use super::options::{Affine, Channels};
use super::repr::{Bool, Float};
use crate::element::Storage;
use crate::epilogue::Activation;
use crate::error::Error;
use crate::norm::{DEFAULT_EPS, GroupNorm, Norm};

/// A group normalization layer with its parameters: PyTorch's `GroupNorm`.
pub type GroupNormLayer = Layer<GroupNormOptions>;

/// Options of a [`GroupNormLayer`].
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::Gpu;
/// use wgpu_norm::nn::{GroupNormLayer, GroupNormOptions};
///
/// let gpu = Gpu::new_blocking()?;
/// let norm = GroupNormLayer::new_blocking(&gpu, GroupNormOptions::pytorch(3, 6))?;
/// assert_eq!(format!("{norm:?}"), "GroupNorm(3, 6, eps=1e-05, affine=True, bias=True)");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GroupNormOptions {
    num_groups: usize,
    channels: Channels,
    eps: f32,
    affine: Affine,
    storage: Storage,
    activation: Option<Activation>,
}

impl GroupNormOptions {
    /// `num_channels` channels along the last axis, split into `num_groups` groups, with weight and bias.
    #[must_use]
    pub fn new(num_groups: usize, num_channels: usize) -> Self {
        Self {
            num_groups,
            channels: Channels::last(num_channels),
            eps: DEFAULT_EPS,
            affine: Affine::ALL,
            storage: Storage::default(),
            activation: None,
        }
    }

    /// The defaults of PyTorch and ONNX: channels along axis 1.
    #[must_use]
    pub fn pytorch(num_groups: usize, num_channels: usize) -> Self {
        Self::new(num_groups, num_channels).channels_first()
    }

    /// Small number added to the variance. Default 1e-5.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
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

    /// How tensors are stored: an [`Element`](crate::Element) for `x` and all of its size, or a [`Storage`], which says it of weight and
    /// bias, too. Default f32. Gradients of weight and bias are always f32.
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

impl Kind for GroupNormOptions {
    fn name(&self) -> &'static str {
        "GroupNorm"
    }

    fn repr(&self) -> String {
        format!(
            "{}, {}, eps={}, affine={}, bias={}",
            self.num_groups,
            self.channels.count,
            Float(self.eps),
            Bool(self.affine.weight),
            Bool(self.affine.bias)
        )
    }

    fn norm(&self, shape: &[usize], _training: bool) -> Result<Box<dyn Norm>, Error> {
        let norm = GroupNorm::new(shape, self.num_groups, self.channels.axis)?.eps(self.eps);
        self.channels.check_input(self.name(), &norm)?;
        Ok(Box::new(norm))
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
}
