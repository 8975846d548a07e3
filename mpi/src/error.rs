//! What can go wrong: on this rank, or with the others.

use std::fmt;
use std::time::Duration;

use wgpu_norm::{BindError, LayerError, SpecError};

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The norm, its tensors or the device.
    #[error(transparent)]
    Norm(#[from] wgpu_norm::Error),
    /// The ranks.
    #[error(transparent)]
    Ranks(#[from] RanksError),
    /// Gradients that are summed over the ranks were to be added to others, which each rank would add again.
    #[error("SyncBatchNorm: Backward::accumulate() does not go with summed_gradients(); add the sums to what there is")]
    Accumulate,
}

impl From<SpecError> for Error {
    fn from(error: SpecError) -> Self {
        Self::Norm(error.into())
    }
}

impl From<BindError> for Error {
    fn from(error: BindError) -> Self {
        Self::Norm(error.into())
    }
}

impl From<LayerError> for Error {
    fn from(error: LayerError) -> Self {
        Self::Norm(error.into())
    }
}

/// What ranks do together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// Making [`Ranks`](crate::Ranks).
    Join,
    /// Telling each other the names of their machines, to choose GPUs.
    Machines,
    /// A forward pass of batch norm.
    Forward,
    /// A backward pass of batch norm.
    Backward,
    /// A [gather](crate::Ranks::gather) of the program's own.
    Gather,
    /// A [sum](crate::Ranks::sum) of the program's own.
    Sum,
}

impl Call {
    const ALL: [Self; 6] = [Self::Join, Self::Machines, Self::Forward, Self::Backward, Self::Gather, Self::Sum];

    pub(crate) fn number(self) -> u64 {
        self as u64
    }

    pub(crate) fn of(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.number() == number)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "joining",
            Self::Machines => "names of machines",
            Self::Forward => "a forward pass",
            Self::Backward => "a backward pass",
            Self::Gather => "a gather",
            Self::Sum => "a sum",
        })
    }
}

/// Why ranks did not come together. After any of these the ranks are out of step for good, and every later call gives the same error.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RanksError {
    /// Not all ranks made this call in time.
    #[error(
        "rank {rank} of {ranks}: {call}: not all ranks came within {after:?}: one has ended, hangs, or is somewhere else in the program"
    )]
    TimedOut {
        /// This rank.
        rank: usize,
        /// How many there are.
        ranks: usize,
        /// What this rank called.
        call: Call,
        /// The deadline.
        after: Duration,
    },
    /// Another rank made another call, or has another number of channels.
    #[error(
        "rank {rank} of {ranks}: {call} with {bytes} bytes, but rank {other} is at {} with {other_bytes}: all ranks must call the same \
         in the same order, with as many channels",
        NameOf(.other_call)
    )]
    Mismatch {
        /// This rank.
        rank: usize,
        /// How many there are.
        ranks: usize,
        /// What this rank called.
        call: Call,
        /// The bytes it has for the others: 16 a channel forward; backward 8, and 4 more for each gradient that is summed.
        bytes: u64,
        /// The first rank that differs.
        other: usize,
        /// What that called, if it is known.
        other_call: Option<Call>,
        /// The bytes that has.
        other_bytes: u64,
    },
    /// MPI reported an error.
    #[error("rank {rank} of {ranks}: {call}: MPI error {code}: {text}")]
    Mpi {
        /// This rank.
        rank: usize,
        /// How many there are.
        ranks: usize,
        /// What this rank called.
        call: Call,
        /// MPI's number of it.
        code: i32,
        /// MPI's words for it.
        text: String,
    },
    /// A message is longer than MPI can count.
    #[error("rank {rank} of {ranks}: {call}: {bytes} bytes are more than the {} that a message can have", i32::MAX)]
    TooLong {
        /// This rank.
        rank: usize,
        /// How many there are.
        ranks: usize,
        /// What this rank called.
        call: Call,
        /// Its bytes.
        bytes: usize,
    },
}

/// A call of another rank.
struct NameOf<'a>(&'a Option<Call>);

impl fmt::Display for NameOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(call) => call.fmt(f),
            None => f.write_str("an unknown call"),
        }
    }
}
