//! Which tensors a plan will be bound to, before there are any.

use crate::norm::{Problem, Source};
use crate::shader::Role;

/// The tensors that a plan will be bound to, for [`Context::warm_up`](crate::Context::warm_up): each in a buffer of its own,
/// or `y` in that of `x`, all at multiples of 16 bytes and none with room behind it. `x`, `y` and the running statistics go
/// without saying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    in_place: bool,
    weight: bool,
    bias: bool,
    mean: bool,
    rstd: bool,
    batches: bool,
}

impl Expected {
    /// `x` and `y` alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `y` overwrites `x`.
    #[must_use]
    pub fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// There will be a weight.
    #[must_use]
    pub fn weight(mut self) -> Self {
        self.weight = true;
        self
    }

    /// There will be a bias.
    #[must_use]
    pub fn bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// The means will be written.
    #[must_use]
    pub fn mean(mut self) -> Self {
        self.mean = true;
        self
    }

    /// The factors will be written.
    #[must_use]
    pub fn rstd(mut self) -> Self {
        self.rstd = true;
        self
    }

    /// Batches will be counted.
    #[must_use]
    pub fn num_batches_tracked(mut self) -> Self {
        self.batches = true;
        self
    }

    pub(super) fn is_in_place(self) -> bool {
        self.in_place
    }

    pub(super) fn has(self, problem: &Problem, role: Role) -> bool {
        match role {
            Role::X | Role::Y | Role::Partials | Role::Stats => true,
            Role::Weight => self.weight,
            Role::Bias => self.bias,
            Role::Mean => self.mean,
            Role::Rstd => self.rstd,
            Role::RunningMean | Role::RunningVar => problem.source != Source::Batch,
            Role::Batches => self.batches,
        }
    }
}
