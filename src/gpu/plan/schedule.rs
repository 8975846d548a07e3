//! The passes of a plan, and what they leave to each other.

use super::{Capabilities, Pass, Planner, Tuning};
use crate::error::SpecError;
use crate::gpu::shader::Width;
use crate::mapping::Mapping;
use crate::problem::{Problem, Task};
use crate::tensors::Cell;

/// The passes of a plan, in order, at one vector width.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) passes: Vec<Pass>,
    /// Why these, in a few words.
    pub(crate) why: &'static str,
    /// Partials that the first pass leaves for the merge, 16 bytes each.
    pub(crate) partials: u64,
    /// Groups whose statistics the merge leaves for the last pass, 16 bytes each.
    pub(crate) statistics: u64,
    /// Partial sums of a backward pass, those along rows of columns beside them, and the sums of its groups, 8 bytes each.
    pub(crate) partial_sums: u64,
    pub(crate) row_sums: u64,
    pub(crate) sums: u64,
}

impl Schedule {
    pub(crate) fn new(
        problem: &Problem,
        capabilities: &Capabilities,
        tuning: Tuning,
        quads: bool,
    ) -> Result<Self, SpecError> {
        let width = if quads && problem.placement.is_aligned(4) { Width::Quad } else { Width::Scalar };
        let fewer = problem.placement.most_bytes(capabilities.max_binding);
        let fewer = fewer.map(|max_binding| Capabilities { max_binding, ..capabilities.clone() });
        let mapping = Mapping::of(problem.block, problem.index);
        let make = Planner { problem, mapping, capabilities: fewer.as_ref().unwrap_or(capabilities), tuning, width };
        capabilities.check_buffer(problem.norm, "x", problem.block.elements() * problem.storage.x.size())?;
        let schedule = match problem.task {
            Task::Forward => make.forward()?,
            Task::Moments => make.moments()?,
            Task::FromMoments { parts } => make.by_moments(parts)?,
            Task::FromStatistics => make.by_statistics()?,
            Task::Backward(wanted) => make.backward(wanted)?,
            Task::BackwardSums(wanted) => make.backward_sums(wanted)?,
            Task::FromSums { parts, .. } => make.by_sums(parts)?,
        };
        let Self { partials, statistics, partial_sums, row_sums, sums, .. } = schedule;
        capabilities.check_binding(problem.norm, "scratch for partial statistics", partials * Cell::Record.bytes())?;
        capabilities.check_binding(problem.norm, "scratch for statistics", statistics * Cell::Record.bytes())?;
        capabilities.check_binding(problem.norm, "scratch for partial sums", partial_sums * Cell::Pair.bytes())?;
        capabilities.check_binding(problem.norm, "scratch for sums of rows", row_sums * Cell::Pair.bytes())?;
        capabilities.check_binding(problem.norm, "scratch for sums", sums * Cell::Pair.bytes())?;
        Ok(schedule)
    }

    /// Nothing to do yet.
    pub(super) fn empty(why: &'static str) -> Self {
        Self { passes: Vec::new(), why, partials: 0, statistics: 0, partial_sums: 0, row_sums: 0, sums: 0 }
    }

    /// Whether it reads or writes any tensor four elements at a time.
    pub(crate) fn needs_quads(&self) -> bool {
        self.passes.iter().any(|pass| pass.width == Width::Quad)
    }
}
