//! How to compute a norm: which kernels, over how many workgroups, with how much scratch. A plan is a pure function
//! of the block, the capabilities and the vector width; it touches no device.

mod backward;
mod capabilities;
mod columns;
mod grid;
mod merge;
mod parts;
mod rows;
mod tuning;
mod window;

pub use capabilities::Capabilities;
pub(crate) use grid::Grid;
pub use tuning::Tuning;
pub(crate) use window::{Span, Window};

use std::fmt;

use crate::block::{AffineIndex, Block};
use crate::element::Element;
use crate::error::SpecError;
use crate::norm::{Problem, Source, Task};
use crate::shader::{Affine, Hold, Kernel, Known, Reduction, Width};
use window::Layout;

/// How a norm runs on a device with given [`Capabilities`]; made by [`Context::plan`](crate::Context::plan), bound to
/// buffers by [`Context::bind`](crate::Context::bind). Its `Display` is one line a pass.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) problem: Problem,
    pub(crate) capabilities: Capabilities,
    pub(crate) tuning: Tuning,
    pub(crate) schedule: Schedule,
}

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
    /// Partial sums of a backward pass, and those of its groups, 8 bytes each.
    pub(crate) partial_sums: u64,
    pub(crate) sums: u64,
}

/// One step: a dispatch, or several where a tensor is larger than a binding.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    pub(crate) kernel: Kernel,
    pub(crate) width: Width,
    pub(crate) hold: Hold,
    pub(crate) affine: Affine,
    pub(crate) known: Known,
    pub(crate) track: bool,
    pub(crate) team: Team,
    pub(crate) turns: Turns,
    pub(crate) mapping: Mapping,
    pub(crate) statistics_by: StatisticsBy,
    pub(crate) work: Work,
    pub(crate) windows: Vec<Window>,
}

/// The block a pass goes over, which weight an element of it has, and whose statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mapping {
    pub(crate) block: Block,
    pub(crate) index: AffineIndex,
    pub(crate) groups: GroupIndex,
}

/// The group of element `(b, r, k, s)`: `(b + r / rows) * b_step + k / k_div`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GroupIndex {
    pub(crate) b_step: u64,
    pub(crate) rows: u64,
    pub(crate) k_div: u64,
}

/// How columns find their statistics, numbered as in `shaders/backward/sums_columns.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum StatisticsBy {
    Column = 0,
    Row = 1,
    Both = 2,
}

/// In which order a lane takes its packs, as in `shaders/params.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Turns {
    pub(crate) span: u32,
    pub(crate) together: u32,
    pub(crate) whole: bool,
}

/// How the lanes of a workgroup work together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Team {
    pub(crate) workgroup_size: u32,
    /// Lanes that share a tile: a power of two.
    pub(crate) lanes: u32,
    pub(crate) reduction: Reduction,
    /// Whether `lanes` may exceed a subgroup, so that barriers are needed.
    pub(crate) across_subgroups: bool,
}

/// The numbers a kernel is told, as in `shaders/params.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Work {
    pub(crate) tiles: u64,
    pub(crate) tile_length: u64,
    pub(crate) parts: u64,
    pub(crate) column_lanes: u64,
    pub(crate) row_lanes: u64,
    pub(crate) column_blocks: u64,
    pub(crate) row_tiles: u64,
    pub(crate) partials: u64,
    pub(crate) inner_count: u64,
    pub(crate) b_stride: u64,
    pub(crate) k_stride: u64,
    pub(crate) outer_stride: u64,
    pub(crate) items: u64,
    pub(crate) rows: u64,
    pub(crate) pitch: u64,
}

/// Bytes of a stored partial, and of a group's stored statistics.
pub(crate) const RECORD: u64 = 16;

/// Bytes of two stored sums.
pub(crate) const PAIR: u64 = 8;

impl Plan {
    pub(crate) fn new(problem: Problem, capabilities: &Capabilities, tuning: Tuning) -> Result<Self, SpecError> {
        let schedule = Schedule::new(&problem, capabilities, tuning, Loads::ANY)?;
        Ok(Self { problem, capabilities: capabilities.clone(), tuning, schedule })
    }

