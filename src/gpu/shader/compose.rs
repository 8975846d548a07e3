//! The fragments of a variant, joined.

use super::{Affine, Hold, Kernel, Known, Reduction, Variant, fragment, tensor};

impl Variant {
    /// Whether weight and bias are read a pack at a time.
    pub(super) fn packs_parameters(&self) -> bool {
        self.kernel.by_rows() && matches!(self.affine, Affine::Element | Affine::Shared)
    }

    /// The whole shader.
    pub(crate) fn source(&self) -> String {
        let mut source = self.fragments().join("\n");
        match self.hold {
            Hold::Registers(items) | Hold::Stream(items) => {
                source.push_str(&format!("\nconst ITEMS: u32 = {items}u;\n"));
            }
            Hold::Chunk { rows, span } => {
                source.push_str(&format!("\nconst CHUNK: u32 = {rows}u;\nconst SPAN: u32 = {span}u;\n"));
            }
            Hold::None => {}
        }
        source.push_str(&format!("\nconst TOGETHER: u32 = {}u;\n", self.together));
        let keeps_dy = self.kernel == Kernel::BackwardFusedParameters;
        if self.kernel.fuses_backward() {
            source.push_str(&format!("\nconst KEEPS_DY: bool = {keeps_dy};\n"));
        }
        source.push_str(&tensor::declarations(self));
        source
    }

    fn fragments(&self) -> Vec<&'static str> {
        use Kernel::{
            ApplyColumns, ApplyRows, BackwardApplyColumns, BackwardApplyRows, BackwardFusedRows, ChannelSumsColumns,
            ChannelSumsRows, CountBatch, FusedColumns, FusedRows, Merge, MergeParameters, RunningStatistics,
            StatsColumns, StatsRows, SumsRows,
        };
        let kernel = self.kernel;
        let mut parts = vec![fragment!("params.wgsl")];
        if kernel != CountBatch {
            parts.extend([
                self.width.source(),
                self.reduction.source(),
                fragment!("record.wgsl"),
                fragment!("statistics.wgsl"),
            ]);
            parts.push(if kernel.by_columns() {
                fragment!("width/value_pack.wgsl")
            } else {
                fragment!("width/value_scalar.wgsl")
            });
        }
        if kernel != CountBatch && self.reduction != Reduction::Alone {
            parts.push(fragment!("reduce/any_in_workgroup.wgsl"));
        }
        if kernel.by_rows() {
            parts.extend([fragment!("team.wgsl"), fragment!("rows.wgsl")]);
            if !matches!(self.hold, Hold::Registers(_)) {
                parts.push(fragment!("hold/reread.wgsl"));
            }
        }
        if kernel.by_columns() {
            parts.push(fragment!("columns.wgsl"));
        }
        if matches!(kernel, StatsColumns | FusedColumns) {
            parts.push(fragment!("chunk_statistics.wgsl"));
        }
        if kernel.measures() {
            parts.push(fragment!("held_statistics.wgsl"));
            parts.extend(match self.hold {
                Hold::Registers(_) => vec![fragment!("hold/registers.wgsl")],
                _ => vec![fragment!("reduce/merge_lanes.wgsl"), fragment!("hold/stream.wgsl")],
            });
        }
        let sums_lanes =
            kernel.merges_sums() || kernel.fuses_backward() || matches!(kernel, SumsRows | ChannelSumsRows);
        if sums_lanes || (kernel.measures() && matches!(self.hold, Hold::Registers(_))) {
            parts.push(fragment!("reduce/tree.wgsl"));
        }
        if matches!(kernel, StatsRows | StatsColumns) || (kernel == Merge && self.known == Known::Kept) {
            parts.push(fragment!("partial_record.wgsl"));
        }
        if matches!(kernel, FusedRows | ApplyRows) {
            parts.extend([self.affine.source(), fragment!("normalize.wgsl")]);
        }
        if kernel.goes_back_by_rows() {
            parts.push(self.affine.source());
        }
        if matches!(kernel, FusedRows | FusedColumns | ApplyRows | ApplyColumns | BackwardApplyColumns)
            || kernel.goes_back_by_rows()
            || kernel.merges_sums()
        {
            parts.push(fragment!("affine/index.wgsl"));
        }
        if matches!(kernel, ApplyRows | ApplyColumns | RunningStatistics) {
            parts.push(self.known.source());
        }
        if matches!(kernel, FusedRows | FusedColumns)
            || kernel.fuses_backward()
            || (self.known == Known::Running && matches!(kernel, ApplyRows | ApplyColumns | RunningStatistics))
        {
            parts.push(fragment!("factor.wgsl"));
        }
        if matches!(kernel, FusedRows | FusedColumns) || kernel.fuses_backward() {
            parts.push(fragment!("group_factor.wgsl"));
        }
        if kernel == RunningStatistics || kernel.merges_sums() {
            parts.push(fragment!("team.wgsl"));
        }
        if kernel == Merge {
            parts.extend([fragment!("team.wgsl"), fragment!("reduce/merge_lanes.wgsl")]);
            if self.known == Known::Kept {
                parts.push(fragment!("keep_moments.wgsl"));
            } else {
                parts.extend([fragment!("factor.wgsl"), fragment!("keep_statistics.wgsl")]);
                parts.push(if self.track { fragment!("track.wgsl") } else { fragment!("no_track.wgsl") });
            }
        }
        if matches!(kernel, BackwardApplyRows | BackwardApplyColumns) || kernel.fuses_backward() {
            parts.push(fragment!("backward/gradient.wgsl"));
        }
        if kernel == BackwardApplyRows || kernel.fuses_backward() {
            parts.push(fragment!("backward/store.wgsl"));
            parts.push(match self.hold {
                Hold::Registers(_) => fragment!("backward/registers.wgsl"),
                _ => fragment!("backward/reread.wgsl"),
            });
        }
        if kernel.fuses_backward() {
            parts.push(fragment!("backward/gradients.wgsl"));
            parts.push(match self.known {
                Known::Merged => fragment!("backward/saved.wgsl"),
                _ if kernel == BackwardFusedRows => fragment!("backward/computed.wgsl"),
                _ => fragment!("backward/forgotten.wgsl"),
            });
            if matches!(self.hold, Hold::Stream(_)) {
                parts.extend([fragment!("backward/stream.wgsl"), fragment!("backward/known_sums.wgsl")]);
            }
        }
        if matches!(kernel, SumsRows | ChannelSumsRows) {
            parts.push(fragment!("backward/known_sums.wgsl"));
        }
        if matches!(kernel, SumsRows | ChannelSumsRows | ChannelSumsColumns) {
            parts.push(fragment!("backward/group_at.wgsl"));
        }
        if kernel.merges_sums() {
            parts.push(match kernel {
                MergeParameters => fragment!("backward/keep_parameters.wgsl"),
                _ => fragment!("backward/keep_sums.wgsl"),
            });
        }
        parts.push(kernel.source());
        parts
    }
}
