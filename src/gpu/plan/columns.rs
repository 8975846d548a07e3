//! Tiles across the contiguous `K * S` and down `R`.

use super::window::most_elements;
use super::{Capabilities, Tuning};
use crate::block::Block;
use crate::gpu::shader::{Hold, Kernel, Width};
use crate::mapping::Mapping;

/// Rows that a lane reads as one chunk.
const CHUNK: u64 = 8;

/// A lane's chain of merges stays at 64.
const MOST_ROWS: u64 = 64 * CHUNK;

/// Rows of a lane where they may depend on nothing else.
const INVARIANT_ROWS: u64 = 16 * CHUNK;

/// Packs that a lane reads before it stores any, where all are stored and it has one of a row. On an H100, in times that a copy of the tensor takes,
/// `apply_columns` of 8x32x32x256 with 1, 2, 4 and 8: 1.76, 1.42, 1.26 and 1.17; backward, where a row has two, with 2, 4, 8 and 16: 2.01, 1.71,
/// 1.53 and 1.54, but 8 leave navi21 room for 12 waves of 32.
const APPLIED_AT_ONCE: u64 = 4;

/// Lanes that keep a GPU busy; `sums_columns` takes twice as many. Then those of a software adapter. On an H100, sums of 100352x64 and of
/// LayerNorm over channels of 8x512x64x64 take 1.26 and 1.60 copies with 2^16, and 1.21 and 1.23 with twice; statistics 0.71 and 0.60, and then
/// 0.76 and 0.68.
const GPU_LANES: u64 = 1 << 16;
const SOFTWARE_LANES: u64 = 1 << 11;

/// Most rows that are taken for one.
const MOST_FOLD: u64 = 64;

/// Neighbouring quads, or elements, of a software adapter's lane, best first: about a cache line, which lanes that take
/// turns should not share.
const SOFTWARE_QUADS: [u64; 6] = [8, 4, 5, 3, 2, 1];
const SOFTWARE_SCALARS: [u64; 5] = [16, 8, 4, 2, 1];

/// Columns of a software adapter's lane that takes two lines, so that those of a subgroup go through memory in longer pieces; and lanes of
/// its workgroups.
const TWO_LINES: u64 = 32;
const SOFTWARE_WORKGROUP: u32 = 8;

/// The most rows of a column that is a group and is held whole.
pub(super) const LONGEST_FUSED: u64 = 8;

/// Packs that a lane holds in all when it holds whole columns.
const MOST_HELD: u64 = 32;

/// The most rows of a column that a lane of a software adapter reads again from its cache, and the neighbouring quads it takes then: a line.
const MOST_CACHED: u64 = MOST_ROWS;
pub(super) const CACHED_QUADS: u64 = 4;

pub(super) struct Tiling {
    pub(super) workgroup_size: u32,
    pub(super) width: Width,
    /// Neighbouring packs of columns that fall to a lane.
    span: u64,
    /// Neighbouring rows that are taken for one.
    pub(super) fold: u64,
    /// Rows of one `b` and columns of a row, both folded.
    pub(super) rows: u64,
    pub(super) pitch: u64,
    pub(super) column_lanes: u64,
    pub(super) row_lanes: u64,
    pub(super) column_blocks: u64,
    pub(super) rows_per_lane: u64,
    /// Partials of one folded column: lanes down, over all workgroups.
    pub(super) row_tiles: u64,
}

impl Tiling {
    /// How many lanes there are goes by `kernel`. `width` is the widest loads that the tensors allow, `together` the most packs that a lane of a
    /// software adapter takes at once. Where each row has a weight, rows are folded only if loads are wider for it.
    pub(super) fn new(
        kernel: Kernel,
        mapping: &Mapping,
        capabilities: &Capabilities,
        width: Width,
        together: u64,
        tuning: Tuning,
    ) -> Self {
        let Mapping { block, index, .. } = mapping;
        let whole = index.r_mul > 0 && (block.k * block.s).is_multiple_of(width.elements().into());
        let fold_most = if tuning == Tuning::BatchInvariant || whole { 1 } else { MOST_FOLD };
        Self::folding(kernel, block, capabilities, (width, together), tuning, [fold_most, u64::MAX])
    }