    /// The norm this plan computes.
    #[must_use]
    pub fn norm(&self) -> &'static str {
        self.problem.norm
    }

    /// The shape of `x` and `y`.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.problem.shape
    }

    /// The block the norm became.
    #[must_use]
    pub fn block(&self) -> Block {
        self.problem.block
    }

    /// The dispatches, in order; none for an empty tensor. `count_batch` runs only where `num_batches_tracked` is bound.
    #[must_use]
    pub fn passes(&self) -> &[Pass] {
        &self.schedule.passes
    }

    /// Why these dispatches and no others, in a few words.
    #[must_use]
    pub fn why(&self) -> &'static str {
        self.schedule.why
    }

    /// Bytes of scratch that binding allocates, for tensors that start at multiples of 16 bytes; about as many for others.
    #[must_use]
    pub fn scratch_bytes(&self) -> u64 {
        (self.schedule.partials + self.schedule.statistics) * RECORD
            + (self.schedule.partial_sums + self.schedule.sums) * PAIR
    }

    /// Bytes of `x` and `y`, or of `x` and the gradients of its size, that the passes read and write, each reading counted;
    /// what a memory-bound kernel is measured by. Residuals come on top.
    #[must_use]
    pub fn bytes_moved(&self) -> u64 {
        let elements = |pass: &Pass| pass.windows.iter().map(|window| window.elements.length).sum::<u64>();
        let moved = |pass: &Pass| elements(pass) * pass.kernel.tensors_moved(pass.known);
        self.schedule.passes.iter().map(moved).sum::<u64>() * Element::F32.size()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Block { b, r, k, s } = self.problem.block;
        write!(f, "{} {:?} as block [{b}, {r}, {k}, {s}]: {}", self.norm(), self.shape(), self.why())?;
        for pass in self.passes() {
            write!(f, "\n  {pass}")?;
        }
        Ok(())
    }
}

impl Pass {
    /// The kernel's name: `fused_rows`, `stats_columns`, ...
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kernel.name()
    }

    /// How many workgroups are dispatched.
    #[must_use]
    pub fn workgroups(&self) -> u64 {
        self.windows.iter().map(|window| window.grid.workgroups).sum()
    }

    /// Invocations of one workgroup.
    #[must_use]
    pub fn workgroup_size(&self) -> u32 {
        self.team.workgroup_size
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} x {} invocations", self.name(), self.workgroups(), self.workgroup_size())?;
        match self.kernel {
            Kernel::CountBatch => return write!(f, ", where num_batches_tracked is given"),
            kernel if kernel.by_columns() => {
                write!(f, ", {} across and {} down", self.work.column_lanes, self.work.row_lanes)?;
            }
            _ => write!(f, ", {} to a tile", self.team.lanes)?,
        }
        if self.team.reduction != Reduction::Alone {
            write!(f, ", by {}", self.team.reduction.name())?;
        }
        if self.kernel.tensors_moved(self.known) > 0 {
            write!(f, ", {}-wide", self.width.elements())?;
        }
        if self.windows.len() > 1 {
            write!(f, ", in {} windows", self.windows.len())?;
        }
        Ok(())
    }
}

impl Team {
    /// Lanes that never exchange anything.
    fn apart(workgroup_size: u32) -> Self {
        Self { workgroup_size, lanes: 1, reduction: Reduction::Alone, across_subgroups: false }
    }
}

/// How a tensor is cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Traversal {
    /// Along the contiguous `S`.
    Rows,
    /// Across the contiguous `K * S`, down `R`.
    Columns,
}

/// Runs of `S` shorter than this are always read by columns where there is more than one to a group: a tile of their
/// own each would not fill a cache line.
const SHORT_RUN: u64 = 8;

/// Runs of `S` at least this long are read by rows where that may depend on nothing else.
const LONG_RUN: u64 = 64;

impl Traversal {
    /// Whichever leaves fewer partials to merge.
    fn of(block: &Block, capabilities: &Capabilities, width: Width, tuning: Tuning) -> Self {
        if block.r == 1 {
            return Self::Rows;
        }
        if tuning == Tuning::BatchInvariant {
            return if block.s < LONG_RUN { Self::Columns } else { Self::Rows };
        }
        let by_rows = block.r * rows::parts(block.s, capabilities);
        let columns = columns::Tiling::new(block, capabilities, width, tuning);
        let by_columns = columns.row_tiles * columns.fold * block.s;
        if block.s < SHORT_RUN || by_columns <= by_rows { Self::Columns } else { Self::Rows }
    }
}

