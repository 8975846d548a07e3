//! Tiles across the contiguous `K * S` and down `R`.

use super::Capabilities;
use super::window::most_elements;
use crate::block::Block;
use crate::shader::Width;

/// Rows that a lane reads as one chunk, as in `shaders/stats_columns.wgsl`.
const CHUNK: u64 = 8;

/// A lane's chain of merges stays at 64.
const MOST_ROWS: u64 = 64 * CHUNK;

/// Lanes that keep a GPU busy, and a software adapter.
const GPU_LANES: u64 = 1 << 16;
const SOFTWARE_LANES: u64 = 1 << 11;

pub(super) struct Tiling {
    pub(super) workgroup_size: u32,
    pub(super) column_lanes: u64,
    pub(super) row_lanes: u64,
    pub(super) column_blocks: u64,
    pub(super) rows_per_lane: u64,
    /// Partials of one column: lanes down, over all workgroups.
    pub(super) row_tiles: u64,
}

impl Tiling {
    pub(super) fn new(block: &Block, capabilities: &Capabilities, width: Width) -> Self {
        let workgroup_size = capabilities.workgroup_size(if capabilities.software { 64 } else { 256 }, 1);
        let packs = (block.k * block.s).div_ceil(u64::from(width.elements()));
        let column_lanes = packs.min(u64::from(workgroup_size));
        let busy = if capabilities.software { SOFTWARE_LANES } else { GPU_LANES };
        let rows_per_lane = (block.b * packs * block.r / busy).clamp(2 * CHUNK, MOST_ROWS);
        // No lane without a chunk of rows, if the others can do its work; and no more rows than a binding holds.
        let most = (most_elements(capabilities) / (block.k * block.s)).max(1);
        let row_lanes = (u64::from(workgroup_size) / column_lanes).min(block.r.div_ceil(CHUNK)).min(most);
        let rows_per_lane = rows_per_lane.min(most / row_lanes);
        Self {
            workgroup_size,
            column_lanes,
            row_lanes,
            column_blocks: packs.div_ceil(column_lanes),
            rows_per_lane,
            row_tiles: block.r.div_ceil(row_lanes * rows_per_lane) * row_lanes,
        }
    }

    pub(super) fn workgroups(&self, block: &Block) -> u64 {
        block.b * self.column_blocks * (self.row_tiles / self.row_lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_those_of_the_shader() {
        let wgsl = include_str!("../../shaders/stats_columns.wgsl");
        assert!(wgsl.contains(&format!("const CHUNK: u32 = {CHUNK}u;")));
    }
}
