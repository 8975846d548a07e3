//! The tensors of a norm, whatever engine runs it: their names, shapes and sizes, which of them a problem takes, and which may
//! overwrite which.

use crate::backward::Backward;
use crate::element::Element;
use crate::error::BindError;
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
    Moments,
    Sums,
    Partials,
    PartialSums,
    GroupSums,
}

impl Role {
    /// The tensors a user can give.
    pub(crate) const GIVEN: [Self; 19] = [
        Self::X,
        Self::Y,
        Self::Weight,
        Self::Bias,
        Self::Mean,
        Self::Rstd,
        Self::RunningMean,
        Self::RunningVar,
        Self::Batches,
        Self::Residual,
        Self::ResidualOut,
        Self::Stats,
        Self::GradOutput,
        Self::GradInput,
        Self::GradWeight,
        Self::GradBias,
        Self::GradResidual,
        Self::Moments,
        Self::Sums,
    ];

    /// The tensors that one that is written may be exactly: each element is read by the lane that then overwrites it.
    pub(crate) fn may_overwrite(self) -> &'static [Self] {
        match self {
            Self::Y | Self::ResidualOut => &[Self::X, Self::Residual],
            Self::GradInput => &[Self::GradOutput, Self::GradResidual],
            _ => &[],
        }
    }

    /// Whether it is as large as `x`, so that a pass binds its part of it alone.
    pub(crate) fn is_large(self) -> bool {
        use Role::{GradInput, GradOutput, GradResidual, Residual, ResidualOut, X, Y};
        matches!(self, X | Y | Residual | ResidualOut | GradOutput | GradInput | GradResidual)
    }

    /// As users and error messages name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X => "x",
            Self::Y => "y",
            Self::Weight => "weight",
            Self::Bias => "bias",
            Self::Mean => "mean",
            Self::Rstd => "rstd",
            Self::RunningMean => "running_mean",
            Self::RunningVar => "running_var",
            Self::Batches => "num_batches_tracked",
            Self::Residual => "residual",
            Self::ResidualOut => "residual_out",
            Self::Stats => "statistics",
            Self::GradOutput => "grad_output",
            Self::GradInput => "grad_input",
            Self::GradWeight => "grad_weight",
            Self::GradBias => "grad_bias",
            Self::GradResidual => "grad_residual",
            Self::Partials => "partials",
            Self::PartialSums => "partial_sums",
            Self::GroupSums => "group_sums",
            Self::Moments => "moments",
            Self::Sums => "sums",
        }
    }

    /// As shaders name it.
    pub(crate) fn shader_name(self) -> &'static str {
        match self {
            Self::Batches => "batches",
            Self::Stats => "stats",
            other => other.name(),
        }
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
        (_, Role::Moments | Role::Sums) => Wanted::No("only plans for one of several parts of a batch take it"),
        (Task::Forward | Task::FromMoments { .. }, _) => wanted_forward(problem, role),
        (Task::Backward(gradients) | Task::BackwardSums(gradients), _) => wanted_backward(problem, gradients, role),
        (Task::FromSums { wanted, .. }, _) => wanted_backward(problem, wanted, role),
    }
}

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
        (Role::Residual | Role::ResidualOut, _) if !problem.residual => {
            Wanted::No("only LayerNorm and RmsNorm add a residual")
        }
        (Role::GradOutput | Role::GradInput | Role::GradWeight | Role::GradBias | Role::GradResidual, _) => {
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
        Role::Weight if !problem.affine => Wanted::No("this norm has no weight and no bias"),
        Role::Weight => Wanted::Optional,
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
        Role::Moments | Role::Sums | Role::Partials | Role::PartialSums | Role::GroupSums => Wanted::Optional,
    }
}

/// Whether a tensor of the user is written, in any pass.
pub(crate) fn is_written(problem: &Problem, role: Role) -> bool {
    match role {
        Role::Y | Role::Mean | Role::Rstd | Role::ResidualOut => true,
        Role::GradInput | Role::GradWeight | Role::GradBias => true,
        Role::RunningMean | Role::RunningVar | Role::Batches => {
            matches!(problem.source, Source::Tracked(_)) && problem.gradients().is_none()
        }
        Role::Stats => problem.gradients().is_none(),
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
        Role::Mean | Role::Rstd | Role::RunningMean | Role::RunningVar => &problem.statistics_shape,
        Role::Stats => &problem.record_shape,
        Role::Moments => &problem.moments_shape,
        Role::Sums => &problem.sums_shape,
        _ => &[1],
    }
}

/// Bytes of what shaders index a tensor of the user by.
pub(crate) fn unit(role: Role) -> u64 {
    match role {
        Role::Stats | Role::Moments => RECORD,
        Role::Sums => PAIR,
        _ => Element::F32.size(),
    }
}

/// Bytes of a tensor of the user.
pub(crate) fn bytes(problem: &Problem, role: Role) -> u64 {
    count(shape(problem, role)) * Element::F32.size()
}

/// Refuses tensors that are missing or have no place.
pub(crate) fn presence(problem: &Problem, given: impl Fn(Role) -> bool) -> Result<(), BindError> {
    let norm = problem.norm;
    for role in Role::GIVEN {
        match (wanted(problem, role), given(role)) {
            (Wanted::Needed(why), false) => return Err(BindError::Missing { norm, tensor: role.name(), why }),
            (Wanted::No(why), true) => return Err(BindError::Unexpected { norm, tensor: role.name(), why }),
            _ => {}
        }
    }
    Ok(())
}

/// Bytes of a stored partial, and of a group's stored statistics.
pub(crate) const RECORD: u64 = 16;

/// Bytes of two stored sums.
pub(crate) const PAIR: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrays of tensors are indexed by role.
    #[test]
    fn given_roles_are_numbered_from_0() {
        assert!(Role::GIVEN.iter().enumerate().all(|(place, &role)| role as usize == place));
    }
}
