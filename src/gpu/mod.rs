//! The engine that runs on GPUs: a [`Problem`](crate::problem::Problem) becomes a plan (`plan`), the plan WGSL (`shader`), and
//! both with buffers bind groups and pipelines (`bind`), ready to record.
//!
//! `device` opens an adapter for callers without one, `context` keeps the pipelines of a device, `probe` finds out what its
//! compiler does to arithmetic, `list` names all shaders that plans ask for.

pub(crate) mod bind;
pub(crate) mod context;
pub(crate) mod device;
mod list;
pub(crate) mod mapped;
pub(crate) mod plan;
pub(crate) mod probe;
pub(crate) mod scope;
pub(crate) mod shader;

pub use bind::{Bound, Expected, Operands, View};
pub use context::{Context, Safety};
pub use device::{AdapterReport, Gpu, features_for, limits_for};
pub use list::{ShaderVariant, shader_variants};
#[doc(hidden)]
pub use list::{expect_listed, planned_shaders};
pub use plan::{Capabilities, Pass, Plan, Tuning};
pub use probe::Probe;
