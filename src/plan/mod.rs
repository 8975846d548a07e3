//! How to compute a norm: which kernels, over how many workgroups, with how much scratch. A plan is a pure function
//! of the block, the capabilities and the vector width; it touches no device.

mod capabilities;
mod columns;
mod grid;
mod merge;
mod rows;
mod window;

pub use capabilities::Capabilities;
pub(crate) use grid::Grid;
pub(crate) use window::{Span, Window};

use std::fmt;

use crate::block::Block;
use crate::element::Element;
use crate::error::SpecError;
use crate::norm::{Problem, Source};
use crate::shader::{Affine, Hold, Kernel, Known, Reduction, Width};
use window::Layout;

/// How a norm runs on a device with given [`Capabilities`]; made by [`Context::plan`](crate::Context::plan), bound to
/// buffers by [`Context::bind`](crate::Context::bind). Its `Display` is one line a pass.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) problem: Problem,
    pub(crate) capabilities: Capabilities,
    pub(crate) schedule: Schedule,
}

/// The passes of a plan, in order, at one vector width.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) passes: Vec<Pass>,
    /// Partials that the first pass leaves for the merge, 16 bytes each.
    pub(crate) partials: u64,
    /// Groups whose statistics the merge leaves for the last pass, 16 bytes each.
    pub(crate) statistics: u64,
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
    pub(crate) work: Work,
    pub(crate) windows: Vec<Window>,
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
}

/// Bytes of a stored partial, and of a group's stored statistics.
pub(crate) const RECORD: u64 = 16;

