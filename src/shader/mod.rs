//! From a variant to its WGSL: fragments of `shaders/` are joined; WGSL does not mind the order of declarations.
//!
//! Only what types cannot express is a choice of fragments: vector width, registers a lane holds, which tensors are
//! bound, how lanes exchange values. All else is an override constant or a uniform.

mod all;
mod ragged;
mod tensor;

pub use all::{ShaderVariant, shader_variants};
pub(crate) use ragged::bind_words;
pub(crate) use tensor::{Access, Role, TensorBinding};

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

/// Elements of one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Width {
    Scalar,
    Quad,
    /// Quads of rows that start and end within one.
    Ragged,
}

/// Where a lane keeps its part of a tile between statistics and normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Hold {
    /// All of it, so many packs, in registers.
    Registers(u32),
    /// So many packs at a time: it reads them again.
    Stream(u32),
    /// By columns: so many rows at a time, of so many neighbouring packs one after the other.
    Chunk { rows: u32, span: u32 },
    /// Nothing.
    None,
}

/// How weight and bias run along `S`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Affine {
    Constant,
    Element,
    /// As `Element`, each loaded by one of several lanes.
    Shared,
    Divided,
    /// As `Divided`, the same for several packs of a lane.
    Stepped,
}

/// What a pass goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Known {
    /// What the merge left.
    Merged,
    /// Running mean and variance.
    Running,
    /// What the merge left, and another pass adds the bias.
    Scaled,
    /// Nothing: this pass adds the bias, or computes what it goes by.
    Nothing,
    /// What parts of the batch have left with the caller.
    Given,
    /// As merged, and what this pass finds is left with the caller.
    Kept,
}

/// How lanes exchange values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reduction {
    Alone,
    Workgroup,
    Subgroup,
}

/// Everything that decides the text of a shader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    pub(crate) kernel: Kernel,
    pub(crate) width: Width,
    pub(crate) hold: Hold,
    pub(crate) affine: Affine,
    pub(crate) known: Known,
    pub(crate) track: bool,
    pub(crate) reduction: Reduction,
    /// Packs that a lane reads before it writes the first of them; where weights are shared, as many lanes share them.
    pub(crate) together: u32,
    /// What is bound, from binding 1 on; binding 0 is the uniform.
    pub(crate) tensors: Vec<TensorBinding>,
    /// Tensors that are read through the binding of another, which overwrites them.
    pub(crate) overwritten: Vec<(Role, Role)>,
}

/// The override constants, as in `shaders/params.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    pub(crate) workgroup_size: u32,
    pub(crate) lanes: u32,
    pub(crate) across_subgroups: bool,
    pub(crate) subtract_mean: bool,
    pub(crate) scaling: u32,
    pub(crate) hide_subtractions: bool,
    pub(crate) span: u32,
    pub(crate) whole: bool,
    pub(crate) same_parameters: bool,
    pub(crate) through_statistics: bool,
    pub(crate) statistics_by: u32,
}

impl Constants {
    pub(crate) fn values(self) -> [(&'static str, f64); 11] {
        [
            ("workgroup_size", f64::from(self.workgroup_size)),
            ("lanes", f64::from(self.lanes)),
            ("across_subgroups", f64::from(u8::from(self.across_subgroups))),
            ("subtract_mean", f64::from(u8::from(self.subtract_mean))),
            ("scaling", f64::from(self.scaling)),
            ("hide_subtractions", f64::from(u8::from(self.hide_subtractions))),
            ("span", f64::from(self.span)),
            ("whole", f64::from(u8::from(self.whole))),
            ("same_parameters", f64::from(u8::from(self.same_parameters))),
            ("through_statistics", f64::from(u8::from(self.through_statistics))),
            ("statistics_by", f64::from(self.statistics_by)),
        ]
    }
}

/// The entry point of every shader.
pub(crate) const ENTRY: &str = "main";

macro_rules! fragment {
    ($path:literal) => {
        include_str!(concat!("../../shaders/", $path))
    };
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

    fn source(self) -> &'static str {
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

    fn by_rows(self) -> bool {
        self.may_be_ragged() || self.goes_back_by_rows()
    }

    /// Whether there are fragments of it for ragged rows.
    pub(crate) fn may_be_ragged(self) -> bool {
        matches!(self, Self::FusedRows | Self::StatsRows | Self::ApplyRows)
    }

    /// Whether it works on tiles along `S` for a gradient.
    fn goes_back_by_rows(self) -> bool {
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
    fn measures(self) -> bool {
        matches!(self, Self::FusedRows | Self::StatsRows) || self.fuses_backward()
    }

    /// Whether it computes the gradients of a whole group.
    fn fuses_backward(self) -> bool {
        matches!(self, Self::BackwardFusedRows | Self::BackwardFusedParameters)
    }

    fn merges_sums(self) -> bool {
        matches!(self, Self::MergeSums | Self::MergeWeighted | Self::MergeParameters)
    }
}

impl Width {
    pub(crate) fn elements(self) -> u32 {
        match self {
            Self::Scalar => 1,
            Self::Quad | Self::Ragged => 4,
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Scalar => fragment!("width/scalar.wgsl"),
            Self::Quad => fragment!("width/quad.wgsl"),
            Self::Ragged => fragment!("ragged/pack.wgsl"),
        }
    }
}

impl Affine {
    fn source(self) -> &'static str {
        match self {
            Self::Constant => fragment!("affine/constant.wgsl"),
            Self::Element => fragment!("affine/element.wgsl"),
            Self::Divided => fragment!("affine/divided.wgsl"),
            Self::Shared => fragment!("affine/shared.wgsl"),
            Self::Stepped => fragment!("affine/stepped.wgsl"),
        }
    }
}

impl Known {
    fn source(self) -> &'static str {
        match self {
            Self::Merged | Self::Scaled | Self::Given | Self::Kept => fragment!("known/merged.wgsl"),
            Self::Running => fragment!("known/running.wgsl"),
            Self::Nothing => fragment!("known/nothing.wgsl"),
        }
    }
}

