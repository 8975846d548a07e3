//! From a variant to its WGSL: files of `shaders/` are joined; WGSL does not mind the order of declarations.
//!
//! Each file says which others it uses, and in which slots one of several is chosen. Only what types cannot express is such a
//! choice: vector width, registers a lane holds, how lanes exchange values. All else is an override constant or a uniform.

mod fragment;
mod kernel;
mod list;
mod tensor;
mod variant;

pub(crate) use fragment::{parts, text};
pub(crate) use kernel::Kernel;
pub(crate) use list::check_listed;
pub use list::{ShaderVariant, expect_listed, shader_variants};
pub(crate) use tensor::{Access, TensorBinding};
pub(crate) use variant::{Affine, Choice, Constants, Hold, Keep, Reduction, Statistics, Variant, Width};

/// The entry point of every shader.
pub(crate) const ENTRY: &str = "main";
