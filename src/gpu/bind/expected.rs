//! Which tensors a plan will be bound to, before there are any.

use crate::problem::{Problem, Source, Task};
use crate::tensors::{Role, takes};

/// Which optional tensors a plan will be bound to, for [`Context::warm_up`](crate::Context::warm_up). `x`, `y` and the running
/// statistics need not be named.
///
/// The pipelines made are those for tensors in separate buffers (or in place), each at a multiple of 16 bytes.
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
    scale: bool,
    shift: bool,
    grad_modulation: bool,
    grad_skip: bool,
    gate: bool,
    embedding: bool,
    one_buffer: bool,
}

impl Expected {
    /// No optional tensors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `y` overwrites `x`, or in a backward pass the gradient of `x` overwrites that of `y`.
    #[must_use]
    pub fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// With [`weight`](crate::Operands::weight).
    #[must_use]
    pub fn weight(mut self) -> Self {
        self.weight = true;
        self
    }

    /// With [`bias`](crate::Operands::bias).
    #[must_use]
    pub fn bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// With [`mean`](crate::Operands::mean).
    #[must_use]
    pub fn mean(mut self) -> Self {
        self.mean = true;
        self
    }

    /// With [`rstd`](crate::Operands::rstd).
    #[must_use]
    pub fn rstd(mut self) -> Self {
        self.rstd = true;
        self
    }

    /// With [`num_batches_tracked`](crate::Operands::num_batches_tracked).
    #[must_use]
    pub fn num_batches_tracked(mut self) -> Self {
        self.batches = true;
        self
    }

    /// With [`residual`](crate::Operands::residual).
    #[must_use]
    pub fn residual(mut self) -> Self {
        self.residual = true;
        self
    }

    /// With [`residual_out`](crate::Operands::residual_out).
    #[must_use]
    pub fn residual_out(mut self) -> Self {
        self.residual_out = true;
        self
    }

    /// With [`statistics`](crate::Operands::statistics) as an output. (A backward plan knows whether it reads them.)
    #[must_use]
    pub fn statistics(mut self) -> Self {
        self.statistics = true;
        self
    }

    /// With [`grad_residual`](crate::Operands::grad_residual).
    #[must_use]
    pub fn grad_residual(mut self) -> Self {
        self.grad_residual = true;
        self
    }

    /// With [`scale`](crate::Operands::scale).
    #[must_use]
    pub fn scale(mut self) -> Self {
        self.scale = true;
        self
    }

    /// With [`shift`](crate::Operands::shift).
    #[must_use]
    pub fn shift(mut self) -> Self {
        self.shift = true;
        self
    }

    /// With [`gate`](crate::Operands::gate), in a forward pass. (A backward plan knows whether it goes through one.)
    #[must_use]
    pub fn gate(mut self) -> Self {
        self.gate = true;
        self
    }

    /// With [`embedding`](crate::Operands::embedding).
    #[must_use]
    pub fn embedding(mut self) -> Self {
        self.embedding = true;
        self
    }

    /// With [`grad_scale`](crate::Operands::grad_scale) and [`grad_shift`](crate::Operands::grad_shift).
    #[must_use]
    pub fn grad_modulation(mut self) -> Self {
        self.grad_modulation = true;
        self
    }

    /// With [`grad_skip`](crate::Operands::grad_skip).
    #[must_use]
    pub fn grad_skip(mut self) -> Self {
        self.grad_skip = true;
        self
    }

    /// Those of them that a plan for `problem` takes.
    pub(crate) fn taken_by(mut self, problem: &Problem) -> Self {
        let optional = [
            (Role::Weight, &mut self.weight),
            (Role::Bias, &mut self.bias),
            (Role::Mean, &mut self.mean),
            (Role::Rstd, &mut self.rstd),
            (Role::Batches, &mut self.batches),
            (Role::Residual, &mut self.residual),
            (Role::ResidualOut, &mut self.residual_out),
            (Role::Stats, &mut self.statistics),
            (Role::GradResidual, &mut self.grad_residual),
            (Role::Scale, &mut self.scale),
            (Role::Shift, &mut self.shift),
            (Role::GradScale, &mut self.grad_modulation),
            (Role::GradSkip, &mut self.grad_skip),
            (Role::Gate, &mut self.gate),
            (Role::Embedding, &mut self.embedding),
        ];
        for (role, there) in optional {
            *there &= takes(problem, role);
        }
        self
    }

    /// All tensors in one buffer.
    pub(crate) fn in_one_buffer(mut self) -> Self {
        self.one_buffer = true;
        self
    }

    /// Whether two of them will be in one buffer.
    pub(super) fn share_a_buffer(self, one: Role, other: Role) -> bool {
        (self.one_buffer && one.is_given() && other.is_given())
            || self.coincide(one, other)
            || self.coincide(other, one)
    }

    /// Whether two of them will be the same place.
    pub(super) fn coincide(self, one: Role, other: Role) -> bool {
        self.in_place && matches!((one, other), (Role::Y, Role::X) | (Role::GradInput, Role::GradOutput))
    }

    pub(super) fn has(self, problem: &Problem, role: Role) -> bool {
        let gradients = problem.gradients();
        match role {
            Role::X | Role::Partials | Role::PartialSums | Role::RowSums | Role::GroupSums => true,
            Role::Y => gradients.is_none() && problem.task != Task::Moments,
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
            Role::Stats if problem.task == Task::FromStatistics => true,
            Role::Stats => gradients.map_or(self.statistics, |wanted| wanted.saved),
            Role::GradOutput => gradients.is_some(),
            Role::GradInput => gradients.is_some_and(|wanted| wanted.input),
            Role::GradWeight => gradients.is_some_and(|wanted| wanted.weight),
            Role::GradBias => gradients.is_some_and(|wanted| wanted.bias),
            Role::GradResidual => self.grad_residual,
            Role::Scale => self.scale,
            Role::Shift => self.shift,
            Role::GradScale | Role::GradShift => self.grad_modulation,
            Role::Skip => takes(problem, role),
            Role::GradSkip => self.grad_skip,
            Role::Gate => gradients.map_or(self.gate, |wanted| wanted.gate),
            Role::Embedding => self.embedding,
            Role::Branch | Role::GradGate | Role::GradBranch => gradients.is_some_and(|wanted| wanted.gate),
            Role::GradEmbedding => gradients.is_some_and(|wanted| wanted.embedding),
        }
    }
}
