//! What a user can get wrong about tensors, checked on the host before wgpu sees any of it.

use super::operands::{Operands, View};
use crate::error::BindError;
use crate::problem::{Problem, Task};
use crate::tensors::{Role, bytes, is_written, presence};

/// Refuses operands of another kind of pass.
fn direction(problem: &Problem, operands: &Operands<'_>) -> Result<(), BindError> {
    let (plan, must) = match problem.task {
        Task::Forward | Task::FromMoments { .. } | Task::FromStatistics => ("a forward pass", FORWARD),
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
    let given = || Role::given().filter_map(|role| Some((role, operands.get(role)?)));
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
    let alignment = role.cell().bytes();
    if !offset.is_multiple_of(alignment) {
        return Err(BindError::Alignment { tensor, offset, alignment });
    }
    match offset.checked_add(needs) {
        Some(end) if end <= size => Ok(()),
        _ => Err(BindError::TooSmall { tensor, needs, offset, size }),
    }
}