/// What the last pass of a plan in stages binds: `x`, `y`, `weight`, `bias` and statistics, running ones as two tensors.
const BUFFERS_OF_APPLY: u32 = 5;
const BUFFERS_OF_EVAL: u32 = 6;

/// What a pass over ragged rows binds at most: `x`, `y` twice, `weight`, `bias`, `mean`, `rstd` and `statistics`.
const BUFFERS_OF_RAGGED: u32 = 8;

/// What the tensors there are allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loads {
    /// All that may be read by quads start at a multiple of four elements.
    pub(crate) quads: bool,
    /// There is no residual, of which ragged rows know nothing.
    pub(crate) ragged: bool,
}

impl Loads {
    pub(crate) const ANY: Self = Self { quads: true, ragged: true };
}

impl Schedule {
    pub(crate) fn new(
        problem: &Problem,
        capabilities: &Capabilities,
        tuning: Tuning,
        loads: Loads,
    ) -> Result<Self, SpecError> {
        let width = if loads.quads { Width::Quad } else { Width::Scalar };
        let make = Maker { problem, mapping: Mapping::of(problem), capabilities, tuning, width, ragged: loads.ragged };
        capabilities.check_buffer(problem.norm, "x", problem.block.elements() * Element::F32.size())?;
        let schedule = match problem.task {
            Task::Forward => make.forward()?,
            Task::Moments => make.moments()?,
            Task::FromMoments { parts } => make.by_moments(parts)?,
            Task::Backward(wanted) => make.backward(wanted)?,
            Task::BackwardSums(wanted) => make.backward_sums(wanted)?,
            Task::FromSums { parts, .. } => make.by_sums(parts)?,
        };
        let Self { partials, statistics, partial_sums, sums, .. } = schedule;
        capabilities.check_binding(problem.norm, "scratch for partial statistics", partials * RECORD)?;
        capabilities.check_binding(problem.norm, "scratch for statistics", statistics * RECORD)?;
        capabilities.check_binding(problem.norm, "scratch for partial sums", partial_sums * PAIR)?;
        capabilities.check_binding(problem.norm, "scratch for sums", sums * PAIR)?;
        Ok(schedule)
    }

    /// Nothing to do yet.
    fn empty(why: &'static str) -> Self {
        Self { passes: Vec::new(), why, partials: 0, statistics: 0, partial_sums: 0, sums: 0 }
    }

    /// Whether it does for tensors that allow no other loads.
    pub(crate) fn suits(&self, loads: Loads) -> bool {
        self.passes.iter().all(|pass| match pass.width {
            Width::Scalar => true,
            Width::Quad => loads.quads,
            Width::Ragged => loads.ragged,
        })
    }
}

impl Mapping {
    /// The groups' own block.
    fn of(problem: &Problem) -> Self {
        let Problem { block, index, .. } = *problem;
        Self { block, index, groups: GroupIndex { b_step: block.k, rows: block.r.max(1), k_div: 1 } }
    }

    /// Whether the weights of every group are the same ones.
    pub(crate) fn has_same_parameters(&self) -> bool {
        self.index.b_mul == 0 && (self.block.k == 1 || self.index.k_mul == 0)
    }
}

/// Makes the passes of one schedule.
#[derive(Clone, Copy)]
struct Maker<'a> {
    problem: &'a Problem,
    mapping: Mapping,
    capabilities: &'a Capabilities,
    tuning: Tuning,
    /// The widest loads the alignment of the tensors allows.
    width: Width,
    ragged: bool,
}

