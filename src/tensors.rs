//! The tensors of a norm, whatever engine runs it: their names, shapes and sizes, which of them a problem takes, and which may
//! overwrite which.

use crate::backward::Backward;
use crate::element::{Element, Storage};
use crate::error::BindError;
use crate::modulation::{Modulated, by_modulation};
use crate::problem::{Centering, Problem, Source, Task, count};

/// What a tensor is to the norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Role {
    X,
    Y,
    Weight,
    Bias,
    Mean,
    Rstd,
    RunningMean,
    RunningVar,
    Batches,
    Residual,
    ResidualOut,
    Stats,
    GradOutput,
    GradInput,
    GradWeight,
    GradBias,
    GradResidual,
    Scale,
    Shift,
    Skip,
    GradScale,
    GradShift,
    GradSkip,
    Gate,
    Embedding,
    Branch,
    GradGate,
    GradEmbedding,
    GradBranch,
    Moments,
    Sums,
    Partials,
    PartialSums,
    RowSums,
    GroupSums,
}

/// What one index of a tensor is, and so how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// An element of a tensor of the size of `x`, in its storage type.
    Element,
    /// An element of weight or bias, or of what a modulation has, or of a gradient of them.
    Parameter,
    /// A statistic of a group, in f32.
    Number,
    /// A u32.
    Count,
    /// Two sums in f32.
    Pair,
    /// Four f32: a partial, moments, or a group's statistics.
    Record,
}

/// Bytes of the four elements that one load of a shader reads at most.
pub(crate) const QUAD_BYTES: u64 = 4 * Cell::Element.bytes();

impl Cell {
    /// Numbers of one cell.
    const fn numbers(self) -> u64 {
        match self {
            Self::Element | Self::Parameter | Self::Number | Self::Count => 1,
            Self::Pair => 2,
            Self::Record => 4,
        }
    }

    /// Bytes of one cell where numbers are of four.
    pub(crate) const fn bytes(self) -> u64 {
        4 * self.numbers()
    }
}

impl Role {
    /// All there are: as users and error messages name them, and as shaders do; what one index is; and the tensors that one
    /// that is written may be exactly, each element being read by the lane that then overwrites it.
    const TABLE: [(Self, &str, &str, Cell, &[Self]); 35] = [
        (Self::X, "x", "x", Cell::Element, &[]),
        (Self::Y, "y", "y", Cell::Element, &[Self::X, Self::Residual, Self::Skip]),
        (Self::Weight, "weight", "weight", Cell::Parameter, &[]),
        (Self::Bias, "bias", "bias", Cell::Parameter, &[]),
        (Self::Mean, "mean", "mean", Cell::Number, &[]),
        (Self::Rstd, "rstd", "rstd", Cell::Number, &[]),
        (Self::RunningMean, "running_mean", "running_mean", Cell::Number, &[]),
        (Self::RunningVar, "running_var", "running_var", Cell::Number, &[]),
        (Self::Batches, "num_batches_tracked", "batches", Cell::Count, &[]),
        (Self::Residual, "residual", "residual", Cell::Element, &[]),
        (Self::ResidualOut, "residual_out", "residual_out", Cell::Element, &[Self::X, Self::Residual]),
        (Self::Stats, "statistics", "stats", Cell::Record, &[]),
        (Self::GradOutput, "grad_output", "grad_output", Cell::Element, &[]),
        (Self::GradInput, "grad_input", "grad_input", Cell::Element, &[Self::GradOutput, Self::GradResidual]),
        (Self::GradWeight, "grad_weight", "grad_weight", Cell::Parameter, &[]),
        (Self::GradBias, "grad_bias", "grad_bias", Cell::Parameter, &[]),
        (Self::GradResidual, "grad_residual", "grad_residual", Cell::Element, &[]),
        (Self::Scale, "scale", "scale", Cell::Parameter, &[]),
        (Self::Shift, "shift", "shift", Cell::Parameter, &[]),
        (Self::Skip, "skip", "skip", Cell::Element, &[]),
        (Self::GradScale, "grad_scale", "grad_scale", Cell::Parameter, &[]),
        (Self::GradShift, "grad_shift", "grad_shift", Cell::Parameter, &[]),
        (Self::GradSkip, "grad_skip", "grad_skip", Cell::Element, &[]),
        (Self::Gate, "gate", "gate", Cell::Parameter, &[]),
        (Self::Embedding, "embedding", "embedding", Cell::Parameter, &[]),
        (Self::Branch, "branch", "branch", Cell::Element, &[]),
        (Self::GradGate, "grad_gate", "grad_gate", Cell::Parameter, &[]),
        (Self::GradEmbedding, "grad_embedding", "grad_embedding", Cell::Parameter, &[]),
        (Self::GradBranch, "grad_branch", "grad_branch", Cell::Element, &[]),
        (Self::Moments, "moments", "moments", Cell::Record, &[]),
        (Self::Sums, "sums", "sums", Cell::Pair, &[]),
        (Self::Partials, "partials", "partials", Cell::Record, &[]),
        (Self::PartialSums, "partial_sums", "partial_sums", Cell::Pair, &[]),
        (Self::RowSums, "row_sums", "row_sums", Cell::Pair, &[]),
        (Self::GroupSums, "group_sums", "group_sums", Cell::Pair, &[]),
    ];

