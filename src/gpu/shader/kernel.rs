//! The entry points, and what each of them does.

use super::{Known, fragment};
use crate::tensors::Role;

/// An entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kernel {
    /// Statistics and normalization of groups that fit a tile.
    FusedRows,
    /// Partials of tiles along `S`.
    StatsRows,
    /// Partials of tiles down `R`.
    StatsColumns,
    /// Partials to statistics.
    Merge,
    /// Normalization of tiles along `S`.
    ApplyRows,
    /// Normalization of tiles down `R`.
    ApplyColumns,
    /// Statistics and normalization of columns that are a group each.
    FusedColumns,
    /// Running statistics to those of the merge.
    RunningStatistics,
    /// One more batch seen.
    CountBatch,
    /// Gradients of groups that fit a tile.
    BackwardFusedRows,
    /// The same, and sums of elements that share a weight.
    BackwardFusedParameters,
    /// Sums of tiles along `S`, of a group's parts.
    SumsRows,
    /// Sums of tiles along `S`, of elements that share a weight.
    ChannelSumsRows,
    /// Sums of tiles down `R`, of elements that share a weight.
    ChannelSumsColumns,
    /// Partial sums to those of groups.
    MergeSums,
    /// Partial sums of channels to those of groups.
    MergeWeighted,
    /// Partial sums to the gradients of weight and bias.
    MergeParameters,
    /// Gradients of tiles along `S`.
    BackwardApplyRows,
    /// Gradients of tiles down `R`.
    BackwardApplyColumns,
}

impl Kernel {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FusedRows => "fused_rows",
            Self::StatsRows => "stats_rows",
            Self::StatsColumns => "stats_columns",
            Self::Merge => "merge",
            Self::ApplyRows => "apply_rows",
            Self::ApplyColumns => "apply_columns",
            Self::CountBatch => "count_batch",
            Self::FusedColumns => "fused_columns",
            Self::RunningStatistics => "running_statistics",
            Self::BackwardFusedRows => "backward_fused_rows",
            Self::BackwardFusedParameters => "backward_fused_parameters",
            Self::SumsRows => "sums_rows",
            Self::ChannelSumsRows => "channel_sums_rows",
            Self::ChannelSumsColumns => "channel_sums_columns",
            Self::MergeSums => "merge_sums",
            Self::MergeWeighted => "merge_weighted_sums",
            Self::MergeParameters => "merge_parameters",
            Self::BackwardApplyRows => "backward_apply_rows",
            Self::BackwardApplyColumns => "backward_apply_columns",
        }
    }

    /// How often the pass reads or writes a tensor of `x`'s size, residuals left out.
    pub(crate) fn tensors_moved(self, known: Known) -> u64 {
        if matches!((self, known), (Self::ApplyRows | Self::ApplyColumns, Known::Nothing)) {
            return 2;
        }
        let large = [Role::X, Role::Y, Role::GradOutput, Role::GradInput];
        self.roles(known).iter().filter(|(role, _)| large.contains(role)).count() as u64
    }

    /// How many numbers a lane keeps for each element of its tile, where it keeps any.
    pub(crate) fn tensors_held(self) -> u64 {
        if self.fuses_backward() { 2 } else { 1 }
    }

    pub(super) fn source(self) -> &'static str {
        match self {
            Self::FusedRows => fragment!("fused_rows.wgsl"),
            Self::StatsRows => fragment!("stats_rows.wgsl"),
            Self::StatsColumns => fragment!("stats_columns.wgsl"),
            Self::Merge => fragment!("merge.wgsl"),
            Self::ApplyRows => fragment!("apply_rows.wgsl"),
            Self::ApplyColumns => fragment!("apply_columns.wgsl"),
            Self::CountBatch => fragment!("count_batch.wgsl"),
            Self::FusedColumns => fragment!("fused_columns.wgsl"),
            Self::RunningStatistics => fragment!("running_statistics.wgsl"),
            Self::BackwardFusedRows => fragment!("backward/fused_rows.wgsl"),
            Self::BackwardFusedParameters => fragment!("backward/fused_parameters.wgsl"),
            Self::SumsRows | Self::ChannelSumsRows => fragment!("backward/sums_rows.wgsl"),
            Self::ChannelSumsColumns => fragment!("backward/sums_columns.wgsl"),
            Self::MergeSums | Self::MergeWeighted | Self::MergeParameters => fragment!("backward/merge_sums.wgsl"),
            Self::BackwardApplyRows => fragment!("backward/apply_rows.wgsl"),
            Self::BackwardApplyColumns => fragment!("backward/apply_columns.wgsl"),
        }
    }

    pub(super) fn by_rows(self) -> bool {
        matches!(self, Self::FusedRows | Self::StatsRows | Self::ApplyRows) || self.goes_back_by_rows()
    }

    /// Whether it works on tiles along `S` for a gradient.
    pub(super) fn goes_back_by_rows(self) -> bool {
        matches!(self, Self::SumsRows | Self::ChannelSumsRows | Self::BackwardApplyRows) || self.fuses_backward()
    }

    pub(crate) fn by_columns(self) -> bool {
        matches!(
            self,
            Self::StatsColumns
                | Self::ApplyColumns
                | Self::FusedColumns
                | Self::ChannelSumsColumns
                | Self::BackwardApplyColumns
        )
    }

    /// Whether it computes the statistics of a tile.
    pub(super) fn measures(self) -> bool {
        matches!(self, Self::FusedRows | Self::StatsRows) || self.fuses_backward()
    }

    /// Whether it computes the gradients of a whole group.
    pub(super) fn fuses_backward(self) -> bool {
        matches!(self, Self::BackwardFusedRows | Self::BackwardFusedParameters)
    }

    pub(super) fn merges_sums(self) -> bool {
        matches!(self, Self::MergeSums | Self::MergeWeighted | Self::MergeParameters)
    }
}
