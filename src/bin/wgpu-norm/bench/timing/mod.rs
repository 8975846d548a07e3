//! What is timed and by which clock, for `wgpu-norm bench` and `cargo bench` alike.

mod cases;
mod clock;
mod device;
mod ring;
mod subject;

pub(crate) use cases::{Case, Direction, all};
pub(crate) use clock::{Clock, Source};
pub(crate) use device::Device;
pub(crate) use ring::Ring;
pub(crate) use subject::{Subject, Tensors};

/// Why a case could not be timed.
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
    #[error("the kernel {kernel} does not copy")]
    WrongCopy { kernel: String },
}

impl Trouble {
    /// What wgpu said.
    fn device(error: &impl ToString) -> Self {
        Self::Device { said: error.to_string() }
    }
}