impl Maker<'_> {
    fn forward(&self) -> Result<Schedule, SpecError> {
        let Self { problem, capabilities, .. } = *self;
        let block = &problem.block;
        if block.elements() == 0 {
            return Ok(Schedule::empty("empty, nothing to do"));
        }
        let make = self;
        let traversal = self.traversal();
        let mut schedule = Schedule::empty(self.why(traversal));
        match problem.source {
            Source::Running if capabilities.max_storage_buffers >= BUFFERS_OF_EVAL => {
                schedule.passes.push(make.apply(traversal, Known::Running)?);
            }
            Source::Running => {
                schedule.statistics = block.groups();
                schedule.passes.push(make.running_statistics()?);
                schedule.passes.extend(make.ending(traversal)?);
            }
            Source::Batch if make.fuses_rows() => schedule.passes.push(make.fused(Kernel::FusedRows)?),
            Source::Batch if make.fuses_columns() => schedule.passes.push(make.columns(Kernel::FusedColumns)?),
            Source::Batch | Source::Tracked(_) => {
                let tracked = matches!(problem.source, Source::Tracked(_));
                let (stats, merge) = make.statistics()?;
                let merge = Pass { track: tracked, ..merge };
                schedule.partials = block.groups() * merge.work.partials;
                schedule.statistics = block.groups();
                schedule.passes.extend([stats, merge]);
                if tracked {
                    // After every lane of the merge has read the count.
                    schedule.passes.push(make.count_batch()?);
                }
                schedule.passes.extend(make.ending(traversal)?);
            }
        }
        Ok(schedule)
    }

    fn traversal(&self) -> Traversal {
        Traversal::of(&self.mapping.block, self.capabilities, self.width, self.tuning)
    }

    fn grid(&self, workgroups: u64) -> Result<Grid, SpecError> {
        Grid::new(self.problem.norm, workgroups, self.capabilities)
    }

    /// A pass over `count` tiles that lie in no tensor of the size of `x`.
    fn small(&self, kernel: Kernel, team: Team, work: Work, count: u64) -> Result<Pass, SpecError> {
        let grid = self.grid(count.div_ceil(u64::from(team.workgroup_size / team.lanes)))?;
        let elements = Span { first: 0, length: 0 };
        let window = Window { grid, first: 0, count, elements, parameters: None, first_group: 0 };
        Ok(Pass { width: Width::Scalar, ..self.pass(kernel, team, Work { tiles: count, ..work }, vec![window]) })
    }

    fn pass(&self, kernel: Kernel, team: Team, work: Work, windows: Vec<Window>) -> Pass {
        Pass {
            kernel,
            width: self.width,
            hold: Hold::None,
            affine: Affine::Constant,
            known: Known::Merged,
            track: false,
            team,
            turns: Turns { span: 1, together: 1, whole: false },
            mapping: self.mapping,
            statistics_by: StatisticsBy::Column,
            work,
            windows,
        }
    }

    /// The windows of a pass by rows.
    fn windows(&self, layout: &Layout, tiling: &rows::Tiling) -> Result<Vec<Window>, SpecError> {
        let mut windows =
            window::cut(self.problem.norm, layout, self.capabilities, |tiles| self.grid(tiling.workgroups(tiles)))?;
        // Parameters that fit a binding are bound whole.
        let whole = self.problem.parameters() <= window::most_elements(self.capabilities);
        if whole || self.mapping.index.s_div != 1 {
            windows.iter_mut().for_each(|window| window.parameters = None);
        }
        Ok(windows)
    }

    /// Quads of a row may not straddle two runs of `S`, nor two weights. Ragged ones may, at a cost that pays on software
    /// adapters, where single elements cost most; gradients take no part in it.
    fn width_of_rows(&self, kernel: Kernel) -> Width {
        let s_div = self.mapping.index.s_div;
        let s = self.mapping.block.s;
        let aligned = s.is_multiple_of(4) && (s_div == 1 || s_div >= s || s_div.is_multiple_of(4));
        if aligned && self.width != Width::Scalar {
            return self.width;
        }
        let ragged = self.ragged
            && kernel.may_be_ragged()
            && self.capabilities.software
            && self.capabilities.binds_twice
            && self.capabilities.max_storage_buffers >= BUFFERS_OF_RAGGED
            && s > rows::SHORT_RAGGED
            && (s_div == 1 || s_div >= 4);
        if ragged { Width::Ragged } else { Width::Scalar }
    }

    fn affine_of_rows(&self) -> Affine {
        match self.mapping.index.s_div {
            1 => Affine::Element,
            s_div if s_div >= self.mapping.block.s => Affine::Constant,
            _ => Affine::Divided,
        }
    }

    fn why(&self, traversal: Traversal) -> &'static str {
        match (self.problem.source, traversal) {
            (Source::Running, _) => "the statistics are given, x is read once",
            (Source::Batch, _) if self.fuses_rows() && self.capabilities.software => {
                "groups are contiguous and stay in a cache, x is read once from memory"
            }
            (Source::Batch, _) if self.fuses_rows() => "groups are contiguous and fit registers, x is read once",
            (Source::Batch, _) if self.fuses_columns() => "groups are columns that fit registers, x is read once",
            (Source::Batch, Traversal::Rows) if self.problem.block.r == 1 => {
                "groups are too large for a workgroup: their parts are merged, x is read twice"
            }
            (_, Traversal::Rows) => "groups are long runs: each leaves statistics to merge, x is read twice",
            (_, Traversal::Columns) => "groups are short runs in many rows: read by columns, merged, x is read twice",
        }
    }

    /// Whether a group lies in one piece and is held by the lanes of a workgroup.
    fn fuses_rows(&self) -> bool {
        let Block { r, s, .. } = self.problem.block;
        r == 1 && s <= rows::longest_fused(self.problem.block.groups(), self.capabilities, self.tuning)
    }

    fn fused(&self, kernel: Kernel) -> Result<Pass, SpecError> {
        let block = &self.problem.block;
        let width = self.width_of_rows(kernel);
        let tiling =
            rows::Tiling::new(block.s, block.groups(), width, kernel.tensors_held(), self.capabilities, self.tuning);
        let work = Work { tiles: block.groups(), parts: 1, tile_length: block.s, ..tiling.work() };
        let windows =
            self.windows(&Layout { units: block.groups(), length: block.s, parts: 1, tile: block.s }, &tiling)?;
        let turns = tiling.turns(width, true);
        let affine = self.affine_of_rows();
        let pass = Pass { width, hold: tiling.hold(), affine, turns, ..self.pass(kernel, tiling.team, work, windows) };
        // Lanes side by side have groups of other b and k, whose weights must be the same.
        let same = self.problem.affine && self.mapping.has_same_parameters();
        Ok(match tiling.sharing(self.capabilities).filter(|_| affine == Affine::Element && same) {
            Some((team, together)) => Pass { affine: Affine::Shared, team, turns: Turns { together, ..turns }, ..pass },
            None if affine == Affine::Divided && tiling.steps(width, self.mapping.index.s_div) => {
                Pass { affine: Affine::Stepped, ..pass }
            }
            None => pass,
        })
    }

    /// Whether a group is a column that one lane holds.
    fn fuses_columns(&self) -> bool {
        let Block { r, k, s, .. } = self.problem.block;
        s == 1 && r <= columns::LONGEST_FUSED && r * k <= window::most_elements(self.capabilities)
    }

    /// The last pass by merged statistics, in two where the device has too few bindings for all tensors at once.
    fn ending(&self, traversal: Traversal) -> Result<Vec<Pass>, SpecError> {
        if !self.problem.affine || self.capabilities.max_storage_buffers >= BUFFERS_OF_APPLY {
            return Ok(vec![self.apply(traversal, Known::Merged)?]);
        }
        Ok(vec![self.apply(traversal, Known::Scaled)?, self.apply(traversal, Known::Nothing)?])
    }

    fn apply(&self, traversal: Traversal, known: Known) -> Result<Pass, SpecError> {
        let pass = match traversal {
            Traversal::Rows => self.rows(Kernel::ApplyRows)?,
            Traversal::Columns => self.columns(Kernel::ApplyColumns)?,
        };
        let hold = if traversal == Traversal::Rows { Hold::None } else { pass.hold };
        Ok(Pass { known, hold, affine: self.affine_of_rows(), team: pass.team.silent(), ..pass })
    }

    fn rows(&self, kernel: Kernel) -> Result<Pass, SpecError> {
        let block = &self.mapping.block;
        let width = self.width_of_rows(kernel);
        let parts = rows::parts(block.s, self.capabilities);
        // Tiles of one length, and a multiple of four so that each starts aligned.
        let tile_length = block.s.div_ceil(parts).next_multiple_of(4).min(block.s);
        let parts = block.s.div_ceil(tile_length);
        let tiles = block.groups() * block.r * parts;
        let tiling =
            rows::Tiling::new(tile_length, tiles, width, kernel.tensors_held(), self.capabilities, self.tuning);
        let work = Work { tiles, parts, tile_length, ..tiling.work() };
        let layout = Layout { units: block.groups() * block.r, length: block.s, parts, tile: tile_length };
        let pass = self.pass(kernel, tiling.team, work, self.windows(&layout, &tiling)?);
        Ok(Pass { width, hold: tiling.hold(), turns: tiling.turns(width, parts * tile_length == block.s), ..pass })
    }

    fn columns(&self, kernel: Kernel) -> Result<Pass, SpecError> {
        let fused = kernel == Kernel::FusedColumns;
        let tiling = if fused {
            columns::Tiling::fused(&self.mapping.block, self.capabilities, self.width)
        } else {
            columns::Tiling::new(&self.mapping.block, self.capabilities, self.width, self.tuning)
        };
        self.columns_by(kernel, &tiling)
    }

    fn columns_by(&self, kernel: Kernel, tiling: &columns::Tiling) -> Result<Pass, SpecError> {
        let block = &self.mapping.block;
        let fused = kernel == Kernel::FusedColumns;
        let workgroups = tiling.workgroups(block);
        let rows = tiling.row_lanes * tiling.rows_per_lane;
        let tall = Layout {
            units: block.b,
            length: tiling.rows * tiling.pitch,
            parts: tiling.rows.div_ceil(rows),
            tile: rows * tiling.pitch,
        };
        let across = tiling.column_blocks;
        let mut windows = window::cut(self.problem.norm, &tall, self.capabilities, |tiles| self.grid(tiles * across))?;
        // The kernel counts workgroups, of which there are `across` to a tile.
        for window in &mut windows {
            (window.first, window.count) = (window.first * across, window.count * across);
            window.parameters = None;
        }
        let work = Work {
            tiles: workgroups,
            tile_length: tiling.rows_per_lane,
            column_lanes: tiling.column_lanes,
            row_lanes: tiling.row_lanes,
            column_blocks: tiling.column_blocks,
            row_tiles: tiling.row_tiles,
            rows: tiling.rows,
            pitch: tiling.pitch,
            ..Work::default()
        };
        let pass = self.pass(kernel, Team::apart(tiling.workgroup_size), work, windows);
        Ok(Pass { width: tiling.width, hold: tiling.hold(fused), ..pass })
    }

    /// Partial statistics, and their merge.
    fn statistics(&self) -> Result<(Pass, Pass), SpecError> {
        let stats = match self.traversal() {
            Traversal::Rows => self.rows(Kernel::StatsRows)?,
            Traversal::Columns => self.columns(Kernel::StatsColumns)?,
        };
        let merge = self.merge(&stats)?;
        Ok((stats, merge))
    }

    fn count_batch(&self) -> Result<Pass, SpecError> {
        self.small(Kernel::CountBatch, Team::apart(1), Work::default(), 1)
    }

    /// Running statistics as those of a merge.
    fn running_statistics(&self) -> Result<Pass, SpecError> {
        let team = Team::apart(self.capabilities.workgroup_size(64, 1));
        let channels = self.problem.block.groups();
        let pass = self.small(Kernel::RunningStatistics, team, Work::default(), channels)?;
        Ok(Pass { known: Known::Running, ..pass })
    }

    fn merge(&self, stats: &Pass) -> Result<Pass, SpecError> {
        let Block { r, k, s, .. } = self.problem.block;
        let groups = self.problem.block.groups();
        let work = if stats.kernel == Kernel::StatsColumns {
            // Folded rows leave a partial each.
            let tiles = stats.work.row_tiles * stats.work.pitch / (k * s);
            Work {
                partials: tiles * s,
                inner_count: s,
                outer_stride: k * s,
                b_stride: tiles * k * s,
                ..Work::default()
            }
        } else {
            let parts = stats.work.parts;
            Work {
                partials: r * parts,
                inner_count: parts,
                outer_stride: k * parts,
                b_stride: r * k * parts,
                ..Work::default()
            }
        };
        // A group's partials of one row, or one run, are neighbours; then come those of the next k.
        let work = Work { k_stride: work.inner_count, ..work };
        let team = merge::team(work.partials, self.capabilities);
        self.small(Kernel::Merge, team, work, groups)
    }
}
