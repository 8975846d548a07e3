//! Layers: norms that own their parameters, gradients and running statistics, on the GPU.
//!
//! Layers own GPU buffers, so they need a device; without one, call the norms on arrays, by [`Cpu`](crate::cpu::Cpu).
//!
//! A [`Layer`] is made once, from options. It plans on the first call with a shape and binds on the first call with a set of
//! buffers. Later calls only record a few dispatches. The caller owns the compute pass, `x`, `y` and their gradients.
//!
//! If these are on your own device, make the layer with [`Gpu::from_device`](crate::Gpu::from_device). **Never pass your
//! own buffers to a layer made with [`Gpu::new`](crate::Gpu::new)**, which is on another wgpu instance: wgpu does not detect
//! this and overwrites unrelated buffers.
//!
//! | layer | options | PyTorch |
//! |---|---|---|
//! | [`BatchNormLayer`] | [`BatchNormOptions`] | `BatchNorm1d`, `2d`, `3d` |
//! | [`LayerNormLayer`] | [`LayerNormOptions`] | `LayerNorm` |
//! | [`GroupNormLayer`] | [`GroupNormOptions`] | `GroupNorm` |
//! | [`InstanceNormLayer`] | [`InstanceNormOptions`] | `InstanceNorm1d`, `2d`, `3d` |
//! | [`RmsNormLayer`] | [`RmsNormOptions`] | `RMSNorm` |
//! | [`AnyLayer`] | any of these, chosen at run time | |
//!
//! Tensors are f32; `stored_as` on the options, such as [`LayerNormOptions::stored_as`], makes `x`, `y` and their gradients f16 or bf16, and
//! weight and bias too if so asked. Gradients of weight and bias, and running statistics, are f32.
//!
//! `activation` on the options, such as [`GroupNormOptions::activation`], puts ReLU, SiLU or GELU into the same passes, forward and
//! backward.
//!
//! With the feature `safetensors`, layers load and save checkpoints under PyTorch's keys.
//!
//! A training step in your own compute pass:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use wgpu_norm::nn::{GradOutput, LayerNormLayer, LayerNormOptions};
//! use wgpu_norm::{Gpu, wgpu};
//!
//! # let gpu = Gpu::new_blocking()?;
//! # let (device, queue) = (gpu.device().clone(), gpu.queue().clone());
//! # let buffer = || device.create_buffer(&wgpu::BufferDescriptor {
//! #     label: None, size: 32 * 64 * 4, usage: wgpu::BufferUsages::STORAGE, mapped_at_creation: false });
//! # let (x, y, dy, dx) = (buffer(), buffer(), buffer(), buffer());
//! let gpu = Gpu::from_device(&device, &queue); // one for all layers: it owns the pipelines
//! let norm = LayerNormLayer::new_blocking(&gpu, LayerNormOptions::new(&[64]))?;
//!
//! let mut encoder = device.create_command_encoder(&Default::default());
//! norm.record_zero_grad(&mut encoder);
//! {
//!     let mut pass = encoder.begin_compute_pass(&Default::default());
//!     let saved = norm.forward(&mut pass, &[32, 64], &x, &y)?;
//!     // ... the loss, which computes dy, the gradient of y ...
//!     norm.backward(&mut pass, &saved, GradOutput::new(&dy).grad_input(&dx))?;
//!     // ... the optimizer, which updates norm.weight() from norm.grad_weight() ...
//! }
//! queue.submit([encoder.finish()]);
//! # Ok(())
//! # }
//! ```

mod arrays;
mod batch;
mod calls;
mod fold;
mod following;
mod group;
mod instance;
mod layer;
mod module;
#[cfg(feature = "safetensors")]
mod nearest;
mod options;
mod passes;
mod recent;
mod repr;
mod rms;
#[cfg(feature = "safetensors")]
mod state;
mod tensors;

pub use batch::{BatchNormLayer, BatchNormOptions};
pub use fold::{Folded, LayerBefore};
pub use group::{GroupNormLayer, GroupNormOptions};
pub use instance::{InstanceNormLayer, InstanceNormOptions};
pub use layer::{LayerNormLayer, LayerNormOptions};
pub use module::{AnyLayer, Layer};
/// For the command of this package; no part of what versions promise.
#[cfg(feature = "safetensors")]
#[doc(hidden)]
pub use nearest::nearest;
pub use options::LayerOptions;
pub use passes::{BoundBackward, BoundForward, GradOutput, Saved};
pub use rms::{RmsNormLayer, RmsNormOptions};
#[cfg(feature = "safetensors")]
pub use state::{IncompatibleKeys, StateDict, StateSource, StateTensor, Strictness};
pub use tensors::{ParameterValues, RunningStatistics};

#[cfg(feature = "safetensors")]
pub use crate::error::{StateError, StateProblem};
