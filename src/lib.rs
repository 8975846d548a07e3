//! Normalization layers as WGSL compute shaders on any wgpu device: [`LayerNorm`], [`RmsNorm`], [`GroupNorm`],
//! [`InstanceNorm`], [`BatchNorm`], and without parameters [`MeanVarianceNorm`] and [`LpNorm`], checked against a float64
//! oracle.
//!
//! # In one line
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
//! A *specification* says what to compute, a [`Plan`] how, [`Context::bind`] ties it to buffers, and
//! [`Bound::record`] puts it into your own compute pass. Recording is the bare wgpu calls; the library never submits,
//! polls or takes over the device. [`features_for`] and [`limits_for`] say what to ask the adapter for; nothing beyond
//! wgpu's default limits is required.
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
//! | `&[f32]` and a shape | [`Gpu::run`], [`Gpu::run_blocking`](Gpu#method.run_blocking) | [`Gpu::run_backward`] |
//! | `ndarray` views (feature `ndarray`) | `Gpu::run_array`, `Gpu::run_array_blocking` | `Gpu::run_backward_array` |
//! | one of several parts of a batch | [`Context::plan_moments`], [`Context::plan_from_moments`] | [`Context::plan_backward_sums`], [`Context::plan_backward_from_sums`] |
//! | a GPU that you do not know (feature `ndarray`) | `Gpu::examine`: every norm against float64, there | the same |
//! | `.npy` or `.safetensors` files | the command `wgpu-norm` (feature `cli`): `apply` | `grad` |
//!
//! Plain names are async; their `_blocking` twins are absent on wasm32. On native the futures poll the device
//! themselves: any executor will do.
//!
//! # One idea: the block
//!
//! Whatever its name, a norm splits the axes of `x` into reduced and kept ones. Neighbours of one kind merge, and every
//! norm becomes one row-major [`Block`] `[B, R, K, S]`, reduced over `R` and `S`, kept over `B` and `K`; the
//! [`AffineIndex`] tells which weight an element has.
//!
//! | norm | B | R | K | S | weight and bias of element (b, r, k, s) |
//! |---|---|---|---|---|---|
//! | layer, RMS | rows | 1 | 1 | features | `s` |
//! | group, channels first | N | 1 | G | C/G * positions | `k * C/G + s / positions` |
//! | group, channels last | N | positions | G | C/G | `k * C/G + s` |
//! | instance, channels first | N | 1 | C | positions | `k` |
//! | instance, channels last | N | positions | C | 1 | `k` |
//! | batch, channels first | 1 | N | C | positions | `k` |
//! | batch, channels last | 1 | N * positions | C | 1 | `k` |
//! | mean-variance, L1, L2 | any axes that alternate so | | | | none |
//!
//! A block whose groups are contiguous and fit a workgroup runs *fused*: one dispatch, one read and one write of `x`.
//! Any other runs *staged*: partial statistics, a merge, then the normalization. No layout is ever transposed. A tensor
//! larger than a binding goes in windows.
//!
//! # Accuracy
//!
//! Every element of `y` is within `4e-6 * scale` of float64, where `scale` is the largest magnitude added up in its
//! group, `max(|xhat * weight|, |bias|)`; likewise `mean` and `running_mean` (of the largest `|x|`), `rstd` and `running_var`. That
//! holds at mean 1e6 with standard deviation 1, where a mean kept as one f32 is off by 0.03. A mean here is a pair,
//! `shift + delta`, and data are centred as `(x - shift) - delta`. Constant groups come out as exactly `bias`, NaN and
//! infinities stay in their group, and results are the same bits run after run.
//!
//! It also holds for values whose squares are no f32, from 1e-36 to 3e38, but for 1.2e-38, the smallest normal f32: adapters may
//! take smaller numbers for 0. `mean`, `rstd` and running statistics overflow and vanish as f32 does.
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `backends` (default) | Vulkan, Metal, DX12 and WebGPU; off, choose wgpu's backends yourself |
//! | `ndarray` (default) | views in and out, the oracle `reference`, and `doctor`, which compares every norm with it |
//! | `safetensors` | checkpoints of the layers in [`nn`], under PyTorch's keys |
//! | `cli` | the command `wgpu-norm` |
//! | `gles` | wgpu's OpenGL backend as well |
#![deny(missing_docs)]
#![deny(unsafe_code)]

mod array;
mod backward;
mod bind;
mod block;
mod context;
#[cfg(feature = "ndarray")]
pub mod doctor;
mod element;
mod error;
mod gpu;
mod mapped;
mod moments;
pub mod nn;
mod norm;
mod plan;
mod probe;
#[cfg(feature = "ndarray")]
pub mod reference;
/// For the command and the benchmark of this package; no part of what versions promise.
#[cfg(feature = "ndarray")]
#[doc(hidden)]
pub mod sample;
mod scope;
mod shader;

pub use array::{Gradients, Inputs, Outputs};
pub use backward::Backward;
pub use bind::{Bound, Expected, Operands, View};
pub use block::{AffineIndex, Block};
pub use context::{Context, Safety};
pub use element::Element;
pub use error::{BindError, Error, LayerError, RunError, SpecError};
pub use gpu::{AdapterReport, Gpu, features_for, limits_for};
pub use moments::Moments;
pub use norm::{
    BatchNorm, DEFAULT_EPS, GroupNorm, InstanceNorm, LayerNorm, LpNorm, MeanVarianceNorm, Momentum, Norm, RmsNorm,
    VarianceEstimator,
};
pub use plan::{Capabilities, Pass, Plan, Tuning};
pub use probe::Probe;
pub use shader::{ShaderVariant, shader_variants};

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
