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
}

/// What the last pass normalizes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Known {
    /// What the merge left.
    Merged,
    /// Running mean and variance.
    Running,
    /// What the merge left, and another pass adds the bias.
    Scaled,
    /// Nothing: this pass adds the bias.
    Nothing,
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
}

impl Constants {
    pub(crate) fn values(self) -> [(&'static str, f64); 8] {
        [
            ("workgroup_size", f64::from(self.workgroup_size)),
            ("lanes", f64::from(self.lanes)),
            ("across_subgroups", f64::from(u8::from(self.across_subgroups))),
            ("subtract_mean", f64::from(u8::from(self.subtract_mean))),
            ("scaling", f64::from(self.scaling)),
            ("hide_subtractions", f64::from(u8::from(self.hide_subtractions))),
            ("span", f64::from(self.span)),
            ("whole", f64::from(u8::from(self.whole))),
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
        }
    }

    /// How often the pass reads or writes a tensor of `x`'s size.
    pub(crate) fn tensors_moved(self) -> u64 {
        match self {
            Self::FusedRows | Self::FusedColumns | Self::ApplyRows | Self::ApplyColumns => 2,
            Self::StatsRows | Self::StatsColumns => 1,
            Self::Merge | Self::CountBatch | Self::RunningStatistics => 0,
        }
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
        }
    }

    fn by_rows(self) -> bool {
        matches!(self, Self::FusedRows | Self::StatsRows | Self::ApplyRows)
    }

    fn by_columns(self) -> bool {
        matches!(self, Self::StatsColumns | Self::ApplyColumns | Self::FusedColumns)
    }

    /// Whether it computes the statistics of a tile.
    fn measures(self) -> bool {
        matches!(self, Self::FusedRows | Self::StatsRows)
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
        }
    }
}

impl Known {
    fn source(self) -> &'static str {
        match self {
            Self::Merged | Self::Scaled => fragment!("known/merged.wgsl"),
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
                Affine::Divided => [fragment!("ragged/divided.wgsl"), fragment!("ragged/edge.wgsl")],
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
        let kernel = self.kernel;
        let mut parts = vec![fragment!("params.wgsl")];
        if kernel != Kernel::CountBatch {
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
        if matches!(kernel, Kernel::StatsColumns | Kernel::FusedColumns) {
            parts.push(fragment!("chunk_statistics.wgsl"));
        }
        if kernel.measures() && self.width != Width::Ragged {
            parts.push(fragment!("held_statistics.wgsl"));
            parts.extend(match self.hold {
                Hold::Registers(_) => vec![fragment!("reduce/tree.wgsl"), fragment!("hold/registers.wgsl")],
                _ => vec![fragment!("reduce/merge_lanes.wgsl"), fragment!("hold/stream.wgsl")],
            });
        }
        let exchanges_partials = kernel == Kernel::Merge || matches!(self.hold, Hold::Stream(_));
        if kernel == Kernel::StatsRows || exchanges_partials {
            parts.push(fragment!("record.wgsl"));
        }
        if matches!(kernel, Kernel::FusedRows | Kernel::ApplyRows) && self.width != Width::Ragged {
            parts.extend([self.affine.source(), fragment!("normalize.wgsl")]);
        }
        if matches!(kernel, Kernel::FusedRows | Kernel::FusedColumns | Kernel::ApplyRows | Kernel::ApplyColumns) {
            parts.push(fragment!("affine/index.wgsl"));
        }
        if matches!(kernel, Kernel::ApplyRows | Kernel::ApplyColumns | Kernel::RunningStatistics) {
            parts.push(self.known.source());
        }
        if matches!(kernel, Kernel::FusedRows | Kernel::FusedColumns | Kernel::Merge) || self.known == Known::Running {
            parts.push(fragment!("factor.wgsl"));
        }
        if kernel == Kernel::RunningStatistics {
            parts.push(fragment!("team.wgsl"));
        }
        if kernel == Kernel::Merge {
            parts.extend([fragment!("team.wgsl"), fragment!("reduce/merge_lanes.wgsl")]);
            parts.push(if self.track { fragment!("track.wgsl") } else { fragment!("no_track.wgsl") });
        }
        parts.push(kernel.source());
        let mut source = parts.join("\n");
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
        source.push_str(&tensor::declarations(self));
        if self.width == Width::Ragged {
            source.push_str(&ragged::constants(self));
        }
        source
    }
}