impl Plan {
    pub(crate) fn new(problem: Problem, capabilities: &Capabilities) -> Result<Self, SpecError> {
        let schedule = Schedule::new(&problem, capabilities, widest(&problem))?;
        Ok(Self { problem, capabilities: capabilities.clone(), schedule })
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

    /// Bytes of scratch that binding allocates, for tensors that start at multiples of 16 bytes; about as many for others.
    #[must_use]
    pub fn scratch_bytes(&self) -> u64 {
        (self.schedule.partials + self.schedule.statistics) * RECORD
    }

    /// Bytes of `x` and `y` that the passes read and write, each reading of `x` counted; what a memory-bound kernel
    /// is measured by.
    #[must_use]
    pub fn bytes_moved(&self) -> u64 {
        let tensor = self.problem.block.elements() * Element::F32.size();
        self.schedule.passes.iter().map(|pass| tensor * pass.kernel.tensors_moved()).sum()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Block { b, r, k, s } = self.problem.block;
        write!(f, "{} {:?} as block [{b}, {r}, {k}, {s}]", self.norm(), self.shape())?;
        if self.passes().is_empty() {
            return write!(f, ": empty, nothing to do");
        }
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
            Kernel::StatsColumns | Kernel::ApplyColumns => {
                write!(f, ", {} across and {} down", self.work.column_lanes, self.work.row_lanes)?;
            }
            Kernel::FusedRows | Kernel::StatsRows | Kernel::ApplyRows | Kernel::Merge => {
                write!(f, ", {} to a tile", self.team.lanes)?;
            }
        }
        if self.team.reduction != Reduction::Alone {
            write!(f, ", by {}", self.team.reduction.name())?;
        }
        if self.kernel != Kernel::Merge {
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

impl Traversal {
    /// Whichever leaves fewer partials to merge.
    fn of(block: &Block, capabilities: &Capabilities, width: Width) -> Self {
        if block.r == 1 {
            return Self::Rows;
        }
        let by_rows = block.r * rows::parts(block.s, capabilities);
        let by_columns = columns::Tiling::new(block, capabilities, width).row_tiles * block.s;
        if block.s < SHORT_RUN || by_columns <= by_rows { Self::Columns } else { Self::Rows }
    }
}

/// The widest loads the block allows, if every tensor is aligned.
fn widest(problem: &Problem) -> Width {
    let Block { k, s, .. } = problem.block;
    if (k * s).is_multiple_of(4) { Width::Quad } else { Width::Scalar }
}

impl Schedule {
    /// `width` is the widest loads the alignment of the tensors allows.
    pub(crate) fn new(problem: &Problem, capabilities: &Capabilities, width: Width) -> Result<Self, SpecError> {
        let block = &problem.block;
        let mut schedule = Self { passes: Vec::new(), partials: 0, statistics: 0 };
        if block.elements() == 0 {
            return Ok(schedule);
        }
        capabilities.check_buffer(problem.norm, "x", block.elements() * Element::F32.size())?;
        let traversal = Traversal::of(block, capabilities, width);
        let make = Maker { problem, capabilities, width };
        if problem.source == Source::Running {
            schedule.passes.push(make.apply(traversal, Known::Running)?);
            return Ok(schedule);
        }
        let tracked = matches!(problem.source, Source::Tracked(_));
        if block.r == 1 && !tracked && block.s <= rows::longest_fused(capabilities) {
            schedule.passes.push(make.fused()?);
            return Ok(schedule);
        }
        let stats = make.stats(traversal)?;
        let merge = make.merge(&stats, tracked)?;
        schedule.partials = block.groups() * merge.work.partials;
        schedule.statistics = block.groups();
        capabilities.check_binding(problem.norm, "scratch for partial statistics", schedule.partials * RECORD)?;
        capabilities.check_binding(problem.norm, "scratch for statistics", schedule.statistics * RECORD)?;
        schedule.passes.extend([stats, merge]);
        if tracked {
            // After every lane of the merge has read the count.
            schedule.passes.push(make.small(Kernel::CountBatch, Team::apart(1), Work::default(), 1)?);
        }
        schedule.passes.push(make.apply(traversal, Known::Merged)?);
        Ok(schedule)
    }

    pub(crate) fn reads_quads(&self) -> bool {
        self.passes.iter().any(|pass| pass.width == Width::Quad)
    }
}

/// Makes the passes of one schedule.
struct Maker<'a> {
    problem: &'a Problem,
    capabilities: &'a Capabilities,
    width: Width,
}

impl Maker<'_> {
    fn grid(&self, workgroups: u64) -> Result<Grid, SpecError> {
        Grid::new(self.problem.norm, workgroups, self.capabilities)
    }

    /// A pass over `count` tiles that lie in no tensor of the size of `x`.
    fn small(&self, kernel: Kernel, team: Team, work: Work, count: u64) -> Result<Pass, SpecError> {
        let grid = self.grid(count.div_ceil(u64::from(team.workgroup_size / team.lanes)))?;
        let elements = Span { first: 0, length: 0 };
        let window = Window { grid, first: 0, count, elements, parameters: None };
        Ok(Pass { width: Width::Scalar, ..self.pass(kernel, team, Work { tiles: count, ..work }, vec![window]) })
    }

    fn pass(&self, kernel: Kernel, team: Team, work: Work, windows: Vec<Window>) -> Pass {
        Pass {
            kernel,
            width: self.width,
            hold: Hold::Reread,
            affine: Affine::Constant,
            known: Known::Merged,
            track: false,
            team,
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
        if whole || self.problem.index.s_div != 1 {
            windows.iter_mut().for_each(|window| window.parameters = None);
        }
        Ok(windows)
    }

    /// Packs of a row may not straddle two runs of `S`, nor two weights.
    fn width_of_rows(&self) -> Width {
        let s_div = self.problem.index.s_div;
        let s = self.problem.block.s;
        let aligned = s.is_multiple_of(4) && (s_div == 1 || s_div >= s || s_div.is_multiple_of(4));
        if aligned { self.width } else { Width::Scalar }
    }

    fn affine_of_rows(&self) -> Affine {
        match self.problem.index.s_div {
            1 => Affine::Element,
            s_div if s_div >= self.problem.block.s => Affine::Constant,
            _ => Affine::Divided,
        }
    }

    fn fused(&self) -> Result<Pass, SpecError> {
        let block = &self.problem.block;
        let width = self.width_of_rows();
        let tiling = rows::Tiling::new(block.s, self.capabilities);
        let work = Work { tiles: block.groups(), parts: 1, tile_length: block.s, ..tiling.work(width) };
        let windows =
            self.windows(&Layout { units: block.groups(), length: block.s, parts: 1, tile: block.s }, &tiling)?;
        let pass = self.pass(Kernel::FusedRows, tiling.team, work, windows);
        Ok(Pass { width, hold: tiling.hold(width), affine: self.affine_of_rows(), ..pass })
    }

    fn stats(&self, traversal: Traversal) -> Result<Pass, SpecError> {
        match traversal {
            Traversal::Rows => self.rows(Kernel::StatsRows),
            Traversal::Columns => self.columns(Kernel::StatsColumns),
        }
    }

    fn apply(&self, traversal: Traversal, known: Known) -> Result<Pass, SpecError> {
        let pass = match traversal {
            Traversal::Rows => self.rows(Kernel::ApplyRows)?,
            Traversal::Columns => self.columns(Kernel::ApplyColumns)?,
        };
        // Nothing is reduced, so nothing is exchanged.
        let team = Team { reduction: Reduction::Alone, across_subgroups: false, ..pass.team };
        Ok(Pass { known, hold: Hold::Reread, affine: self.affine_of_rows(), team, ..pass })
    }

    fn rows(&self, kernel: Kernel) -> Result<Pass, SpecError> {
        let block = &self.problem.block;
        let width = self.width_of_rows();
        let parts = rows::parts(block.s, self.capabilities);
        // Tiles of one length, and a multiple of four so that each starts aligned.
        let tile_length = block.s.div_ceil(parts).next_multiple_of(4).min(block.s);
        let parts = block.s.div_ceil(tile_length);
        let tiling = rows::Tiling::new(tile_length, self.capabilities);
        let tiles = block.groups() * block.r * parts;
        let work = Work { tiles, parts, tile_length, ..tiling.work(width) };
        let layout = Layout { units: block.groups() * block.r, length: block.s, parts, tile: tile_length };
        let pass = self.pass(kernel, tiling.team, work, self.windows(&layout, &tiling)?);
        Ok(Pass { width, hold: tiling.hold(width), ..pass })
    }

    fn columns(&self, kernel: Kernel) -> Result<Pass, SpecError> {
        let block = &self.problem.block;
        let tiling = columns::Tiling::new(block, self.capabilities, self.width);
        let workgroups = tiling.workgroups(block);
        let pitch = block.k * block.s;
        let rows = tiling.row_lanes * tiling.rows_per_lane;
        let tall =
            Layout { units: block.b, length: block.r * pitch, parts: block.r.div_ceil(rows), tile: rows * pitch };
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
            ..Work::default()
        };
        Ok(self.pass(kernel, Team::apart(tiling.workgroup_size), work, windows))
    }

    fn merge(&self, stats: &Pass, track: bool) -> Result<Pass, SpecError> {
        let Block { r, k, s, .. } = self.problem.block;
        let groups = self.problem.block.groups();
        let work = if stats.kernel == Kernel::StatsColumns {
            let tiles = stats.work.row_tiles;
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
        Ok(Pass { track, ..self.small(Kernel::Merge, team, work, groups)? })
    }
}
