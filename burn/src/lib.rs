#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![deny(unsafe_code)]

#[cfg(target_arch = "wasm32")]
compile_error!("wgpu-norm-burn binds buffers with a wait, which browsers do not have: it is for native targets");

mod call;
mod device;
mod error;
mod modules;
mod norm;
// What burn's macros make of the traits is public, and undocumented.
#[allow(missing_docs)]
mod ops;
mod run;

pub use device::{init, register};
pub use error::{DeviceError, Error};
pub use modules::{
    BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm,
    LayerNormConfig, RmsNorm, RmsNormConfig,
};
