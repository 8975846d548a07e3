//! Along which axis a tensor is cut into tiles.

use super::planner::MOST_TOGETHER;
use super::{Capabilities, Tuning, columns, rows};
use crate::gpu::shader::{Kernel, Width};
use crate::mapping::Mapping;

/// How a tensor is cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traversal {
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
    pub(super) fn of(mapping: &Mapping, capabilities: &Capabilities, width: Width, tuning: Tuning) -> Self {
        let block = &mapping.block;
        if block.r == 1 {
            return Self::Rows;
        }
        if tuning == Tuning::BatchInvariant {
            return if block.s < LONG_RUN { Self::Columns } else { Self::Rows };
        }
        let by_rows = block.r * rows::parts(block.s, capabilities);
        // One answer for all passes of a norm.
        let columns = columns::Tiling::new(Kernel::StatsColumns, mapping, capabilities, width, MOST_TOGETHER, tuning);
        let by_columns = columns.row_tiles * columns.fold * block.s;
        if block.s < SHORT_RUN || by_columns <= by_rows { Self::Columns } else { Self::Rows }
    }
}
