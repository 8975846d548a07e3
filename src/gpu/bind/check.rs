//! What a user can get wrong about tensors, checked on the host before wgpu sees any of it.

use super::operands::{Operands, View};
use crate::backward::Backward;
use crate::element::Element;
use crate::error::BindError;
use crate::gpu::plan::{PAIR, RECORD};
use crate::gpu::shader::Role;
use crate::problem::{Centering, Problem, Source, Task, count};

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
pub(super) fn is_written(problem: &Problem, role: Role) -> bool {
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
pub(super) fn unit(role: Role) -> u64 {
    match role {
        Role::Stats | Role::Moments => RECORD,
        Role::Sums => PAIR,
        _ => Element::F32.size(),
    }
}

/// Bytes of a tensor of the user.
pub(super) fn bytes(problem: &Problem, role: Role) -> u64 {
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

/// Refuses operands of another kind of pass.
fn direction(problem: &Problem, operands: &Operands<'_>) -> Result<(), BindError> {
    let (plan, must) = match problem.task {
        Task::Forward | Task::FromMoments { .. } => ("a forward pass", FORWARD),
        Task::Backward(_) | Task::BackwardSums(_) | Task::FromSums { .. } => ("a backward pass", BACKWARD),
        Task::Moments => ("moments", OF_X),
    };
    let start = match (operands.get(Role::Y), operands.get(Role::GradOutput)) {
        (Some(_), _) => FORWARD,
        (None, Some(_)) => BACKWARD,
        (None, None) => OF_X,
    };
    if start == must { Ok(()) } else { Err(BindError::Direction { norm: problem.norm, plan, must, start }) }
}

/// What operands start from.
const FORWARD: &str = "Operands::new or Operands::in_place";
const BACKWARD: &str = "Operands::backward";
const OF_X: &str = "Operands::of";

/// Refuses operands that do not fit the problem.
pub(super) fn operands(problem: &Problem, operands: &Operands<'_>) -> Result<(), BindError> {
    direction(problem, operands)?;
    presence(problem, |role| operands.get(role).is_some())?;
    let given = || Role::GIVEN.into_iter().filter_map(|role| Some((role, operands.get(role)?)));
    for (role, view) in given() {
        fits(role, view, bytes(problem, role))?;
    }
    for (role, view) in given().filter(|&(role, _)| is_written(problem, role)) {
        for (other, other_view) in given().filter(|&(other, _)| other != role) {
            let may_coincide = role.may_overwrite().contains(&other);
            if may_coincide && operands.coincide(role, other) {
                continue;
            }
            let (start, other_start) = (view.offset, other_view.offset);
            let apart = view.buffer != other_view.buffer
                || start + bytes(problem, role) <= other_start
                || other_start + bytes(problem, other) <= start;
            if !apart {
                return Err(BindError::Overlap { written: role.name(), other: other.name(), may_coincide });
            }
        }
    }
    Ok(())
}

fn fits(role: Role, view: View<'_>, needs: u64) -> Result<(), BindError> {
    let (tensor, offset, size) = (role.name(), view.offset, view.buffer.size());
    let usage = view.buffer.usage();
    if !usage.contains(wgpu::BufferUsages::STORAGE) {
        return Err(BindError::Usage { tensor, usage });
    }
    let alignment = unit(role);
    if !offset.is_multiple_of(alignment) {
        return Err(BindError::Alignment { tensor, offset, alignment });
    }
    match offset.checked_add(needs) {
        Some(end) if end <= size => Ok(()),
        _ => Err(BindError::TooSmall { tensor, needs, offset, size }),
    }
}
