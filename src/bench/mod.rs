//! How fast norms are, beside a copy: the cases, the clock, the table and the plot. No part of the library: `wgpu-norm bench`
//! and `benches/norms.rs` each take this folder as a module of their own, so that nobody else compiles it.

mod bencher;
mod cases;
mod clock;
mod compare;
mod copy;
pub(crate) mod cpu;
mod device;
mod plot;
mod report;
mod ring;
mod rounds;
mod subject;
mod table;

pub(crate) use bencher::{plan, run};
pub(crate) use cases::{Case, Direction, all};
use clock::{Clock, Source};
pub(crate) use compare::Comparison;
pub(crate) use device::Device;
pub(crate) use plot::svg;
pub(crate) use report::Report;
use ring::Ring;
pub(crate) use rounds::Effort;
use subject::{Subject, Tensors};
pub(crate) use table::text;

use wgpu_norm::reference::TOLERANCE;

/// Why something could not be timed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Library(#[from] wgpu_norm::Error),
    #[error("the adapter {name} was there a moment ago, and is not any more")]
    AdapterGone { name: String },
    #[error("the adapter {name} gave no device: {reason}")]
    NoDevice { name: String, reason: String },
    #[error("the device: {said}")]
    Device { said: String },
    #[error("no kernel copies here")]
    NoCopy,
    #[error("the kernel {kernel} does not copy")]
    WrongCopy { kernel: String },
    #[error("the result is off by {error:.1e}, and {TOLERANCE:e} is the most")]
    Wrong { error: f64 },
    #[error("the plot cannot be drawn: {reason}")]
    Plot { reason: String },
}

impl Trouble {
    /// What wgpu said.
    fn device(error: &impl ToString) -> Self {
        Self::Device { said: error.to_string() }
    }
}
