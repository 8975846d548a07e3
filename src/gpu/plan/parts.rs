//! The passes of one of several parts of a batch: up to where statistics or sums are left with the caller, and on from where
//! those of all parts are given.

use super::backward::SumsTo;
use super::{Pass, Planner, Schedule, Work, merge};
use crate::backward::Backward;
use crate::error::SpecError;
use crate::gpu::shader::{Keep, Kernel};
use crate::problem::Source;
use crate::tensors::Role;

impl Planner<'_> {
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
        schedule.passes.push(Pass { keep: Keep::Moments, ..merge });
        Ok(self.unless_without_groups(schedule))
    }

    pub(super) fn by_moments(&self, parts: u64) -> Result<Schedule, SpecError> {
        let mut schedule = Schedule::empty("the moments are given, x is read once");
        schedule.statistics = self.problem.block.groups();
        let in_place_of = &[(Role::Partials, Role::Moments)];
        schedule.passes.push(Pass { in_place_of, ..self.gather(Kernel::Merge, parts)? });
        if matches!(self.problem.source, Source::Tracked(_)) {
            schedule.passes.push(self.count_batch()?);
        }
        schedule.passes.extend(self.by_statistics()?.passes);
        Ok(self.unless_without_groups(schedule))
    }

    pub(super) fn by_statistics(&self) -> Result<Schedule, SpecError> {
        let mut schedule = Schedule::empty("the statistics are given, x is read once");
        if self.problem.block.elements() > 0 {
            schedule.passes = self.ending(self.traversal())?;
        }
        Ok(schedule)
    }

    pub(super) fn backward_sums(&self, wanted: Backward) -> Result<Schedule, SpecError> {
        if self.problem.block.elements() == 0 {
            let mut schedule = Schedule::empty("empty, sums and the gradients of weight and bias are 0");
            let groups = self.problem.block.groups() > 0;
            let sums = groups.then(|| self.gather(Kernel::MergeSums, 0)).transpose()?;
            schedule.passes.extend(sums.map(|pass| SumsTo::Caller.from(pass)));
            schedule.passes.extend(self.no_parameters(wanted)?);
            // Something must be bound.
            schedule.partial_sums = u64::from(!schedule.passes.is_empty());
            return Ok(schedule);
        }
        let mut schedule = Schedule::empty("x and dy are read once, and each group's sums are left");
        self.sums(&mut schedule, wanted.parameters(), Some(SumsTo::Caller))?;
        Ok(schedule)
    }

    pub(super) fn by_sums(&self, parts: u64) -> Result<Schedule, SpecError> {
        let mut schedule = Schedule::empty("statistics and sums are given, x and dy are read once");
        if self.problem.block.elements() > 0 {
            schedule.sums = self.problem.block.groups();
            let in_place_of = &[(Role::PartialSums, Role::Sums)];
            schedule.passes.push(Pass { in_place_of, ..self.gather(Kernel::MergeSums, parts)? });
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
        let make = Planner { mapping: self.mapping.without_weights(), ..*self };
        let pass = make.small(kernel, merge::team(parts.max(1), self.capabilities), work, groups)?;
        let keep = if kernel == Kernel::Merge { Keep::Statistics } else { Keep::Sums };
        Ok(Pass { keep, without: &[Role::Weight], ..pass })
    }

    fn unless_without_groups(&self, schedule: Schedule) -> Schedule {
        if self.problem.block.groups() == 0 { Schedule::empty("empty, nothing to do") } else { schedule }
    }
}
