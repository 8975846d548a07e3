//! The passes of a forward pass: fused where a group fits the lanes of a workgroup, or in stages.

use super::{Pass, Planner, Schedule, Team, Traversal, Tuning, Work, columns, merge, rows, window};
use crate::block::Block;
use crate::element::Element;
use crate::error::SpecError;
use crate::gpu::shader::{Kernel, Modulating, Statistics};
use crate::problem::Source;
use crate::tensors::Role;

/// What the last pass of a plan in stages binds: `x`, `y`, `weight`, `bias` and statistics, running ones as two tensors.
const BUFFERS_OF_APPLY: u32 = 5;
const BUFFERS_OF_EVAL: u32 = 6;

impl Planner<'_> {
    pub(super) fn forward(&self) -> Result<Schedule, SpecError> {
        let Self { problem, capabilities, .. } = *self;
        let block = &problem.block;
        if block.elements() == 0 {
            return Ok(Schedule::empty("empty, nothing to do"));
        }
        let traversal = self.traversal();
        let mut schedule = Schedule::empty(self.why(traversal));
        match problem.source {
            Source::Running if capabilities.max_storage_buffers >= BUFFERS_OF_EVAL => {
                schedule.passes.push(self.apply(traversal, Statistics::Running)?);
            }
            Source::Running => {
                schedule.statistics = block.groups();
                schedule.passes.push(self.running_statistics()?);
                schedule.passes.extend(self.ending(traversal)?);
            }
            Source::Batch if self.fuses_rows() => schedule.passes.push(self.fused(Kernel::FusedRows)?),
            Source::Batch if self.fuses_columns() => schedule.passes.push(self.columns(Kernel::FusedColumns)?),
            Source::Batch if self.caches_columns() => {
                let pass = self.columns(Kernel::FusedTallColumns)?;
                schedule.passes.push(Pass { statistics: Statistics::Computed, ..pass });
            }
            Source::Batch | Source::Tracked(_) => {
                let (stats, merge) = self.statistics()?;
                schedule.partials = block.groups() * merge.work.partials;
                schedule.statistics = block.groups();
                schedule.passes.extend([stats, merge]);
                if matches!(problem.source, Source::Tracked(_)) {
                    // After every lane of the merge has read the count.
                    schedule.passes.push(self.count_batch()?);
                }
                schedule.passes.extend(self.ending(traversal)?);
            }
        }
        Ok(schedule)
    }

    pub(super) fn why(&self, traversal: Traversal) -> &'static str {
        match (self.problem.source, traversal) {
            (Source::Running, _) => "the statistics are given, x is read once",
            (Source::Batch, _) if self.fuses_rows() && self.capabilities.software => {
                "groups are contiguous and stay in a cache, x is read once from memory"
            }
            (Source::Batch, _) if self.fuses_rows() => {
                "groups are contiguous and fit a workgroup, x is read once from memory"
            }
            (Source::Batch, _) if self.fuses_columns() => "groups are columns that fit registers, x is read once",
            (Source::Batch, _) if self.caches_columns() => {
                "groups are columns and stay in a cache, x is read once from memory"
            }
            (Source::Batch, Traversal::Rows)
                if self.problem.block.r == 1 && self.takes_pairs(Traversal::Rows, self.width_of_rows()) =>
            {
                "strides cut rows: words of two 16-bit elements are written one by one, x is read twice"
            }
            (Source::Batch, Traversal::Rows) if self.problem.block.r == 1 => {
                "groups are too large for a workgroup: their parts are merged, x is read twice"
            }
            (_, Traversal::Rows) => "groups are long runs: each leaves statistics to merge, x is read twice",
            (_, Traversal::Columns) => "groups are short runs in many rows: read by columns, merged, x is read twice",
        }
    }

    /// Whether a group lies in one piece and is held by the lanes of a workgroup.
    pub(super) fn fuses_rows(&self) -> bool {
        let Block { r, s, .. } = self.problem.block;
        r == 1
            && !self.takes_pairs(Traversal::Rows, self.width_of_rows())
            && s <= rows::longest_fused(self.problem.block.groups(), self.capabilities, self.tuning)
    }

    /// Whether a group is a column that one lane holds.
    fn fuses_columns(&self) -> bool {
        let held = self.problem.block.r <= columns::LONGEST_FUSED;
        held && self.are_columns(&self.whole_columns(&self.problem.block))
    }

    /// Whether a group is a column that a lane of a software adapter reads again from its cache: by the number of columns, so not where a group's
    /// bits may depend on nothing else.
    pub(super) fn caches_columns(&self) -> bool {
        let tiling = self.cached_columns();
        let serves = self.capabilities.software && self.tuning != Tuning::BatchInvariant && tiling.is_cached();
        serves && self.are_columns(&tiling)
    }

    /// Whether groups are columns, which lanes can take whole.
    fn are_columns(&self, tiling: &columns::Tiling) -> bool {
        let Block { r, k, s, .. } = self.problem.block;
        s == 1 && r * k <= window::most_elements(self.capabilities) && !self.splits_words(tiling.width)
    }

    /// The last pass by merged statistics, in two where the device has too few bindings for all tensors at once.
    pub(super) fn ending(&self, traversal: Traversal) -> Result<Vec<Pass>, SpecError> {
        // A bias that is added later would be added to what is rounded, and a skip may be what the first of two passes overwrites.
        let once = self.problem.storage.y != Element::F32 || self.problem.skip;
        if !self.problem.affine || once || self.capabilities.max_storage_buffers >= BUFFERS_OF_APPLY {
            return Ok(vec![self.apply(traversal, Statistics::Stored)?]);
        }
        let scale = Pass {
            without: &[Role::Bias],
            follows: false,
            modulation: Modulating::None,
            ..self.apply(traversal, Statistics::Stored)?
        };
        // In place: y takes the bias.
        let without = &[Role::Weight, Role::Residual, Role::ResidualOut];
        let bias = Pass { without, in_place_of: &[(Role::X, Role::Y)], ..self.apply(traversal, Statistics::None)? };
        Ok(vec![scale, bias])
    }

    pub(super) fn apply(&self, traversal: Traversal, statistics: Statistics) -> Result<Pass, SpecError> {
        let pass = match traversal {
            Traversal::Rows => self.rows(Kernel::ApplyRows)?,
            Traversal::Columns => self.columns(Kernel::ApplyColumns)?,
        };
        if self.takes_pairs(traversal, pass.width) {
            return self.pairs(Kernel::ApplyPairs, statistics);
        }
        Ok(Pass { statistics, affine: self.affine_of_rows(), team: pass.team.silent(), ..pass })
    }

    /// Partial statistics, and their merge.
    pub(super) fn statistics(&self) -> Result<(Pass, Pass), SpecError> {
        let stats = match self.traversal() {
            Traversal::Rows => self.rows(Kernel::StatsRows)?,
            Traversal::Columns => self.columns(Kernel::StatsColumns)?,
        };
        let merge = self.merge(&stats)?;
        Ok((stats, merge))
    }

    pub(super) fn merge(&self, stats: &Pass) -> Result<Pass, SpecError> {
        let work = stats.by_group();
        let team = merge::team(work.partials, self.capabilities);
        self.small(Kernel::Merge, team, work, self.problem.block.groups())
    }

    pub(super) fn count_batch(&self) -> Result<Pass, SpecError> {
        self.small(Kernel::CountBatch, Team::apart(1), Work::default(), 1)
    }

    /// Running statistics as those of a merge.
    pub(super) fn running_statistics(&self) -> Result<Pass, SpecError> {
        let team = Team::apart(self.capabilities.workgroup_size(64, 1));
        let channels = self.problem.block.groups();
        let pass = self.small(Kernel::RunningStatistics, team, Work::default(), channels)?;
        Ok(Pass { statistics: Statistics::Running, ..pass })
    }
}
