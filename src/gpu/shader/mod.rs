//! From a variant to its WGSL: files of `shaders/` are joined; WGSL does not mind the order of declarations.
//!
//! Each file says which others it uses, and in which slots one of several is chosen. What an override constant or a uniform can say
//! is no such choice.

mod fragment;
mod kernel;
mod tensor;
mod variant;

pub(crate) use fragment::{files, text};
pub(crate) use kernel::Kernel;
pub(crate) use tensor::{Access, TensorBinding};
pub(crate) use variant::{
    Affine, Before, Choice, Constants, Halves, Hold, Keep, Modulating, Reduction, Spread, Statistics, Variant, Width,
};

/// The entry point of every shader.
pub(crate) const ENTRY: &str = "main";
