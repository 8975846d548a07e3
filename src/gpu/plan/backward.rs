//! The passes of a backward pass: sums over groups, from which the gradient of `x` follows element by element, and sums
//! over all elements that share a weight, which are the gradients of weight and bias.
//!
//! Where elements of one group that share a weight make runs, sums over those runs serve both: weighted and added up by
//! group, or as they are by weight.

use super::{By, Pass, Planner, Schedule, Summed, Team, Traversal, Window, Work, columns, merge, rows, window};
use crate::backward::Backward;
use crate::block::{AffineIndex, Block};
use crate::error::SpecError;
use crate::gpu::shader::{Affine, Hold, Keep, Kernel, Modulating, Reduction, Statistics};
use crate::mapping::{GroupIndex, Mapping};
use crate::modulation::{Modulated, by_modulation};
use crate::problem::{Problem, Source};
use crate::strides::Span;
use crate::tensors::{Cell, Role};

/// Runs of elements that share a weight, in groups that lie in one piece, that are too short to leave a sum each.
const SHORT_RUN: u64 = 16;

/// Groups whose statistics are kept in scratch at a time, where nothing but their number makes it large.
const SLAB: u64 = 1 << 18;

/// Lanes that keep a GPU busy, one row after the other, by workgroups of 256, or as many of larger ones. With half of them, an H100 takes 4.6
/// copies for 4096x768 in place of 3.4, 2.8 for 8192x1024 in place of 2.1; with twice as many, 2.7 for 2048x4096 in place of 2.2.
const TEAM_LANES: u64 = 1 << 16;

/// Least neighbouring columns of a lane that leaves a sum along each row; lanes of a GPU that leave one together, which takes as many bindings.
const LEAST_ALONG: u64 = 16;
const LANES_ALONG: u32 = 4;
const BUFFERS_ALONG: u32 = 7;

/// What sums that go by `dx` do without, with a branch and without one.
const BY_DX: [Role; 5] = [Role::Weight, Role::Bias, Role::Stats, Role::Skip, Role::GradSkip];
const BY_DX_ALONE: [Role; 6] = [Role::X, Role::Weight, Role::Bias, Role::Stats, Role::Skip, Role::GradSkip];

/// What one partial sum of the gradients of weight and bias covers.
#[derive(Clone, Copy, PartialEq)]
enum SumsBy {
    /// Each run of elements that share a weight, of one group or each of another.
    Runs,
    /// Each element of a row, over the rows of a tile by columns.
    Elements,
}

/// Where the sums of groups go.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum SumsTo {
    /// Where a later pass of the plan reads them.
    Scratch,
    /// With the caller.
    Caller,
}

impl SumsTo {
    /// `merge`, which leaves its sums there.
    pub(super) fn from(self, merge: Pass) -> Pass {
        match self {
            Self::Scratch => merge,
            Self::Caller => Pass { in_place_of: &[(Role::GroupSums, Role::Sums)], ..merge },
        }
    }
}

/// Where a pass that could compute them takes statistics from.
fn statistics_of(wanted: Backward) -> Statistics {
    if wanted.saved { Statistics::Stored } else { Statistics::Computed }
}

