//! From a variant to its WGSL: fragments of `shaders/` are joined; WGSL does not mind the order of declarations.
//!
//! Only what types cannot express is a choice of fragments: vector width, registers a lane holds, which tensors are
//! bound, how lanes exchange values. All else is an override constant or a uniform.

mod all;
mod compose;
mod kernel;
mod tensor;
mod variant;

pub use all::{ShaderVariant, shader_variants};
pub(crate) use kernel::Kernel;
pub(crate) use tensor::{Access, TensorBinding};
pub(crate) use variant::{Affine, Constants, Hold, Known, Reduction, Variant, Width};

/// The entry point of every shader.
pub(crate) const ENTRY: &str = "main";

/// A file of `shaders/`.
macro_rules! fragment {
    ($path:literal) => {
        include_str!(concat!("../../../shaders/", $path))
    };
}
use fragment;
