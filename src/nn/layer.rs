//! Layer normalization as a layer.

use super::Layer;
use super::options::sealed::Kind;
use super::options::{Affine, Extent};
use super::repr::{Bool, Float};
use crate::element::Storage;
use crate::epilogue::Activation;
use crate::error::Error;
use crate::norm::{DEFAULT_EPS, LayerNorm, Norm};
use crate::problem::Rounding;

/// A layer normalization layer with its parameters: PyTorch's `LayerNorm`.
pub type LayerNormLayer = Layer<LayerNormOptions>;

/// Options of a [`LayerNormLayer`].
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::Gpu;
/// use wgpu_norm::nn::{LayerNormLayer, LayerNormOptions};
///
/// let gpu = Gpu::new_blocking()?;
/// let norm = LayerNormLayer::new_blocking(&gpu, LayerNormOptions::new(&[768]).eps(1e-12))?;
/// assert_eq!(format!("{norm:?}"), "LayerNorm((768,), eps=1e-12, elementwise_affine=True, bias=True)");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNormOptions {
    extent: Extent,
    eps: f32,
    affine: Affine,
    storage: Storage,
    activation: Option<Activation>,
    rounding: Rounding,
}

impl LayerNormOptions {
    /// Normalizes over the last axes, whose lengths are `normalized_shape`, with weight and bias: PyTorch's defaults.
    #[must_use]
    pub fn new(normalized_shape: &[usize]) -> Self {
        Self {
            extent: Extent::last(normalized_shape),
            eps: DEFAULT_EPS,
            affine: Affine::ALL,
            storage: Storage::default(),
            activation: None,
            rounding: Rounding::AtEnd,
        }
    }

    /// Normalizes over these axes, which have the lengths of `normalized_shape` in the order of `x`, and not over the last ones. A negative
    /// axis counts from the last. ConvNeXt's `LayerNorm2d(96)` is `LayerNormOptions::new(&[96]).axes(&[1]).eps(1e-6)`.
    #[must_use]
    pub fn axes(mut self, axes: &[isize]) -> Self {
        self.extent.axes = Some(axes.to_vec());
        self
    }

    /// Small number added to the variance. Default 1e-5.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// Whether the layer has a weight (gamma) and a bias (beta). Default true.
    #[must_use]
    pub fn elementwise_affine(mut self, affine: bool) -> Self {
        self.affine = Affine::new(affine, affine);
        self
    }

    /// Whether a layer with a weight also has a bias. Default true.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.affine = Affine::new(self.affine.weight, bias);
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

    /// When results of 16 bits are rounded. Default [`Rounding::AtEnd`]; [`Rounding::BeforeWeight`] is for layers
    /// [stored](Self::stored_as) as f16 or bf16.
    #[must_use]
    pub fn rounding(mut self, rounding: Rounding) -> Self {
        self.rounding = rounding;
        self
    }
}

impl Kind for LayerNormOptions {
    fn name(&self) -> &'static str {
        "LayerNorm"
    }

    fn repr(&self) -> String {
        format!(
            "{}, eps={}, elementwise_affine={}, bias={}{}",
            self.extent.repr(),
            Float(self.eps),
            Bool(self.affine.weight),
            Bool(self.affine.bias),
            self.extent.repr_of_axes()
        )
    }

    fn norm(&self, shape: &[usize], _training: bool) -> Result<Box<dyn Norm>, Error> {
        let norm = self.extent.norm(self.name(), shape, LayerNorm::new, LayerNorm::over_axes)?;
        Ok(Box::new(norm.eps(self.eps).rounding(self.rounding)))
    }

    fn example_shape(&self) -> Vec<usize> {
        self.extent.example_shape()
    }

    fn parameter_shape(&self) -> Vec<usize> {
        self.extent.lengths.clone()
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