    /// How many of them a user can give. They come first; the others are scratch.
    pub(crate) const GIVEN: usize = 31;

    /// All tensors, in order.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::TABLE.iter().map(|row| row.0)
    }

    /// The tensors a user can give, in order.
    pub(crate) fn given() -> impl Iterator<Item = Self> {
        Self::all().take(Self::GIVEN)
    }

    pub(crate) fn is_given(self) -> bool {
        (self as usize) < Self::GIVEN
    }

    /// As users and error messages name it.
    pub(crate) fn name(self) -> &'static str {
        Self::TABLE[self as usize].1
    }

    /// As shaders name it.
    pub(crate) fn shader_name(self) -> &'static str {
        Self::TABLE[self as usize].2
    }

    pub(crate) fn cell(self) -> Cell {
        Self::TABLE[self as usize].3
    }

    /// The tensors that it may overwrite.
    pub(crate) fn may_overwrite(self) -> &'static [Self] {
        Self::TABLE[self as usize].4
    }

    /// Whether it is of the shape of a modulation.
    pub(crate) fn modulates(self) -> bool {
        matches!(self, Self::Scale | Self::Shift | Self::Gate | Self::Embedding)
            || matches!(self, Self::GradScale | Self::GradShift | Self::GradGate | Self::GradEmbedding)
    }

    /// Whether it is as large as `x`, so that a pass binds its part of it alone.
    pub(crate) fn is_large(self) -> bool {
        self.cell() == Cell::Element
    }
}