impl Planner<'_> {
    pub(super) fn backward(&self, wanted: Backward) -> Result<Schedule, SpecError> {
        let mut schedule = self.gradients(wanted)?;
        if wanted.goes_before() {
            self.before_norm(&mut schedule, wanted.gate)?;
        }
        Ok(schedule)
    }

    /// Adds the passes for gate and embedding, which go by the gradient of what was normalized: the sums of it, and of it times the branch.
    fn before_norm(&self, schedule: &mut Schedule, gate: bool) -> Result<(), SpecError> {
        let modulated = self.problem.modulation.as_ref().filter(|modulated| modulated.numbers() > 0);
        let Some((modulated, mapping)) = modulated.and_then(|modulated| Some((modulated, modulated.by_number()?)))
        else {
            return Ok(());
        };
        let by_number = Planner { mapping, ..*self };
        let empty = mapping.block.elements() == 0;
        let work = if empty {
            Work { inner_count: 1, ..Work::default() }
        } else {
            let sums = Pass {
                summed: Summed::Branch,
                affine: Affine::Constant,
                modulation: Modulating::None,
                follows: false,
                without: if gate { &BY_DX } else { &BY_DX_ALONE },
                in_place_of: &[(Role::X, Role::Branch), (Role::GradOutput, Role::GradInput)],
                ..by_number.sums_by_number()?
            };
            schedule.partial_sums = schedule.partial_sums.max(sums.sums());
            let work = sums.by_line(1);
            schedule.passes.push(sums);
            work
        };
        schedule.partial_sums = schedule.partial_sums.max(1);
        let in_place_of = &[(Role::GradWeight, Role::GradGate), (Role::GradBias, Role::GradEmbedding)];
        let merge = by_number.merge_to_parameters(mapping.block, work, modulated.numbers())?;
        schedule.passes.push(Pass { summed: Summed::Branch, in_place_of, ..merge });
        Ok(())
    }

    fn gradients(&self, wanted: Backward) -> Result<Schedule, SpecError> {
        let parameters = wanted.parameters();
        if self.problem.block.elements() == 0 {
            let mut schedule = Schedule::empty("empty, the gradients of weight and bias are 0");
            schedule.passes.extend(self.no_parameters(wanted)?);
            // Something must be bound.
            schedule.partial_sums = u64::from(!schedule.passes.is_empty());
            return Ok(schedule);
        }
        let running = self.problem.source == Source::Running;
        let rows = !running && self.fuses_rows();
        // The gradient of a skip is left by the last of several passes.
        let fused = wanted.input && rows && !self.problem.passes_skip();
        let modulated = self.by_modulation();
        if let Some(schedule) =
            self.fused_parameters(wanted).filter(|_| fused && parameters && modulated.is_none()).transpose()?
        {
            return Ok(schedule);
        }
        // A slab is one dispatch of each pass.
        let many = self.problem.block.groups() > SLAB
            && self.by_weight().sums_by() == SumsBy::Elements
            && !self.splits_words(self.width_of_rows());
        if let Some(schedule) = self.whole_columns_back(wanted)? {
            return Ok(schedule);
        }
        if rows && !wanted.saved && parameters && many && modulated.is_none() && !self.problem.passes_skip() {
            return self.by_slabs(wanted);
        }
        let group_sums = wanted.input && !running && !fused;
        let ahead = group_sums || (fused && self.chunks_need_statistics()?);
        let first = !running
            && !wanted.saved
            && (ahead || ((parameters || modulated.is_some()) && (!wanted.input || wanted.overwrites)));
        let mut schedule = Schedule::empty(self.why_backward(wanted, fused && !ahead, first));
        if running {
            schedule.passes.push(self.running_statistics()?);
        } else if first {
            let (stats, merge) = self.statistics()?;
            schedule.partials = self.problem.block.groups() * merge.work.partials;
            schedule.passes.extend([stats, merge]);
        }
        if !wanted.saved && (running || first || (fused && (parameters || modulated.is_some()))) {
            schedule.statistics = self.problem.block.groups();
        }
        let known = wanted.saved || first;
        if fused && !known {
            schedule.passes.push(self.fused_rows(Statistics::Computed)?);
        }
        self.sums(&mut schedule, parameters, group_sums.then_some(SumsTo::Scratch))?;
        if fused && known {
            // Where it overwrites dy, as where it does not, to the same bits.
            let saved = Backward { saved: wanted.saved || ahead, ..wanted };
            schedule.passes.push(self.fused_rows(statistics_of(saved))?);
        } else if wanted.input && !fused {
            schedule.passes.push(self.backward_apply(running)?);
        }
        Ok(schedule)
    }

    /// All gradients of rows in one dispatch, where a lane of a GPU has registers left for the sums of its elements.
    fn fused_parameters(&self, wanted: Backward) -> Option<Result<Schedule, SpecError>> {
        let rows = self.mapping.has_same_parameters() && self.affine_of_rows() == Affine::Element;
        if self.capabilities.software || !rows {
            return None;
        }
        let pass = match self.fused(Kernel::BackwardFusedParameters) {
            Ok(pass) => pass,
            Err(error) => return Some(Err(error)),
        };
        let Hold::Registers(items) = pass.hold else { return None };
        // Half of what a lane could hold: there are the sums besides.
        let most = rows::most_quads(pass.width, self.capabilities) / 2;
        if u64::from(items * pass.width.elements()) > 4 * most || pass.windows.len() > 1 {
            return None;
        }
        Some(self.in_rounds(pass, wanted))
    }

    /// Groups that are columns: sums and the gradient of `x` in one dispatch, where sums along rows are those of weight and bias.
    fn whole_columns_back(&self, wanted: Backward) -> Result<Option<Schedule>, SpecError> {
        let kernel = Kernel::BackwardFusedTallColumns;
        let followed = self.problem.modulation.is_some() || self.problem.skip;
        // Where lanes take fewer at once, as with a curved activation, several passes are as fast.
        let few = self.most_together(kernel) < columns::CACHED_QUADS;
        let running = self.problem.source == Source::Running;
        if !wanted.input || running || followed || few || !self.caches_columns() {
            return Ok(None);
        }
        let pass = Pass { statistics: statistics_of(wanted), ..self.columns(kernel)? };
        if wanted.parameters() && !self.leaves_sums_along(&pass) {
            return Ok(None);
        }
        let mut schedule =
            Schedule::empty("groups are columns and stay in a cache, x and dy are read once from memory for dx");
        if wanted.parameters() {
            schedule.row_sums = pass.sums_along();
            let in_place_of = &[(Role::PartialSums, Role::RowSums)];
            let merge = self.by_weight().merge_parameters(pass.by_row())?;
            schedule.passes.extend([pass, Pass { in_place_of, ..merge }]);
        } else {
            schedule.passes.push(pass);
        }
        Ok(Some(schedule))
    }

    fn fused_rows(&self, statistics: Statistics) -> Result<Pass, SpecError> {
        Ok(Pass { statistics, ..self.fused(Kernel::BackwardFusedRows)? })
    }

    /// Whether rows that are held in chunks have an activation after them, whose gradient takes statistics that are known.
    fn chunks_need_statistics(&self) -> Result<bool, SpecError> {
        let chunks = matches!(self.fused(Kernel::BackwardFusedRows)?.hold, Hold::Chunks(_));
        Ok(chunks && self.problem.activation.is_some())
    }

    fn in_rounds(&self, pass: Pass, wanted: Backward) -> Result<Schedule, SpecError> {
        let rows = self.problem.block.groups();
        let of_workgroup = u64::from(pass.team.workgroup_size / pass.team.lanes);
        let workgroups = (TEAM_LANES / u64::from(pass.team.workgroup_size.min(256))).min(rows.div_ceil(of_workgroup));
        let teams = (workgroups * of_workgroup).min(rows);
        let work = Work { rounds: rows.div_ceil(teams), teams, ..pass.work };
        let grid = self.grid(workgroups)?;
        let windows = pass.windows.iter().map(|window| Window { grid, ..*window }).collect();
        let mut schedule =
            Schedule::empty("groups are rows that fit registers, x and dy are read once for all gradients");
        let weights = self.by_weight();
        let width = weights.mapping.block.k;
        schedule.partial_sums = teams * width;
        schedule.passes.push(Pass { statistics: statistics_of(wanted), work, windows, ..pass });
        let work = Work { partials: teams, inner_count: 1, outer_stride: width, k_stride: 1, ..Work::default() };
        schedule.passes.push(weights.merge_parameters(work)?);
        Ok(schedule)
    }

    /// Many short groups: some rows at a time leave their statistics, and the sums over these rows follow at once, so that
    /// scratch does not grow with the rows.
    fn by_slabs(&self, wanted: Backward) -> Result<Schedule, SpecError> {
        let weights = self.by_weight();
        let groups_of_row = weights.mapping.groups.b_step;
        // Each tile has the statistics of its rows in scratch at a time, and leaves a sum for each element of a row: where
        // even few rows are many groups, as much of one as of the other.
        let Block { b, r, s, .. } = weights.mapping.block;
        let sums = weights.sums_of_rows((SLAB / groups_of_row).max((b * r * s / 2).isqrt()).max(1))?;
        // The gradient of x first, which leaves the statistics; or last, where it overwrites what the sums read.
        let known = self.chunks_need_statistics()?;
        let ahead = wanted.input && !wanted.overwrites && !known;
        let mut schedule = Schedule::empty(self.why_backward(wanted, wanted.input, !ahead));
        let fused = self.fused_rows(statistics_of(Backward { saved: known, ..wanted }))?;
        let (stats, merge) = self.statistics()?;
        let Block { r: rows, k, s, .. } = sums.mapping.block;
        let (line, across) = (k * s, sums.work.column_blocks);
        let rows_of_tile = sums.work.row_lanes * sums.work.tile_length;
        let most = (SLAB / groups_of_row).min(window::most_elements(self.capabilities) / line);
        let step = (most / rows_of_tile).max(1) * rows_of_tile;
        let (groups_of_step, parts) = (step.min(rows) * groups_of_row, stats.work.tiles_per_run);
        schedule.statistics = groups_of_step;
        schedule.partials = if ahead { 0 } else { groups_of_step * parts };
        schedule.partial_sums = sums.sums();
        for row in (0..rows).step_by(step as usize) {
            let count = step.min(rows - row);
            let elements = Span { first: row * line, length: count * line };
            let (first, groups) = (row * groups_of_row, count * groups_of_row);
            let window = |first: u64, count: u64, of_workgroup: u64, first_record: u64| {
                let grid = self.grid(count.div_ceil(of_workgroup))?;
                Ok(vec![Window { grid, first, count, elements, parameters: None, first_record }])
            };
            let of_team = |team: &Team| u64::from(team.workgroup_size / team.lanes);
            let windows = window(first, groups, of_team(&fused.team), first)?;
            let fused = Pass { windows, ..fused.clone() };
            if ahead {
                schedule.passes.push(fused.clone());
            } else {
                let first = first * parts;
                let windows = window(first, groups * parts, of_team(&stats.team), first)?;
                schedule.passes.push(Pass { windows, ..stats.clone() });
                let windows = window(0, groups, of_team(&merge.team), 0)?;
                schedule.passes.push(Pass { windows, ..merge.clone() });
            }
            let windows = window(row / rows_of_tile * across, count.div_ceil(rows_of_tile) * across, 1, first)?;
            schedule.passes.push(Pass { windows, ..sums.clone() });
            if wanted.input && !ahead {
                schedule.passes.push(fused);
            }
        }
        schedule.passes.push(weights.merge_parameters(sums.by_parameter())?);
        Ok(schedule)
    }

    /// Adds the passes that sum up: for weight and bias, for groups, where those sums go as `for_groups` says, and for scale and shift.
    pub(super) fn sums(
        &self,
        schedule: &mut Schedule,
        parameters: bool,
        for_groups: Option<SumsTo>,
    ) -> Result<(), SpecError> {
        let weights = self.by_weight();
        let by = weights.sums_by();
        // Then the sums of runs are there for the groups too.
        let from_runs = by == SumsBy::Runs && self.mapping.index.r_mul == 0;
        if for_groups == Some(SumsTo::Scratch) {
            schedule.sums = self.problem.block.groups();
        }
        if let Some(to) = for_groups.filter(|_| parameters)
            && let Some(sums) = self.sums_along().transpose()?
        {
            schedule.partial_sums = sums.sums();
            schedule.row_sums = sums.sums_along();
            let in_place_of = &[(Role::PartialSums, Role::RowSums)];
            let merge = self.merge_sums(sums.by_group())?;
            let parameters = Pass { in_place_of, ..weights.merge_parameters(sums.by_row())? };
            schedule.passes.extend([sums, parameters, to.from(merge)]);
            return Ok(());
        }
        if parameters || (for_groups.is_some() && from_runs) {
            let sums = weights.weight_sums(by)?;
            schedule.partial_sums = sums.sums();
            let (by_parameter, by_group) = (sums.by_parameter(), from_runs.then(|| sums.by_group()));
            schedule.passes.push(sums);
            if parameters {
                schedule.passes.push(weights.merge_parameters(by_parameter)?);
            }
            if let (Some(to), Some(by_group)) = (for_groups, by_group) {
                schedule.passes.push(to.from(weights.merge_weighted(by_group)?));
            }
        }
        if let Some(to) = for_groups.filter(|_| !from_runs) {
            let pass = match self.traversal() {
                Traversal::Rows => self.rows(Kernel::SumsRows)?,
                Traversal::Columns => self.columns(Kernel::SumsColumns)?,
            };
            let sums = Pass { affine: self.affine_of_rows(), ..pass };
            schedule.partial_sums = schedule.partial_sums.max(sums.sums());
            let merge = self.merge_sums(sums.by_group())?;
            schedule.passes.extend([sums, to.from(merge)]);
        }
        if let Some(modulated) = self.by_modulation() {
            let sums = modulated.modulation_sums()?;
            schedule.partial_sums = schedule.partial_sums.max(sums.sums());
            let merge = modulated.merge_modulation(sums.by_line(modulated.share_a_number()))?;
            schedule.passes.extend([sums, merge]);
        }
        Ok(())
    }

    /// Sums of groups by columns that are those of weight and bias as well, where rows have the weights: one for each part of a row that a lane
    /// works on, or a few lanes of a subgroup together, so that these are few.
    fn sums_along(&self) -> Option<Result<Pass, SpecError>> {
        // Scale, shift and skip take the bindings.
        let followed = self.problem.modulation.is_some() || self.problem.skip;
        if followed || self.traversal() != Traversal::Columns {
            return None;
        }
        let mut sums = match self.columns(Kernel::SumsColumns) {
            Ok(sums) => sums,
            Err(error) => return Some(Err(error)),
        };
        if !self.capabilities.software {
            sums.team = Team { lanes: LANES_ALONG, reduction: Reduction::Subgroup, ..sums.team };
        }
        self.leaves_sums_along(&sums).then_some(Ok(sums))
    }

    /// Whether there are few enough of them.
    fn leaves_sums_along(&self, sums: &Pass) -> bool {
        let few = if self.capabilities.software {
            sums.columns_of_lane() >= LEAST_ALONG
        } else {
            // The lanes of one have a row to themselves, to its end.
            let together = sums.strips().is_multiple_of(LANES_ALONG.into());
            let fits = self.capabilities.max_storage_buffers >= BUFFERS_ALONG;
            together && fits && rows::shuffles(LANES_ALONG, self.capabilities)
        };
        let fits = sums.sums_along() * Cell::Pair.bytes() <= self.capabilities.max_binding;
        few && fits && sums.weights_by() == By::Row
    }

    fn by_weight(&self) -> Self {
        Planner { mapping: self.mapping.by_weight(), ..*self }
    }

    /// Gradients of 0, where some are wanted of weight and bias, or of scale and shift, and there is nothing to sum up.
    pub(super) fn no_parameters(&self, wanted: Backward) -> Result<Vec<Pass>, SpecError> {
        let some = wanted.parameters() && self.problem.parameters() > 0;
        let none = Work { inner_count: 1, ..Work::default() };
        let parameters = some.then(|| self.by_weight().merge_parameters(none));
        let numbers = self.problem.modulation.as_ref().map_or(0, Modulated::numbers);
        let modulated = self.by_modulation().filter(|_| numbers > 0).map(|modulated| modulated.merge_modulation(none));
        parameters.into_iter().chain(modulated).collect()
    }

    fn why_backward(&self, wanted: Backward, fused: bool, first: bool) -> &'static str {
        match (fused, self.problem.source) {
            (true, _) if self.capabilities.software => {
                "groups are contiguous and stay in a cache, x and dy are read once from memory for dx"
            }
            (true, _) => "groups are contiguous and fit a workgroup, x and dy are read once from memory for dx",
            (false, Source::Running) if wanted.input => "the statistics are given, dx is dy times a factor",
            (false, Source::Running) => "the statistics are given, x and dy are read for sums",
            _ if !wanted.input && first => "x is read for its statistics, x and dy for sums",
            _ if !wanted.input => "the statistics are saved, x and dy are read for sums",
            _ if first => "x is read for its statistics, x and dy for sums, and again for dx",
            _ => "the statistics are saved, x and dy are read for sums, and again for dx",
        }
    }

    /// The sums of dy and dy * xhat that share a weight.
    fn weight_sums(&self, by: SumsBy) -> Result<Pass, SpecError> {
        if by == SumsBy::Elements {
            return self.sums_of_rows(u64::MAX);
        }
        let pass = match self.traversal() {
            _ if self.problem.index.r_mul > 0 && self.problem.block.s > 1 => self.sums_of_lines()?,
            _ if self.problem.index.r_mul > 0 => self.runs_beside()?,
            Traversal::Rows => self.rows(Kernel::SumsRows)?,
            Traversal::Columns => self.columns(Kernel::SumsColumns)?,
        };
        Ok(Pass { affine: Affine::Constant, ..self.unweighted(pass) })
    }

    /// By columns, tiles of no more rows than `most_rows`. `self` maps by weight.
    fn sums_of_rows(&self, most_rows: u64) -> Result<Pass, SpecError> {
        let make = Planner { mapping: self.mapping.with_rows_of_b(), ..*self };
        let by = if make.mapping.groups.b_step == 1 { By::Row } else { By::Element };
        let block = &make.mapping.block;
        let tiling = self.unfolded(block, most_rows);
        let pass = make.columns_by(Kernel::SumsColumns, &tiling)?;
        Ok(Pass { statistics_by: by, ..self.unweighted(pass) })
    }

    /// Sums that share a weight go without it, which an activation alone takes.
    fn unweighted(&self, pass: Pass) -> Pass {
        let without = if self.problem.activation.is_some() { &[][..] } else { &[Role::Weight, Role::Bias] };
        Pass { summed: Summed::Weight, without, ..pass }
    }

    /// By what elements share of scale and shift, where there are gradients of them.
    fn by_modulation(&self) -> Option<Self> {
        let wanted = self.problem.gradients().is_some_and(|wanted| wanted.modulation);
        by_modulation(self.problem).filter(|_| wanted).map(|mapping| Planner { mapping, ..*self })
    }

    /// The gradients of scale and shift, in parts. `self` maps by modulation.
    fn modulation_sums(&self) -> Result<Pass, SpecError> {
        Ok(Pass { summed: Summed::Modulation, ..self.sums_by_number()? })
    }

    /// Sums of elements that share a number `b * K + k`. `self` maps by that.
    fn sums_by_number(&self) -> Result<Pass, SpecError> {
        let Mapping { block, groups, .. } = self.mapping;
        if groups.s_step > 0 {
            return self.runs_beside();
        }
        if block.s > 1 {
            return Ok(Pass { affine: self.affine_of_rows(), ..self.rows(Kernel::SumsRows)? });
        }
        let statistics_by = match groups.r_step {
            0 => By::Column,
            _ if groups.rows == 1 && groups.k_div >= block.k => By::Row,
            _ => By::Element,
        };
        let tiling = self.unfolded(&block, u64::MAX);
        Ok(Pass { statistics_by, ..self.columns_by(Kernel::SumsColumns, &tiling)? })
    }

    /// How many neighbouring `k` share a number. `self` maps by modulation.
    fn share_a_number(&self) -> u64 {
        let Block { b, k, .. } = self.mapping.block;
        let numbers = self.problem.modulation.as_ref().map_or(0, Modulated::numbers);
        (b * k / numbers.max(1)).max(1)
    }

    /// `self` maps by modulation.
    fn merge_modulation(&self, work: Work) -> Result<Pass, SpecError> {
        let numbers = self.problem.modulation.as_ref().map_or(0, Modulated::numbers);
        let block = Block { k: (self.mapping.block.k / self.share_a_number()).max(1), ..self.mapping.block };
        let pass = self.merge_to_parameters(block, work, numbers)?;
        let in_place_of = &[(Role::GradWeight, Role::GradScale), (Role::GradBias, Role::GradShift)];
        Ok(Pass { summed: Summed::Modulation, in_place_of, ..pass })
    }

    /// By columns of which each row has statistics of its own. `self` maps by weight.
    fn sums_of_lines(&self) -> Result<Pass, SpecError> {
        let block = &self.mapping.block;
        let tiling = self.unfolded(block, u64::MAX);
        Ok(Pass { statistics_by: By::Row, ..self.columns_by(Kernel::SumsColumns, &tiling)? })
    }

    /// `self` maps by weight.
    fn sums_by(&self) -> SumsBy {
        let Block { b, r, s, .. } = self.mapping.block;
        let Problem { block, index, .. } = self.problem;
        // Rows leave a sum for each element of one, runs a sum each.
        let rows = (block.r == 1 || (index.r_mul > 0 && block.s == 1)) && s < SHORT_RUN && s <= b * r;
        if rows { SumsBy::Elements } else { SumsBy::Runs }
    }

    /// `self` maps by weight.
    fn merge_parameters(&self, work: Work) -> Result<Pass, SpecError> {
        self.merge_to_parameters(Block { b: 1, ..self.mapping.block }, work, self.problem.parameters())
    }

    fn merge_to_parameters(&self, block: Block, work: Work, numbers: u64) -> Result<Pass, SpecError> {
        let team = merge::team(work.partials, self.capabilities);
        let mapping = Mapping { block, ..self.mapping.without_weights() };
        let pass = Planner { mapping, ..*self }.small(Kernel::MergeSums, team, work, numbers)?;
        Ok(Pass { keep: Keep::Parameters, without: &[Role::Weight], ..pass })
    }

    /// `self` maps by weight.
    fn merge_weighted(&self, work: Work) -> Result<Pass, SpecError> {
        let team = merge::team(work.partials, self.capabilities);
        let GroupIndex { b_step, k_div, .. } = self.mapping.groups;
        let index = AffineIndex { k_mul: k_div, s_div: work.inner_count / k_div, ..AffineIndex::NONE };
        let mapping = Mapping { block: Block { k: b_step, ..self.mapping.block }, index, ..self.mapping };
        let pass = Planner { mapping, ..*self }.small(Kernel::MergeSums, team, work, self.problem.block.groups())?;
        Ok(Pass { keep: Keep::Sums, ..pass })
    }

    /// Of groups, from partial sums that are weighted.
    fn merge_sums(&self, work: Work) -> Result<Pass, SpecError> {
        let team = merge::team(work.partials, self.capabilities);
        let mapping = self.mapping.without_weights();
        let pass = Planner { mapping, ..*self }.small(Kernel::MergeSums, team, work, self.problem.block.groups())?;
        Ok(Pass { keep: Keep::Sums, without: &[Role::Weight], ..pass })
    }

    pub(super) fn backward_apply(&self, running: bool) -> Result<Pass, SpecError> {
        let traversal = self.traversal();
        let pass = match traversal {
            Traversal::Rows => self.rows(Kernel::BackwardApplyRows)?,
            Traversal::Columns => self.columns(Kernel::BackwardApplyColumns)?,
        };
        // With given statistics dx is dy times a factor.
        // An activation takes x besides.
        let without = match self.problem.activation {
            _ if !running => &[][..],
            None => &[Role::X, Role::GroupSums],
            Some(_) => &[Role::GroupSums],
        };
        if self.takes_pairs(traversal, pass.width) {
            return Ok(Pass { without, ..self.pairs(Kernel::BackwardApplyPairs, pass.statistics)? });
        }
        Ok(Pass { without, affine: self.affine_of_rows(), team: pass.team.silent(), ..pass })
    }
}