    /// For sums, with each row for itself, as their statistics differ, and `most_rows` to a tile.
    pub(super) fn unfolded(
        block: &Block,
        capabilities: &Capabilities,
        width: Width,
        together: u64,
        tuning: Tuning,
        most_rows: u64,
    ) -> Self {
        Self::folding(Kernel::SumsColumns, block, capabilities, (width, together), tuning, [1, most_rows])
    }

    fn folding(
        kernel: Kernel,
        block: &Block,
        capabilities: &Capabilities,
        (width, together): (Width, u64),
        tuning: Tuning,
        [fold_most, most_rows]: [u64; 2],
    ) -> Self {
        let columns = block.k * block.s;
        // Chunks are as long whatever the number of columns then.
        let together = if tuning == Tuning::BatchInvariant { 1 } else { together };
        let (width, fold, span) = layout(columns, block.r, width, capabilities.software.then_some(together), fold_most);
        let (rows, pitch) = (block.r / fold, columns * fold);
        let workgroup_size = workgroup_size(capabilities);
        let strips = pitch / (u64::from(width.elements()) * span);
        let column_lanes = strips.min(u64::from(workgroup_size));
        // No lane without a chunk of rows, if the others can do its work; and no more rows than a binding holds.
        let most = (most_elements(capabilities) / pitch).min(most_rows).max(1);
        let (row_lanes, rows_per_lane) = if tuning == Tuning::BatchInvariant {
            (1, INVARIANT_ROWS)
        } else {
            let busy = match kernel {
                _ if capabilities.software => SOFTWARE_LANES,
                Kernel::SumsColumns => 2 * GPU_LANES,
                _ => GPU_LANES,
            };
            let rows_per_lane = (block.b * strips * rows / busy).next_multiple_of(CHUNK).clamp(2 * CHUNK, MOST_ROWS);
            let least = if capabilities.software { rows_per_lane } else { CHUNK };
            ((u64::from(workgroup_size) / column_lanes).min(rows.div_ceil(least)), rows_per_lane)
        };
        let row_lanes = row_lanes.min(most);
        let rows_per_lane = rows_per_lane.min(most / row_lanes);
        Self {
            workgroup_size,
            width,
            span,
            fold,
            rows,
            pitch,
            column_lanes,
            row_lanes,
            column_blocks: strips.div_ceil(column_lanes),
            rows_per_lane,
            row_tiles: rows.div_ceil(row_lanes * rows_per_lane) * row_lanes,
        }
    }

    /// Whole columns to a lane, which holds them.
    pub(super) fn fused(block: &Block, capabilities: &Capabilities, width: Width, together: u64) -> Self {
        let columns = block.k * block.s;
        let (width, _, span) = layout(columns, block.r, width, capabilities.software.then_some(together), 1);
        // As many of the neighbours as there is room for.
        let most = (MOST_HELD / block.r).max(1);
        let span = (1..=span.min(most)).rev().find(|&some| span.is_multiple_of(some)).unwrap_or(1);
        Self::whole(block, capabilities, width, span)
    }

    /// Whole columns to a lane of a software adapter, which reads them again from its cache.
    pub(super) fn cached(block: &Block, capabilities: &Capabilities, width: Width) -> Self {
        let columns = block.k * block.s;
        let width = if columns.is_multiple_of(4) { width } else { Width::Scalar };
        let line = CACHED_QUADS * 4;
        let busy = columns >= line * u64::from(workgroup_size(capabilities));
        let span = if width == Width::Quad && columns.is_multiple_of(line) && busy { CACHED_QUADS } else { 1 };
        Self::whole(block, capabilities, width, span)
    }

    /// Whether that serves: they are not too long, and at least one workgroup has work for all of its lanes.
    pub(super) fn is_cached(&self) -> bool {
        self.rows <= MOST_CACHED && self.column_lanes == u64::from(self.workgroup_size)
    }

    fn whole(block: &Block, capabilities: &Capabilities, width: Width, span: u64) -> Self {
        let columns = block.k * block.s;
        let workgroup_size = workgroup_size(capabilities);
        let strips = columns / (u64::from(width.elements()) * span);
        let column_lanes = strips.min(u64::from(workgroup_size));
        Self {
            workgroup_size,
            width,
            span,
            fold: 1,
            rows: block.r,
            pitch: columns,
            column_lanes,
            row_lanes: 1,
            column_blocks: strips.div_ceil(column_lanes),
            rows_per_lane: block.r,
            row_tiles: 1,
        }
    }