/// Whether a norm takes a tensor.
enum Wanted {
    Needed(&'static str),
    Optional,
    No(&'static str),
}

fn wanted(problem: &Problem, role: Role) -> Wanted {
    match (problem.task, role) {
        (Task::Moments, Role::X) => Wanted::Needed("moments are of x"),
        (Task::Moments, Role::Moments) => Wanted::Needed("the plan writes them"),
        (Task::Moments, _) => Wanted::No("the plan computes moments of x, and nothing else"),
        (Task::FromMoments { .. }, Role::Moments) => Wanted::Needed("the plan reads them"),
        (Task::BackwardSums(_), Role::Sums) => Wanted::Needed("the plan writes them"),
        (Task::FromSums { .. }, Role::Sums) => Wanted::Needed("the plan reads them"),
        (Task::BackwardSums(_) | Task::FromSums { .. }, Role::Stats) => {
            Wanted::Needed("plans for parts of a batch go by those of the whole")
        }
        (Task::FromStatistics, Role::Stats) => Wanted::Needed("the plan reads them"),
        (Task::FromMoments { .. } | Task::FromStatistics, Role::Residual | Role::ResidualOut)
        | (Task::FromMoments { .. } | Task::FromStatistics, Role::Gate | Role::Embedding) => {
            Wanted::No("the statistics are those of x alone")
        }
        (Task::FromSums { .. }, Role::GradScale | Role::GradShift) => {
            Wanted::No("the plan of sums computes it, of each part")
        }
        (Task::FromStatistics, Role::Mean | Role::Rstd) => {
            Wanted::No("the statistics are given; nothing is computed to write")
        }
        (Task::FromStatistics, Role::RunningMean | Role::RunningVar | Role::Batches) => {
            Wanted::No("the statistics are given: Merged::track updates running ones")
        }
        (_, Role::Moments | Role::Sums) => Wanted::No("only plans for one of several parts of a batch take it"),
        (Task::Forward | Task::FromMoments { .. } | Task::FromStatistics, _) => wanted_forward(problem, role),
        (Task::Backward(gradients) | Task::BackwardSums(gradients), _) => wanted_backward(problem, gradients, role),
        (Task::FromSums { wanted, .. }, _) => wanted_backward(problem, wanted, role),
    }
}

const NOT_MODULATED: &str = "Norm::modulated makes a norm that takes it";

fn wanted_forward(problem: &Problem, role: Role) -> Wanted {
    match (role, problem.source) {
        (Role::X | Role::Y, _) => Wanted::Needed("every norm reads x and writes y"),
        (Role::Weight | Role::Bias, _) if !problem.affine => Wanted::No("this norm has no weight and no bias"),
        (Role::Mean, _) if problem.centering == Centering::None => Wanted::No("this norm has no mean"),
        (Role::Mean | Role::Rstd | Role::Stats, Source::Running) => {
            Wanted::No("in eval mode the statistics are the running ones; nothing is computed to write")
        }
        (Role::RunningMean | Role::RunningVar, Source::Tracked(_)) => {
            Wanted::Needed("training updates it; BatchNorm::without_tracking() keeps none")
        }
        (Role::RunningMean | Role::RunningVar, Source::Running) => Wanted::Needed("eval mode normalizes by it"),
        (Role::Batches, Source::Tracked(_)) if problem.averages_all() => {
            Wanted::Needed("the cumulative average needs it")
        }
        (Role::Batches, Source::Tracked(_)) => Wanted::Optional,
        (Role::Batches, Source::Running) => Wanted::No("eval mode counts no batches"),
        (Role::RunningMean | Role::RunningVar | Role::Batches, Source::Batch) => {
            Wanted::No("only BatchNorm, unless made without_tracking(), and InstanceNorm in eval mode take it")
        }
        (role, _) if role.modulates() && problem.modulation.is_none() => Wanted::No(NOT_MODULATED),
        (Role::Skip, _) if problem.skip => Wanted::Needed("Norm::plus_skip adds it"),
        (Role::Skip, _) => Wanted::No("Norm::plus_skip makes a norm that adds it"),
        (Role::GradOutput | Role::GradInput | Role::GradWeight | Role::GradBias | Role::GradResidual, _)
        | (Role::GradScale | Role::GradShift | Role::GradSkip, _)
        | (Role::Branch | Role::GradGate | Role::GradEmbedding | Role::GradBranch, _) => {
            Wanted::No("gradients are of a backward pass: plan_backward, run_backward")
        }
        _ => Wanted::Optional,
    }
}

fn wanted_backward(problem: &Problem, gradients: Backward, role: Role) -> Wanted {
    let planned = |yes: bool, why: &'static str, not: &'static str| {
        if yes { Wanted::Needed(why) } else { Wanted::No(not) }
    };
    let running = problem.source == Source::Running;
    match role {
        Role::X | Role::GradOutput => Wanted::Needed("every backward pass reads it"),
        Role::Weight | Role::Bias if !problem.affine => Wanted::No("this norm has no weight and no bias"),
        Role::Weight => Wanted::Optional,
        Role::Bias if problem.goes_by_bias() => Wanted::Optional,
        role if role.modulates() && problem.modulation.is_none() => Wanted::No(NOT_MODULATED),
        Role::Scale | Role::Shift => Wanted::Optional,
        Role::GradScale | Role::GradShift if !gradients.modulation => {
            Wanted::No("the plan is without the gradients of scale and shift")
        }
        Role::GradScale | Role::GradShift if by_modulation(problem).is_none() => Wanted::No(
            "gradients of scale and shift are there for shapes that docs/norms.md lists, of at most 2^22 numbers",
        ),
        Role::GradScale | Role::GradShift => Wanted::Optional,
        Role::Skip if problem.skip && problem.activation.is_some() => {
            Wanted::Needed("the slope of the activation goes by it")
        }
        Role::Skip => Wanted::No("without an activation after it no gradient goes by it"),
        Role::GradSkip if problem.passes_skip() => Wanted::Optional,
        Role::GradSkip => {
            Wanted::No("it is grad_output itself, unless an activation follows and grad_input is planned")
        }
        Role::Gate | Role::Branch | Role::GradGate | Role::GradBranch | Role::GradEmbedding
            if !matches!(problem.task, Task::Backward(_)) =>
        {
            Wanted::No("plans for parts of a batch go back to what was normalized, and no further")
        }
        Role::Gate | Role::Branch | Role::GradGate | Role::GradBranch => planned(
            gradients.gate,
            "by Backward::with_gate() the plan goes back through it",
            "Backward::with_gate() makes a plan that takes it",
        ),
        Role::GradEmbedding => planned(
            gradients.embedding,
            "the plan computes it by Backward::with_embedding()",
            "Backward::with_embedding() makes a plan that computes it",
        ),
        Role::Embedding => Wanted::No("no gradient goes by it"),
        Role::RunningMean | Role::RunningVar if running => Wanted::Needed("in eval mode it is what was normalized by"),
        Role::RunningMean | Role::RunningVar => Wanted::No("a backward pass uses the statistics of x"),
        Role::Stats => planned(
            gradients.saved,
            "by Backward::saved_statistics() the plan reads what the forward pass wrote",
            "the plan computes them; Backward::saved_statistics() reads them",
        ),
        Role::GradInput => planned(
            gradients.input,
            "the plan computes it, and is without it by Backward::without_input()",
            "the plan is without the gradient of x",
        ),
        Role::GradWeight => planned(
            gradients.weight,
            "the plan computes it, and is without it by Backward::without_weight()",
            "the plan is without the gradient of weight",
        ),
        Role::GradBias => planned(
            gradients.bias,
            "the plan computes it, and is without it by Backward::without_bias()",
            "the plan is without the gradient of bias",
        ),
        Role::GradResidual if !gradients.input => Wanted::No("the plan is without the gradient of x"),
        Role::GradResidual => Wanted::Optional,
        Role::Residual | Role::ResidualOut => Wanted::No("x is what the residual was added to, in a backward pass"),
        Role::Y | Role::Bias | Role::Mean | Role::Rstd | Role::Batches => {
            Wanted::No("a backward pass has no use for it")
        }
        Role::Moments | Role::Sums | Role::Partials | Role::PartialSums | Role::RowSums | Role::GroupSums => {
            Wanted::Optional
        }
    }
}

/// Whether a tensor of the user is written, in any pass.
pub(crate) fn is_written(problem: &Problem, role: Role) -> bool {
    match role {
        Role::Y | Role::Mean | Role::Rstd | Role::ResidualOut => true,
        Role::GradInput | Role::GradWeight | Role::GradBias => true,
        Role::GradScale | Role::GradShift | Role::GradSkip => true,
        Role::GradGate | Role::GradEmbedding | Role::GradBranch => true,
        Role::RunningMean | Role::RunningVar | Role::Batches => {
            matches!(problem.source, Source::Tracked(_)) && problem.gradients().is_none()
        }
        Role::Stats => problem.gradients().is_none() && problem.task != Task::FromStatistics,
        Role::Moments => problem.task == Task::Moments,
        Role::Sums => matches!(problem.task, Task::BackwardSums(_)),
        _ => false,
    }
}

/// The shape of a tensor of the user.
pub(crate) fn shape(problem: &Problem, role: Role) -> &[usize] {
    match role {
        role if role.is_large() => &problem.shape,
        Role::Weight | Role::Bias | Role::GradWeight | Role::GradBias => &problem.parameter_shape,
        role if role.modulates() => problem.modulation.as_ref().map_or(&[], |modulated| &modulated.shape),
        Role::Mean | Role::Rstd | Role::RunningMean | Role::RunningVar => &problem.statistics_shape,
        Role::Stats => &problem.record_shape,
        Role::Moments => &problem.moments_shape,
        Role::Sums => &problem.sums_shape,
        _ => &[1],
    }
}

/// The type of a tensor's numbers.
pub(crate) fn element(problem: &Problem, role: Role) -> Element {
    let Storage { x, y, gradients, parameters } = problem.storage;
    match role {
        Role::X | Role::Residual | Role::ResidualOut | Role::Skip | Role::Branch => x,
        Role::Y => y,
        Role::GradOutput | Role::GradInput | Role::GradResidual | Role::GradSkip | Role::GradBranch => gradients,
        Role::Weight | Role::Bias | Role::Scale | Role::Shift | Role::Gate | Role::Embedding => parameters,
        _ => Element::F32,
    }
}

/// The tensor of 16 bits that passes write, of which a lane owns whole words where it writes elements one by one. A second one is cut
/// into words alike.
pub(crate) fn owned_by_words(problem: &Problem) -> Option<Role> {
    let written = match problem.gradients() {
        Some(_) => Role::GradInput,
        None if problem.storage.y != Element::F32 => Role::Y,
        None => Role::ResidualOut,
    };
    Some(written).filter(|&role| element(problem, role) != Element::F32 && takes(problem, role))
}

/// Bytes of what one index of a tensor is, which it starts at a multiple of.
pub(crate) fn cell_bytes(problem: &Problem, role: Role) -> u64 {
    role.cell().numbers() * element(problem, role).size()
}

/// Elements from the first to the last of a tensor of the user, with what lies between.
pub(crate) fn extent(problem: &Problem, role: Role) -> u64 {
    match role {
        role if role.is_large() => problem.placement.extent(role),
        role if role.modulates() => problem.modulation.as_ref().map_or(0, Modulated::extent),
        role => count(shape(problem, role)),
    }
}

/// Bytes of a tensor of the user, with what lies between.
pub(crate) fn bytes(problem: &Problem, role: Role) -> u64 {
    extent(problem, role) * element(problem, role).size()
}

/// Whether a plan for `problem` can be given a tensor.
pub(crate) fn takes(problem: &Problem, role: Role) -> bool {
    !matches!(wanted(problem, role), Wanted::No(_))
}

/// Refuses tensors that are missing or have no place.
pub(crate) fn presence(problem: &Problem, given: impl Fn(Role) -> bool) -> Result<(), BindError> {
    let norm = problem.norm;
    for role in Role::given() {
        match (wanted(problem, role), given(role)) {
            (Wanted::Needed(why), false) => return Err(BindError::Missing { norm, tensor: role.name(), why }),
            (Wanted::No(why), true) => return Err(BindError::Unexpected { norm, tensor: role.name(), why }),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table, and arrays of tensors, are indexed by role.
    #[test]
    fn roles_are_numbered_as_they_stand() {
        assert!(Role::all().enumerate().all(|(place, role)| role as usize == place));
    }
}
