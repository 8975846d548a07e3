//! Batch norm over the ranks of an MPI job: each rank has a part of the batch, and normalizes by the mean and variance of the whole,
//! as PyTorch's `SyncBatchNorm` does.
//!
//! - [`run`] starts MPI, and ends the job with an error if a rank fails. [`Ranks`] are those of any communicator.
//! - [`SyncBatchNorm`] is the specification, on slices, by a GPU or the CPU.
//! - [`SyncLayer`] is the layer, on buffers of a GPU. [`convert`] makes them of all layers of a network.
//!
//! Each rank leaves 16 bytes a channel forward and 8 backward, which all ranks gather. Each merges them in the order of the ranks,
//! in float64 on the host ([`wgpu_norm::Merged`]): so all ranks have the same bits of statistics, whatever their devices.
//!
//! Calls must come in the same order on all ranks. Where they do not, or where a rank is missing, the call is a
//! [`RanksError`] on the others, within [a deadline](Ranks::set_deadline). There is no recovery: the job ends.
//!
//! The README has examples, and what it takes to build and to run them.
#![deny(missing_docs)]

mod error;
mod layer;
mod norm;
mod ranks;
mod transport;

pub use error::{Call, Error, RanksError};
pub use layer::{Saved, SyncBatchNormLayer, SyncLayer, convert};
/// The crate that speaks to MPI, for communicators of one's own.
pub use mpi;
pub use norm::SyncBatchNorm;
pub use ranks::{Ranks, Spent, run};
pub use wgpu_norm;

/// Compiles the Rust of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