impl Reduction {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Workgroup => "workgroup",
            Self::Subgroup => "subgroup",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Alone => fragment!("reduce/alone.wgsl"),
            Self::Workgroup => fragment!("reduce/workgroup.wgsl"),
            Self::Subgroup => fragment!("reduce/subgroup.wgsl"),
        }
    }
}

impl Variant {
    /// Whether weight and bias are read a pack at a time.
    fn packs_parameters(&self) -> bool {
        self.kernel.by_rows() && matches!(self.affine, Affine::Element | Affine::Shared)
    }

    /// What a kernel by rows is made of if those are ragged.
    fn ragged(&self) -> Vec<&'static str> {
        let mut parts = vec![fragment!("ragged/section.wgsl")];
        let registers = matches!(self.hold, Hold::Registers(_));
        if self.kernel.measures() {
            parts.push(fragment!("ragged/held.wgsl"));
        }
        if registers {
            parts.push(fragment!("ragged/registers.wgsl"));
        } else if self.kernel.measures() {
            parts.extend([fragment!("reduce/merge_lanes.wgsl"), fragment!("ragged/stream.wgsl")]);
        }
        if matches!(self.kernel, Kernel::FusedRows | Kernel::ApplyRows) {
            parts.push(fragment!("ragged/normalize.wgsl"));
            parts.extend(match self.affine {
                Affine::Constant => [self.affine.source(), fragment!("ragged/edge.wgsl")],
                // Never stepped: a pack may straddle two weights.
                Affine::Divided | Affine::Stepped => [fragment!("ragged/divided.wgsl"), fragment!("ragged/edge.wgsl")],
                Affine::Element | Affine::Shared => [self.affine.source(), fragment!("ragged/edge_words.wgsl")],
            });
            if !registers {
                parts.push(fragment!("ragged/reread.wgsl"));
            }
        }
        parts
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
        if self.width == Width::Ragged {
            source.push_str(&ragged::constants(self));
        }
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
            parts.extend([self.width.source(), self.reduction.source(), fragment!("statistics.wgsl")]);
            parts.push(if kernel.by_columns() {
                fragment!("width/value_pack.wgsl")
            } else {
                fragment!("width/value_scalar.wgsl")
            });
        }
        if kernel.by_rows() {
            parts.extend([fragment!("team.wgsl"), fragment!("rows.wgsl")]);
            if self.width == Width::Ragged {
                parts.extend(self.ragged());
            } else if !matches!(self.hold, Hold::Registers(_)) {
                parts.push(fragment!("hold/reread.wgsl"));
            }
        }
        if kernel.by_columns() {
            parts.push(fragment!("columns.wgsl"));
        }
        if matches!(kernel, StatsColumns | FusedColumns) {
            parts.push(fragment!("chunk_statistics.wgsl"));
        }
        if kernel.measures() && self.width != Width::Ragged {
            parts.push(fragment!("held_statistics.wgsl"));
            parts.extend(match self.hold {
                Hold::Registers(_) => vec![fragment!("hold/registers.wgsl")],
                _ => vec![fragment!("reduce/merge_lanes.wgsl"), fragment!("hold/stream.wgsl")],
            });
        }
        let sums_lanes =
            kernel.merges_sums() || kernel.fuses_backward() || matches!(kernel, SumsRows | ChannelSumsRows);
        let shares_registers = matches!(self.hold, Hold::Registers(_)) && self.width != Width::Ragged;
        if sums_lanes || (kernel.measures() && shares_registers) {
            parts.push(fragment!("reduce/tree.wgsl"));
        }
        let exchanges_partials = kernel == Merge || matches!(self.hold, Hold::Stream(_));
        if kernel == StatsRows || exchanges_partials {
            parts.push(fragment!("record.wgsl"));
        }
        if matches!(kernel, FusedRows | ApplyRows) && self.width != Width::Ragged {
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
