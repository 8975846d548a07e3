//! The entry points.

/// An entry point: a file of `shaders/kernels/`, whose first lines say what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kernel {
    FusedRows,
    FusedColumns,
    FusedTallColumns,
    StatsRows,
    StatsColumns,
    Merge,
    ApplyRows,
    ApplyColumns,
    ApplyPairs,
    RunningStatistics,
    CountBatch,
    BackwardFusedRows,
    BackwardFusedTallColumns,
    BackwardFusedParameters,
    SumsRows,
    SumsColumns,
    SumsBeside,
    MergeSums,
    BackwardApplyRows,
    BackwardApplyColumns,
    BackwardApplyPairs,
}

impl Kernel {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::FusedRows => "kernels/forward/fused_rows",
            Self::FusedColumns => "kernels/forward/fused_columns",
            Self::FusedTallColumns => "kernels/forward/fused_tall_columns",
            Self::StatsRows => "kernels/forward/stats_rows",
            Self::StatsColumns => "kernels/forward/stats_columns",
            Self::Merge => "kernels/forward/merge",
            Self::ApplyRows => "kernels/forward/apply_rows",
            Self::ApplyColumns => "kernels/forward/apply_columns",
            Self::ApplyPairs => "kernels/forward/apply_pairs",
            Self::RunningStatistics => "kernels/forward/running_statistics",
            Self::CountBatch => "kernels/forward/count_batch",
            Self::BackwardFusedRows => "kernels/backward/fused_rows",
            Self::BackwardFusedTallColumns => "kernels/backward/fused_tall_columns",
            Self::BackwardFusedParameters => "kernels/backward/fused_parameters",
            Self::SumsRows => "kernels/backward/sums_rows",
            Self::SumsColumns => "kernels/backward/sums_columns",
            Self::SumsBeside => "kernels/backward/sums_beside",
            Self::MergeSums => "kernels/backward/merge_sums",
            Self::BackwardApplyRows => "kernels/backward/apply_rows",
            Self::BackwardApplyColumns => "kernels/backward/apply_columns",
            Self::BackwardApplyPairs => "kernels/backward/apply_pairs",
        }
    }

    /// As plans name it: that of its file, after `backward_` for the backward ones that fuse or apply.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BackwardFusedRows => "backward_fused_rows",
            Self::BackwardFusedTallColumns => "backward_fused_tall_columns",
            Self::BackwardFusedParameters => "backward_fused_parameters",
            Self::BackwardApplyRows => "backward_apply_rows",
            Self::BackwardApplyColumns => "backward_apply_columns",
            Self::BackwardApplyPairs => "backward_apply_pairs",
            forward => forward.path().rsplit('/').next().unwrap_or_default(),
        }
    }

    /// Whether it is of a backward pass, where nothing comes before `x`.
    pub(crate) fn goes_back(self) -> bool {
        self.path().starts_with("kernels/backward/")
    }

    /// Whether it works on tiles along `S`.
    pub(crate) fn by_rows(self) -> bool {
        self.path().ends_with("_rows") || self == Self::BackwardFusedParameters
    }

    /// Whether it stores elements of tiles along `S`.
    pub(crate) fn stores_rows(self) -> bool {
        matches!(self, Self::FusedRows | Self::ApplyRows | Self::BackwardFusedRows | Self::BackwardApplyRows)
    }

    /// Whether its lanes take all rows of columns, first for statistics or sums, and then again.
    pub(crate) fn takes_whole_columns(self) -> bool {
        matches!(self, Self::FusedTallColumns | Self::BackwardFusedTallColumns)
    }

    /// Whether it works on tiles down `R`.
    pub(crate) fn by_columns(self) -> bool {
        self.path().ends_with("_columns")
    }

    /// Whether it works on as many groups at a time as a pack has elements.
    pub(super) fn takes_neighbours(self) -> bool {
        self.by_columns() || self == Self::SumsBeside
    }

    /// How many numbers a lane keeps for each element of its tile, where it keeps any: `x`, on the way back g, and two sums for weight
    /// and bias.
    pub(crate) fn tensors_held(self) -> u64 {
        match self {
            Self::BackwardFusedParameters => 4,
            Self::BackwardFusedRows => 2,
            _ => 1,
        }
    }
}
