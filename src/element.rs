//! The storage types of tensors, and which tensors of a norm have which.

use std::borrow::Cow;
use std::fmt;

use half::{bf16, f16};

/// How an element of a tensor is stored in its buffer. Arithmetic is always in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Element {
    /// IEEE 754 binary32, little-endian, 4 bytes.
    #[default]
    F32,
    /// IEEE 754 binary16, little-endian, 2 bytes. The largest number is 65504; what rounds to 65536 or more is stored as infinity.
    F16,
    /// bfloat16, the upper half of a binary32, little-endian, 2 bytes.
    Bf16,
}

impl Element {
    /// Bytes per element.
    #[must_use]
    pub const fn size(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The nearest number that this type has, ties to even; from the type's largest on, infinity.
    #[must_use]
    pub fn rounded(self, v: f32) -> f32 {
        match self {
            Self::F32 => v,
            Self::F16 => f16::from_f32(v).to_f32(),
            Self::Bf16 => bf16::from_f32(v).to_f32(),
        }
    }

    /// The exponent of the least normal number, digits behind the first, and the magnitude from which on numbers are stored as infinity.
    #[cfg(feature = "ndarray")]
    fn format(self) -> (i32, i32, f64) {
        match self {
            // The tolerance covers its rounding.
            Self::F32 => (-126, 23, f64::INFINITY),
            Self::F16 => (-14, 10, 65520.0),
            Self::Bf16 => (-126, 7, 255.5 * f64::powi(2.0, 120)),
        }
    }

    /// The magnitude from which on a 16-bit type stores infinity.
    #[cfg(feature = "ndarray")]
    pub(crate) fn overflow(self) -> f64 {
        self.format().2
    }

    /// Half a unit in the last place of `v`: what storing it as a 16-bit type may change.
    #[cfg(feature = "ndarray")]
    pub(crate) fn rounding(self, v: f64) -> f64 {
        let (least, digits, _) = self.format();
        match self {
            Self::F32 => 0.0,
            _ if v == 0.0 || !v.is_finite() => f64::powi(2.0, least - digits - 1),
            _ => f64::powi(2.0, (v.abs().log2().floor() as i32).max(least) - digits - 1),
        }
    }

    /// `values` as they are stored, each rounded to the nearest. For the tools of this package; no part of what versions promise.
    #[doc(hidden)]
    #[must_use]
    pub fn bytes_of(self, values: &[f32]) -> Cow<'_, [u8]> {
        match self {
            Self::F32 if cfg!(target_endian = "little") => Cow::Borrowed(bytemuck::cast_slice(values)),
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            Self::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        }
    }

    /// The values of what is stored. As [`Element::bytes_of`], no part of what versions promise.
    #[doc(hidden)]
    #[must_use]
    pub fn values_of(self, bytes: &[u8]) -> Vec<f32> {
        let two = |pair: &[u8]| [pair[0], pair[1]];
        match self {
            Self::F32 => {
                bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
            }
            Self::F16 => bytes.chunks_exact(2).map(|pair| f16::from_le_bytes(two(pair)).to_f32()).collect(),
            Self::Bf16 => bytes.chunks_exact(2).map(|pair| bf16::from_le_bytes(two(pair)).to_f32()).collect(),
        }
    }
}

impl fmt::Display for Element {
    /// `f32`, `f16`, `bf16`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// Which tensors of a norm are stored how, for [`Norm::stored_as`](crate::Norm::stored_as). The 16-bit types take half of the memory,
/// and of the time that memory takes. Each result is rounded once, to the nearest, ties to even.
///
/// | tensors | types |
/// |---|---|
/// | `x`, `residual`, `residual_out`, `skip`, `branch` | any, all the same |
/// | `y` | that of `x`, or f32 |
/// | `grad_output`, `grad_input`, `grad_residual`, `grad_skip`, `grad_branch` | that of `x`, or f32, all the same |
/// | `weight`, `bias`, `scale`, `shift`, `gate`, `embedding` | f32, or that of `x`, all the same |
/// | all others: statistics, running statistics, moments, sums, `grad_weight`, `grad_bias`, `grad_scale`, `grad_shift`, `grad_gate`, `grad_embedding` | f32 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Storage {
    pub(crate) x: Element,
    pub(crate) y: Element,
    pub(crate) gradients: Element,
    pub(crate) parameters: Element,
}

impl Storage {
    /// `x` and all tensors of its size are `element`; weight and bias are f32.
    #[must_use]
    pub fn new(element: Element) -> Self {
        Self { x: element, y: element, gradients: element, parameters: Element::F32 }
    }

    /// `y` is `element`: that of `x`, or f32, which is checked when planning.
    #[must_use]
    pub fn output(mut self, element: Element) -> Self {
        self.y = element;
        self
    }

    /// The gradients of `y`, `x` and the residual are `element`: that of `x`, or f32, which is checked when planning.
    #[must_use]
    pub fn gradients(mut self, element: Element) -> Self {
        self.gradients = element;
        self
    }

    /// `weight` and `bias` are `element`: f32, or that of `x`, which is checked when planning.
    #[must_use]
    pub fn parameters(mut self, element: Element) -> Self {
        self.parameters = element;
        self
    }

    /// The type of `x`, `residual` and `residual_out`.
    #[must_use]
    pub fn of_input(self) -> Element {
        self.x
    }

    /// The type of `y`.
    #[must_use]
    pub fn of_output(self) -> Element {
        self.y
    }

    /// The type of the gradients of `y`, `x` and the residual.
    #[must_use]
    pub fn of_gradients(self) -> Element {
        self.gradients
    }

    /// The type of `weight` and `bias`.
    #[must_use]
    pub fn of_parameters(self) -> Element {
        self.parameters
    }

    /// The 16-bit type there is, if any.
    pub(crate) fn short(self) -> Option<Element> {
        Some(self.x).filter(|&x| x != Element::F32)
    }
}

impl From<Element> for Storage {
    /// [`Storage::new`].
    fn from(element: Element) -> Self {
        Self::new(element)
    }
}
