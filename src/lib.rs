//! Normalization layers for any [wgpu](https://docs.rs/wgpu) device, as WGSL compute shaders.
//!
//! - [`LayerNorm`], [`RmsNorm`], [`GroupNorm`], [`InstanceNorm`] and [`BatchNorm`], forward and backward.
//! - [`MeanVarianceNorm`] and [`LpNorm`] (L1 and L2), forward only. They have no parameters.
//!
//! Tensors are f32, f16 or bf16 ([`Norm::stored_as`]), row-major, of any rank, with channels first, last or in between. Every result is tested against an
//! implementation in float64 on the CPU, the module `reference`.
//!
//! # A first call
//!
//! ```
//! # fn main() -> Result<(), wgpu_norm::Error> {
//! use wgpu_norm::{Gpu, Inputs, LayerNorm};
//!
//! let gpu = Gpu::new_blocking()?;
//! let out = gpu.run_blocking(&LayerNorm::new(&[2, 3], &[3])?, Inputs::new(&[1.0, 2.0, 3.0, 7.0, 7.0, 7.0][..]))?;
//! assert!((out.y[2] - 1.2247).abs() < 1e-4);
//! assert_eq!(out.y[3..], [0.0, 0.0, 0.0]);
//! # Ok(())
//! # }
//! ```
//!
//! # On your own device
//!
//! There are four steps:
//!
//! 1. A *specification*, such as [`LayerNorm`], says what to compute.
//! 2. [`Context::plan`] turns it into a [`Plan`]: which kernels run, and over how many workgroups.
//! 3. [`Context::bind`] binds the plan to your buffers, given as [`Operands`].
//! 4. [`Bound::record`] records the dispatches into your own compute pass.
//!
//! Plan and bind once, then record as often as you like. Recording makes plain wgpu calls: it allocates nothing,
//! submits nothing and does not poll. When you request your device, [`features_for`] and [`limits_for`] say what to ask
//! the adapter for. wgpu's default limits are enough.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use wgpu_norm::{Context, Operands, RmsNorm, View, wgpu};
//!
//! # let gpu = wgpu_norm::Gpu::new_blocking()?;
//! # let (device, queue) = (gpu.device().clone(), gpu.queue().clone());
//! # let buffer = |size| device.create_buffer(&wgpu::BufferDescriptor {
//! #     label: None, size, usage: wgpu::BufferUsages::STORAGE, mapped_at_creation: false });
//! # let (activations, model) = (buffer(128 * 64 * 4), buffer(4096));
//! let context = Context::new(&device);
//! let plan = context.plan(&RmsNorm::new(&[128, 64], &[64])?.eps(1e-6))?;
//! let weight = View::new(&model, 1024);
//! let bound = context.bind(&plan, &Operands::in_place(&activations).weight(weight))?;
//!
//! let mut encoder = device.create_command_encoder(&Default::default());
//! {
//!     let mut pass = encoder.begin_compute_pass(&Default::default());
//!     // ... your own dispatches ...
//!     bound.record(&mut pass);
//! }
//! queue.submit([encoder.finish()]);
//! # Ok(())
//! # }
//! ```
//!
//! # The ways to call
//!
//! | you have | call | for gradients |
//! |---|---|---|
//! | a device, buffers and a compute pass | [`Context::plan`], [`Context::bind`], [`Bound::record`] | [`Context::plan_backward`], and the same |
//! | a network to train, or a checkpoint | the layers of [`nn`] | the same |
//! | `&[f32]`, `&[f16]` or `&[bf16]`, and a shape | [`Gpu::run`], [`Gpu::run_blocking`](Gpu#method.run_blocking) | [`Gpu::run_backward`] |
//! | `ndarray` views (feature `ndarray`) | `Gpu::run_array`, `Gpu::run_array_blocking` | `Gpu::run_backward_array` |
//! | slices or views, and perhaps no GPU (feature `cpu`) | `Engine`: the calls of [`Gpu`] | the same |
//! | slices on the CPU, with outputs of your own (feature `cpu`) | `Cpu::plan`, `cpu::Plan::run` | `Cpu::plan_backward` |
//! | a part of a batch that is split over devices | [`Context::plan_moments`], [`Context::plan_from_moments`] or [`Merged`] and [`Context::plan_from_statistics`] | [`Context::plan_backward_sums`], [`Context::plan_backward_from_sums`] |
//! | the same, as slices (feature `cpu`) | `Engine::run_moments`, [`Merged`], `Engine::run_from_statistics` | `Engine::run_backward_sums`, `Engine::run_backward_from_sums` |
//! | an unknown GPU to test (feature `ndarray`) | `Gpu::examine`: checks every norm against float64 | the same |
//! | `.npy` or `.safetensors` files | the command `wgpu-norm` (feature `cli`): `apply` | `grad` |
//!
//! The methods of [`Gpu`] that wait for the GPU are async. Each has a `_blocking` version, except on wasm32. On native
//! targets the futures poll the device themselves, so any executor works.
//!
//! # One idea: the block
//!
//! Every norm splits the axes of `x` into those it reduces and those it keeps. Neighbouring axes of one kind merge. What
//! remains is one row-major [`Block`] `[B, R, K, S]`, reduced over `R` and `S` and kept over `B` and `K`. The
//! [`AffineIndex`] says which weight and bias belong to an element.
//!
//! | norm | B | R | K | S | weight and bias of element (b, r, k, s) |
//! |---|---|---|---|---|---|
//! | layer, RMS | rows | 1 | 1 | features | `s` |
//! | layer, RMS, over the channels of NCHW | N | C | positions | 1 | `r` |
//! | layer, RMS, over other axes | any axes that fit this pattern | | | | `r * S + s` |
//! | group, channels first | N | 1 | G | C/G * positions | `k * C/G + s / positions` |
//! | group, channels last | N | positions | G | C/G | `k * C/G + s` |
//! | instance, channels first | N | 1 | C | positions | `k` |
//! | instance, channels last | N | positions | C | 1 | `k` |
//! | batch, channels first | 1 | N | C | positions | `k` |
//! | batch, channels last | 1 | N * positions | C | 1 | `k` |
//! | mean-variance, L1, L2 | any axes that fit this pattern | | | | none |
//!
//! A group is all elements that share one mean and variance. If groups are contiguous and fit a workgroup, the norm runs
//! *fused*: one dispatch, with one read and one write of each element. Otherwise it runs *staged*: partial statistics, a
//! merge, then the normalization. Rows that share words of two 16-bit elements take two dispatches for one. No layout is ever transposed. A tensor larger than a storage binding is processed in
//! windows.
//!
//! # Accuracy
//!
//! Every element of `y` is within `4e-6 * scale` of float64. `scale` is the largest `max(|xhat * weight|, |bias|)` in its
//! group, where `xhat` is the normalized value. The same bound holds for `mean` and `running_mean` (relative to the
//! largest `|x|`) and for `rstd` and `running_var` (relative to themselves).
//!
//! - The bound holds far from zero, at mean 1e6 and standard deviation 1. There, a mean stored as one f32 is off by up to
//!   0.03. This library stores a mean as a pair `shift + delta` and centres values as `(x - shift) - delta`.
//! - It holds where squares overflow or underflow f32: for magnitudes from 1e-36 to 3e38. Adapters may treat numbers
//!   below 1.2e-38, the smallest normal f32, as 0.
//! - After a modulation, `scale` is the largest of `|xhat * weight * factor|`, `|bias * factor|` and `|shift|`, with the `factor` that is
//!   `offset + scale`; with a skip, it is at least `|skip|`.
//! - After an activation, it is `4e-6 * scale` times the largest slope: 1 of ReLU, 1.1 of SiLU, 1.13 of GELU.
//! - `mean`, `rstd` and running statistics are f32, and overflow or underflow as such.
//! - A constant group gives exactly `bias`. NaN and infinities affect only their own group.
//! - Results are deterministic: the same bits on every run.
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `backends` (default) | Vulkan, Metal, DX12 and WebGPU; off, choose wgpu's backends yourself |
//! | `cpu` (default) | the same norms on the CPU, without a device: `Cpu`, `cpu::Plan`, and `Engine`, which chooses |
//! | `ndarray` (default) | views in and out, the oracle `reference`, and `doctor`, which compares every norm with it |
//! | `safetensors` | checkpoints of the layers in [`nn`], under PyTorch's keys |
//! | `cli` | the command `wgpu-norm` |
//! | `gles` | wgpu's OpenGL backend as well |
#![deny(missing_docs)]
#![deny(unsafe_code)]

