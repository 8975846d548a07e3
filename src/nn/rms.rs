//! Root mean square normalization as a layer.

use super::Layer;
use super::options::sealed::Kind;
use super::options::{Affine, Extent};
use super::repr::{Bool, Float};
use crate::element::Storage;
use crate::epilogue::Activation;
use crate::error::Error;
use crate::norm::{DEFAULT_EPS, Norm, RmsNorm};
use crate::problem::Rounding;

/// A root mean square normalization layer with its weight: PyTorch's `RMSNorm`.
pub type RmsNormLayer = Layer<RmsNormOptions>;

/// Options of an [`RmsNormLayer`].
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::Gpu;
/// use wgpu_norm::nn::{RmsNormLayer, RmsNormOptions};
///
/// let gpu = Gpu::new_blocking()?;
/// let norm = RmsNormLayer::new_blocking(&gpu, RmsNormOptions::pytorch(&[4096]))?;
/// assert_eq!(format!("{norm:?}"), "RMSNorm((4096,), eps=None, elementwise_affine=True)");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RmsNormOptions {
    extent: Extent,
    /// PyTorch's `None` is the distance from 1 to the next number.
    eps: Option<f32>,
    weight_offset: f32,
    affine: Affine,
    storage: Storage,
    activation: Option<Activation>,
    rounding: Rounding,
}

impl RmsNormOptions {
    /// Normalizes over the last axes, whose lengths are `normalized_shape`, with a weight, no bias, and `eps` 1e-5 as in ONNX.
    #[must_use]
    pub fn new(normalized_shape: &[usize]) -> Self {
        Self {
            extent: Extent::last(normalized_shape),
            eps: Some(DEFAULT_EPS),
            weight_offset: 0.0,
            affine: Affine { weight: true, bias: false },
            storage: Storage::default(),
            activation: None,
            rounding: Rounding::AtEnd,
        }
    }

    /// PyTorch's defaults: its `eps` of `None` is [`f32::EPSILON`].
    #[must_use]
    pub fn pytorch(normalized_shape: &[usize]) -> Self {
        Self { eps: None, ..Self::new(normalized_shape) }
    }

    /// Normalizes over these axes, which have the lengths of `normalized_shape` in the order of `x`, and not over the last ones. A negative
    /// axis counts from the last.
    #[must_use]
    pub fn axes(mut self, axes: &[isize]) -> Self {
        self.extent.axes = Some(axes.to_vec());
        self
    }

    /// Small number added to the mean square. Default 1e-5.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = Some(eps);
        self
    }

    /// Number added to every weight: the scale is `weight_offset + weight`. Default 0. Use 1 for models that store a
    /// zero-centred weight, such as Gemma; the weight then starts at 0.
    #[must_use]
    pub fn weight_offset(mut self, weight_offset: f32) -> Self {
        self.weight_offset = weight_offset;
        self
    }

    /// Whether the layer has a weight (gamma). Default true.
    #[must_use]
    pub fn elementwise_affine(mut self, affine: bool) -> Self {
        self.affine = Affine { weight: affine, bias: false };
        self
    }

    /// Whether a layer with a weight also has a bias (beta), which PyTorch's does not. Default false.
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

impl Kind for RmsNormOptions {
    fn name(&self) -> &'static str {
        "RMSNorm"
    }

    /// With what PyTorch's does not have only where it is used.
    fn repr(&self) -> String {
        let eps = self.eps.map_or_else(|| "None".to_owned(), |eps| Float(eps).to_string());
        let shape = self.extent.repr();
        let mut text = format!("{shape}, eps={eps}, elementwise_affine={}", Bool(self.affine.weight));
        if self.affine.bias {
            text.push_str(", bias=True");
        }
        text.push_str(&self.extent.repr_of_axes());
        if self.weight_offset != 0.0 {
            text.push_str(&format!(", weight_offset={}", Float(self.weight_offset)));
        }
        if self.rounding == Rounding::BeforeWeight {
            text.push_str(", rounding=before_weight");
        }
        text
    }

    fn norm(&self, shape: &[usize], _training: bool) -> Result<Box<dyn Norm>, Error> {
        let norm = self.extent.norm(self.name(), shape, RmsNorm::new, RmsNorm::over_axes)?;
        Ok(Box::new(
            norm.eps(self.eps.unwrap_or(f32::EPSILON)).weight_offset(self.weight_offset).rounding(self.rounding),
        ))
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

    fn initial_weight(&self) -> f32 {
        1.0 - self.weight_offset
    }
}