impl Pass {
    /// How many partial sums it leaves.
    fn sums(&self) -> u64 {
        let Block { b, r, k, s } = self.mapping.block;
        if self.kernel.by_columns() { b * self.tiles_of_b() * k * s } else { b * r * k * self.work.tiles_per_run }
    }

    /// Columns: the partials of one column of one `b`. Folded rows leave one each.
    fn tiles_of_b(&self) -> u64 {
        let Block { k, s, .. } = self.mapping.block;
        self.work.row_tiles * self.work.pitch / (k * s)
    }

    /// Neighbouring columns that fall to a lane.
    fn columns_of_lane(&self) -> u64 {
        let span = if let Hold::Columns { span, .. } = self.hold { span } else { 1 };
        u64::from(self.width.elements() * span)
    }

    /// Lanes that go over the columns of a row.
    fn strips(&self) -> u64 {
        self.work.pitch / self.columns_of_lane()
    }

    /// How many sums along rows it leaves.
    fn sums_along(&self) -> u64 {
        self.by_row().partials * self.mapping.block.r
    }

    /// Where the sums along the rows of one weight lie: those of a row next to each other.
    fn by_row(&self) -> Work {
        let Block { b, r, .. } = self.mapping.block;
        let strips = self.strips() / u64::from(self.team.lanes);
        Work {
            partials: b * strips,
            inner_count: strips,
            outer_stride: r * strips,
            k_stride: strips,
            ..Work::default()
        }
    }