    pub(super) fn workgroups(&self, block: &Block) -> u64 {
        block.b * self.column_blocks * (self.row_tiles / self.row_lanes)
    }

    /// What a lane holds of its columns: all, or a chunk of rows; or how many rows it reads before it stores them, one alone where it has
    /// several packs of each, since compilers of software adapters unroll only short loops.
    pub(super) fn hold(&self, kernel: Kernel) -> Hold {
        let rows = match kernel {
            Kernel::FusedColumns => self.rows,
            Kernel::ApplyColumns | Kernel::BackwardApplyColumns if self.span > 1 => 1,
            Kernel::ApplyColumns => APPLIED_AT_ONCE,
            Kernel::BackwardApplyColumns => APPLIED_AT_ONCE / 2,
            // No more than the compiler of a software adapter unrolls in reasonable time.
            _ => CHUNK.min((MOST_HELD / self.span).next_power_of_two()),
        };
        Hold::Columns { rows: rows as u32, span: self.span as u32 }
    }
}

fn workgroup_size(capabilities: &Capabilities) -> u32 {
    // On software the subgroups of a workgroup run one after the other, so more than one would go over the same rows as
    // often.
    capabilities.workgroup_size(if capabilities.software { SOFTWARE_WORKGROUP } else { 256 }, 1)
}

/// Width of loads, rows taken for one, and neighbouring packs of a lane, which together divide a row. A lane of a software adapter takes
/// at most `together` quads.
fn layout(columns: u64, rows: u64, widest: Width, together: Option<u64>, most_fold: u64) -> (Width, u64, u64) {
    // Where that leaves hardly a lane without work.
    let (strips, lanes) = ((columns / TWO_LINES).max(1), u64::from(SOFTWARE_WORKGROUP));
    let one_line = usize::from(strips.next_multiple_of(lanes) * 8 > strips * 9);
    let (quads, scalars, most) = match together {
        Some(most) => (&SOFTWARE_QUADS[one_line..], &SOFTWARE_SCALARS[..], most),
        None => (&[1][..], &[1][..], 1),
    };
    let spans = |width: Width, spans: &[u64], most: u64| {
        let few = spans.iter().filter(move |&&span| span <= most);
        few.map(move |&span| (width, span)).collect::<Vec<_>>()
    };
    let mut wanted = if widest == Width::Quad { spans(Width::Quad, quads, most) } else { Vec::new() };
    wanted.extend(spans(Width::Scalar, scalars, 4 * most));
    for (width, span) in wanted {
        let folds = (1..=most_fold.min(rows)).filter(|fold| rows.is_multiple_of(*fold));
        for fold in folds {
            if (columns * fold).is_multiple_of(u64::from(width.elements()) * span) {
                return (width, fold, span);
            }
        }
    }
    (Width::Scalar, 1, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fold_until_quads_fit() {
        // 3 channels: four rows to three quads; a prime number of rows leaves scalars.
        assert_eq!(layout(3, 50_176, Width::Quad, None, MOST_FOLD), (Width::Quad, 4, 1));
        assert_eq!(layout(3, 49, Width::Quad, None, MOST_FOLD), (Width::Scalar, 1, 1));
        assert_eq!(layout(64, 100, Width::Scalar, None, MOST_FOLD), (Width::Scalar, 1, 1));
        // A lane of a software adapter has a line to itself.
        assert_eq!(layout(64, 100_352, Width::Quad, Some(8), MOST_FOLD), (Width::Quad, 1, 4));
        assert_eq!(layout(3, 50_176, Width::Quad, Some(8), MOST_FOLD), (Width::Quad, 16, 4));
        assert_eq!(layout(100, 7, Width::Quad, Some(8), MOST_FOLD), (Width::Quad, 1, 5));
        assert_eq!(layout(1, 1, Width::Quad, Some(8), MOST_FOLD), (Width::Scalar, 1, 1));
        // Or two, where eight lanes have as much: 256 columns, but not 320; and no more than it may take at once.
        assert_eq!(layout(256, 1, Width::Quad, Some(8), 1), (Width::Quad, 1, 8));
        assert_eq!(layout(320, 1, Width::Quad, Some(8), 1), (Width::Quad, 1, 4));
        assert_eq!(layout(256, 1, Width::Quad, Some(2), 1), (Width::Quad, 1, 2));
        assert_eq!(layout(256, 1, Width::Scalar, Some(2), 1), (Width::Scalar, 1, 8));
    }
}
