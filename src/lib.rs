//! Normalization layers on any wgpu device.
#![deny(missing_docs)]

mod array;
mod bind;
mod block;
mod context;
mod element;
mod error;
mod gpu;
mod norm;
mod plan;
#[cfg(feature = "ndarray")]
pub mod reference;
mod scope;
mod shader;

pub use array::{Inputs, Outputs};
pub use bind::{Bound, Operands, View};
pub use block::{AffineIndex, Block};
pub use context::Context;
pub use element::Element;
pub use error::{BindError, Error, RunError, SpecError};
pub use gpu::{AdapterReport, Gpu, features_for, limits_for};
pub use norm::{
    BatchNorm, DEFAULT_EPS, GroupNorm, InstanceNorm, LayerNorm, Momentum, Norm, RmsNorm, VarianceEstimator,
};
pub use plan::{Capabilities, Pass, Plan};
pub use shader::{ShaderVariant, shader_variants};

#[cfg(feature = "ndarray")]
pub use ndarray;
pub use wgpu;