    /// Where the partial sums of one weight lie.
    fn by_parameter(&self) -> Work {
        let Block { b, r, k, s } = self.mapping.block;
        let (lines, inner) =
            if self.kernel.by_columns() { (b * self.tiles_of_b(), s) } else { (b * r, self.work.tiles_per_run) };
        let GroupIndex { b_div, .. } = self.mapping.groups;
        if b_div > 1 {
            // Those of each of `b_div` neighbouring b are of others.
            let tiles = self.tiles_of_b();
            return Work {
                partials: b / b_div * tiles,
                inner_count: tiles,
                inner_stride: k,
                outer_stride: b_div * tiles * k,
                b_stride: tiles * k,
                k_stride: 1,
                ..Work::default()
            };
        }
        Work {
            partials: lines * inner,
            inner_count: inner,
            outer_stride: k * inner,
            k_stride: inner,
            ..Work::default()
        }
    }

    /// Where the partial sums of one group lie, those of its weights next to each other.
    pub(super) fn by_group(&self) -> Work {
        self.by_line(self.mapping.groups.k_div)
    }

    /// The same of `k_div` neighbouring `k` together.
    fn by_line(&self, k_div: u64) -> Work {
        let Block { r, k, s, .. } = self.mapping.block;
        let (lines, unit) =
            if self.kernel.by_columns() { (self.tiles_of_b(), s) } else { (r, self.work.tiles_per_run) };
        let inner = k_div * unit;
        Work {
            partials: lines * inner,
            inner_count: inner,
            outer_stride: k * unit,
            b_stride: lines * k * unit,
            k_stride: inner,
            ..Work::default()
        }
    }
}

impl Team {
    /// Where nothing is reduced, nothing is exchanged.
    pub(super) fn silent(self) -> Self {
        Self { reduction: Reduction::Alone, ..self }
    }
}