mod array;
mod backward;
mod block;
#[cfg(feature = "cpu")]
pub mod cpu;
#[cfg(feature = "ndarray")]
pub mod doctor;
mod element;
#[cfg(feature = "cpu")]
mod engine;
mod epilogue;
mod error;
mod gpu;
mod mapping;
mod modulation;
mod moments;
pub mod nn;
mod norm;
mod problem;
#[cfg(feature = "ndarray")]
pub mod reference;
/// For the command and the benchmark of this package; no part of what versions promise.
#[cfg(feature = "ndarray")]
#[doc(hidden)]
pub mod sample;
mod statistics;
mod strides;
mod tensors;
mod values;

pub use array::{Gradients, Inputs, Outputs, Parameter, Tensor};
pub use backward::Backward;
pub use block::{AffineIndex, Block};
#[cfg(feature = "cpu")]
pub use cpu::Cpu;
pub use element::{Element, Storage};
#[cfg(feature = "cpu")]
pub use engine::Engine;
pub use epilogue::Activation;
pub use error::{BindError, Error, LayerError, RunError, SpecError};
pub use gpu::{
    AdapterReport, Bound, Capabilities, Context, Expected, Gpu, Operands, Pass, Plan, Probe, Safety, ShaderVariant,
    Tuning, View, features_for, limits_for, shader_variants,
};
/// For the tests and tools of this package; no part of what versions promise.
#[doc(hidden)]
pub use gpu::{expect_listed, planned_shaders};
pub use modulation::Modulation;
pub use moments::Moments;
pub use norm::{
    Adapted, BatchNorm, DEFAULT_EPS, GroupNorm, InstanceNorm, LayerNorm, LpNorm, MeanVarianceNorm, Norm, RmsNorm,
};
pub use problem::{Momentum, Rounding, VarianceEstimator};
pub use statistics::Merged;
pub use strides::Strides;
pub use values::Number;

pub use half;
#[cfg(feature = "ndarray")]
pub use ndarray;
#[cfg(feature = "safetensors")]
pub use safetensors;
pub use wgpu;

/// Runs the Rust of the README and of the guides with the other doc tests, where there is all that it uses.
#[cfg(all(doctest, feature = "safetensors"))]
mod guides {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/backward.md")]
    struct Gradients;
    #[doc = include_str!("../docs/training.md")]
    struct Training;
    #[doc = include_str!("../docs/porting.md")]
    struct Porting;
}
