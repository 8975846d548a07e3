//! Which tensors a plan will be bound to, before there are any.

use crate::norm::{Problem, Source, Task};
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
    residual: bool,
    residual_out: bool,
    statistics: bool,
    grad_residual: bool,
}

impl Expected {
    /// `x` and `y` alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `y` overwrites `x`; or the gradient of `x` that of `y`.
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

    /// `x` plus a residual will be normalized.
    #[must_use]
    pub fn residual(mut self) -> Self {
        self.residual = true;
        self
    }

    /// `x` plus the residual will be written.
    #[must_use]
    pub fn residual_out(mut self) -> Self {
        self.residual_out = true;
        self
    }

    /// The statistics will be written. (A backward plan knows whether it reads them.)
    #[must_use]
    pub fn statistics(mut self) -> Self {
        self.statistics = true;
        self
    }

    /// There will be something to add to the gradient of `x`.
    #[must_use]
    pub fn grad_residual(mut self) -> Self {
        self.grad_residual = true;
        self
    }

    /// Whether two of them will be the same place.
    pub(super) fn coincide(self, one: Role, other: Role) -> bool {
        self.in_place && matches!((one, other), (Role::Y, Role::X) | (Role::GradInput, Role::GradOutput))
    }

    pub(super) fn has(self, problem: &Problem, role: Role) -> bool {
        let gradients = problem.gradients();
        match role {
            Role::X | Role::Partials | Role::PartialSums | Role::GroupSums => true,
            Role::Y => matches!(problem.task, Task::Forward | Task::FromMoments { .. }),
            Role::Moments => matches!(problem.task, Task::Moments | Task::FromMoments { .. }),
            Role::Sums => matches!(problem.task, Task::BackwardSums(_) | Task::FromSums { .. }),
            Role::Weight => self.weight,
            Role::Bias => self.bias,
            Role::Mean => self.mean,
            Role::Rstd => self.rstd,
            Role::RunningMean | Role::RunningVar => match problem.task {
                Task::Forward | Task::FromMoments { .. } => problem.source != Source::Batch,
                _ => problem.source == Source::Running,
            },
            Role::Batches => self.batches,
            Role::Residual => self.residual,
            Role::ResidualOut => self.residual_out,
            Role::Stats => gradients.map_or(self.statistics, |wanted| wanted.saved),
            Role::GradOutput => gradients.is_some(),
            Role::GradInput => gradients.is_some_and(|wanted| wanted.input),
            Role::GradWeight => gradients.is_some_and(|wanted| wanted.weight),
            Role::GradBias => gradients.is_some_and(|wanted| wanted.bias),
            Role::GradResidual => self.grad_residual,
        }
    }
}
