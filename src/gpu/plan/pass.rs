//! One pass: a kernel, how its lanes share the work, and over what.

use std::fmt;

use super::Window;
use crate::gpu::shader::{Affine, Hold, Kernel, Known, Reduction, Width};
use crate::mapping::Mapping;

/// One step of a plan: a dispatch, or several if a tensor is larger than a storage binding.
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

impl Pass {
    /// The kernel's name: `fused_rows`, `stats_columns`, ...
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kernel.name()
    }

    /// Number of workgroups that are dispatched.
    #[must_use]
    pub fn workgroups(&self) -> u64 {
        self.windows.iter().map(|window| window.grid.workgroups).sum()
    }

    /// Invocations per workgroup.
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
    pub(super) fn apart(workgroup_size: u32) -> Self {
        Self { workgroup_size, lanes: 1, reduction: Reduction::Alone, across_subgroups: false }
    }
}
