//! What a user can get wrong about tensors, checked on the host before wgpu sees any of it.

use std::ops::Range;

use super::operands::{Operands, View};
use crate::element::Element;
use crate::error::BindError;
use crate::gpu::plan::Schedule;
use crate::gpu::shader::Kernel;
use crate::problem::{Problem, Task};
use crate::tensors::{Role, bytes, cell_bytes, element, is_written, owned_by_words, presence};

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
        fits(role, view, bytes(problem, role), cell_bytes(problem, role))?;
    }
    for (role, view) in given().filter(|&(role, _)| is_written(problem, role)) {
        for (other, other_view) in given().filter(|&(other, _)| other != role) {
            let alike = element(problem, role) == element(problem, other)
                && problem.placement.steps(role) == problem.placement.steps(other);
            let may_coincide = role.may_overwrite().contains(&other) && alike;
            if may_coincide && operands.coincide(role, other) {
                continue;
            }
            let (own, others) = (words(view, bytes(problem, role)), words(other_view, bytes(problem, other)));
            let apart = view.buffer != other_view.buffer || own.end <= others.start || others.end <= own.start;
            let offsets = [view.offset, other_view.offset];
            let large = role.is_large() && other.is_large();
            let between = large && alike && lie_between(problem, role, offsets)
                || rows_lie_between(problem, [role, other], offsets);
            if !(apart || between) {
                return Err(BindError::Overlap { written: role.name(), other: other.name(), may_coincide });
            }
        }
    }
    Ok(())
}

/// Whether two tensors of equal strides, that start at these bytes, each lie where the other leaves gaps, and share no word.
fn lie_between(problem: &Problem, role: Role, offsets: [u64; 2]) -> bool {
    let (placement, size) = (&problem.placement, cell_bytes(problem, role));
    let [outer, inner] = placement.steps(role).map(|step| step * size);
    let piece = placement.piece * size;
    let run = (placement.pieces - 1) * inner + piece;
    apart(offsets, outer, run) || (inner > 0 && outer % inner == 0 && apart(offsets, inner, piece))
}

/// The same of what a modulation has and its gradients, whose rows may be chunks of one projection.
fn rows_lie_between(problem: &Problem, roles: [Role; 2], offsets: [u64; 2]) -> bool {
    let sizes = roles.map(|role| cell_bytes(problem, role));
    let rows = problem.modulation.as_ref().filter(|_| roles.into_iter().all(Role::modulates) && sizes[0] == sizes[1]);
    rows.is_some_and(|rows| rows.has_gaps() && apart(offsets, rows.pitch * sizes[0], rows.line * sizes[0]))
}

/// Whether runs of `length` bytes, of which each period has one, share no word with those that begin at the other offset.
fn apart(offsets: [u64; 2], period: u64, length: u64) -> bool {
    let after = offsets[0].abs_diff(offsets[1]) % period.max(1);
    let words = [offsets[0], offsets[1], period, length].iter().all(|bytes| bytes % 4 == 0);
    let length = if words { length } else { length + 2 };
    after >= length && after + length <= period
}

/// The bytes of all words that a tensor of `length` bytes is in.
fn words(view: View<'_>, length: u64) -> Range<u64> {
    let start = view.offset - view.offset % 4;
    let end = view.offset.saturating_add(length).checked_next_multiple_of(4).unwrap_or(u64::MAX);
    if length == 0 { start..start } else { start..end }
}

/// Refuses results of 16 bits that divide their words otherwise: one lane writes a word of each.
pub(super) fn halves(problem: &Problem, operands: &Operands<'_>, schedule: &Schedule) -> Result<(), BindError> {
    let (first, others) = match problem.gradients() {
        None => (Role::Y, &[Role::ResidualOut][..]),
        Some(_) => (Role::GradInput, &[Role::GradSkip, Role::GradBranch][..]),
    };
    // As the plan has seen to where it starts at an even element.
    let odd = |role: Role| operands.get(role).is_some_and(|view| view.offset % 4 != 0);
    if let Some(owned) = owned_by_words(problem)
        && in_pairs(schedule)
        && odd(owned)
        && problem.placement.shares_words(owned, false)
    {
        let must = "such that runs of 16-bit elements do not touch, as it starts at an odd element";
        return Err(BindError::Strides(problem.placement.refused(problem.norm, owned, &problem.shape, must)));
    }
    others.iter().try_for_each(|&other| alike(problem, operands, schedule, [first, other]))
}

/// Whether a pass writes words of two elements, and not four elements at a time.
fn in_pairs(schedule: &Schedule) -> bool {
    schedule
        .passes
        .iter()
        .any(|pass| pass.turns.by_words || matches!(pass.kernel, Kernel::ApplyPairs | Kernel::BackwardApplyPairs))
}

fn alike(
    problem: &Problem,
    operands: &Operands<'_>,
    schedule: &Schedule,
    [first, other]: [Role; 2],
) -> Result<(), BindError> {
    let (Some(of_first), Some(of_other)) = (operands.get(first), operands.get(other)) else { return Ok(()) };
    let both = [first, other].iter().all(|&role| element(problem, role) != Element::F32);
    let [steps, others] = [first, other].map(|role| problem.placement.steps(role));
    if both && steps != others && in_pairs(schedule) {
        let must = "those of the other result, as both are of 16 bits and not written four elements at a time";
        return Err(BindError::Strides(problem.placement.refused(problem.norm, other, &problem.shape, must)));
    }
    if both && of_first.offset % 4 != of_other.offset % 4 {
        return Err(BindError::Halves {
            tensor: other.name(),
            offset: of_other.offset,
            other: first.name(),
            other_offset: of_first.offset,
        });
    }
    Ok(())
}

fn fits(role: Role, view: View<'_>, length: u64, alignment: u64) -> Result<(), BindError> {
    let (tensor, offset, size) = (role.name(), view.offset, view.buffer.size());
    let usage = view.buffer.usage();
    if !usage.contains(wgpu::BufferUsages::STORAGE) {
        return Err(BindError::Usage { tensor, usage });
    }
    if !offset.is_multiple_of(alignment) {
        return Err(BindError::Alignment { tensor, offset, alignment });
    }
    let end = words(view, length).end;
    if end <= size {
        Ok(())
    } else {
        Err(BindError::TooSmall { tensor, needs: length.max(end - offset), offset, size })
    }
}
