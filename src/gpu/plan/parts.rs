//! The passes of one of several parts of a batch: up to where statistics or sums are left with the caller, and on from where
//! those of all parts are given.

use super::{Maker, Pass, Schedule, Work, merge};
use crate::backward::Backward;
use crate::error::SpecError;
use crate::gpu::shader::{Kernel, Known};
use crate::problem::Source;

impl Maker<'_> {
    pub(super) fn moments(&self) -> Result<Schedule, SpecError> {
        let mut schedule = Schedule::empty("x is read once, and each group's moments are left");
        let merge = if self.problem.block.elements() == 0 {
            // Something must be bound.
            schedule.partials = 1;
            self.gather(Kernel::Merge, 0)?
        } else {
            let (stats, merge) = self.statistics()?;
            schedule.partials = self.problem.block.groups() * merge.work.partials;
            schedule.passes.push(stats);
            merge
        };
        schedule.passes.push(Pass { known: Known::Kept, ..merge });
        Ok(self.unless_without_groups(schedule))
    }

    pub(super) fn by_moments(&self, parts: u64) -> Result<Schedule, SpecError> {
        let mut schedule = Schedule::empty("the moments are given, x is read once");
        let track = matches!(self.problem.source, Source::Tracked(_));
        schedule.statistics = self.problem.block.groups();
        schedule.passes.push(Pass { known: Known::Given, track, ..self.gather(Kernel::Merge, parts)? });
        if track {
            schedule.passes.push(self.count_batch()?);
        }
        if self.problem.block.elements() > 0 {
            schedule.passes.extend(self.ending(self.traversal())?);
        }
        Ok(self.unless_without_groups(schedule))
    }

    pub(super) fn backward_sums(&self, wanted: Backward) -> Result<Schedule, SpecError> {
        if self.problem.block.elements() == 0 {
            let mut schedule = Schedule::empty("empty, sums and the gradients of weight and bias are 0");
            let groups = self.problem.block.groups() > 0;
            let sums = groups.then(|| self.gather(Kernel::MergeSums, 0)).transpose()?;
            schedule.passes.extend(sums.map(|pass| Pass { known: Known::Kept, ..pass }));
            schedule.passes.extend(self.no_parameters(wanted)?);
            // Something must be bound.
            schedule.partial_sums = u64::from(!schedule.passes.is_empty());
            return Ok(schedule);
        }
        let mut schedule = Schedule::empty("x and dy are read once, and each group's sums are left");
        self.sums(&mut schedule, wanted.parameters(), Some(Known::Kept))?;
        Ok(schedule)
    }

    pub(super) fn by_sums(&self, parts: u64) -> Result<Schedule, SpecError> {
        let mut schedule = Schedule::empty("statistics and sums are given, x and dy are read once");
        if self.problem.block.elements() > 0 {
            schedule.sums = self.problem.block.groups();
            schedule.passes.push(Pass { known: Known::Given, ..self.gather(Kernel::MergeSums, parts)? });
            schedule.passes.push(self.backward_apply(false)?);
        }
        Ok(schedule)
    }

    /// Merges the groups of `parts` parts, which lie one part after the other.
    fn gather(&self, kernel: Kernel, parts: u64) -> Result<Pass, SpecError> {
        let groups = self.problem.block.groups();
        let work = Work {
            partials: parts,
            inner_count: 1,
            outer_stride: groups,
            b_stride: self.mapping.block.k,
            k_stride: 1,
            ..Work::default()
        };
        let make = Maker { mapping: self.mapping.without_weights(), ..*self };
        make.small(kernel, merge::team(parts.max(1), self.capabilities), work, groups)
    }

    fn unless_without_groups(&self, schedule: Schedule) -> Schedule {
        if self.problem.block.groups() == 0 { Schedule::empty("empty, nothing to do") } else { schedule }
    }
}
