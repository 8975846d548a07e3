//! From a variant to its WGSL: fragments of `shaders/` are joined; WGSL does not mind the order of declarations.
//!
//! Only what types cannot express is a choice of fragments: vector width, registers a lane holds, which tensors are
//! bound, how lanes exchange values. All else is an override constant or a uniform.

mod all;
mod tensor;

pub use all::{ShaderVariant, shader_variants};
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
    /// One more batch seen.
    CountBatch,
}

/// Elements of one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Width {
    Scalar,
    Quad,
}

/// Where a lane keeps its part of a tile between statistics and normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Hold {
    /// That many packs in registers.
    Registers(u32),
    /// Nowhere: it reads them again.
    Reread,
}

/// How weight and bias run along `S`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Affine {
    Constant,
    Element,
    Divided,
}

/// What the last pass normalizes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Known {
    /// What the merge left.
    Merged,
    /// Running mean and variance.
    Running,
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
}

impl Constants {
    pub(crate) fn values(self) -> [(&'static str, f64); 6] {
        [
            ("workgroup_size", f64::from(self.workgroup_size)),
            ("lanes", f64::from(self.lanes)),
            ("across_subgroups", f64::from(u8::from(self.across_subgroups))),
            ("subtract_mean", f64::from(u8::from(self.subtract_mean))),
            ("scaling", f64::from(self.scaling)),
            ("hide_subtractions", f64::from(u8::from(self.hide_subtractions))),
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
        }
    }

    /// How often the pass reads or writes a tensor of `x`'s size.
    pub(crate) fn tensors_moved(self) -> u64 {
        match self {
            Self::FusedRows | Self::ApplyRows | Self::ApplyColumns => 2,
            Self::StatsRows | Self::StatsColumns => 1,
            Self::Merge | Self::CountBatch => 0,
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
        }
    }

    fn by_rows(self) -> bool {
        matches!(self, Self::FusedRows | Self::StatsRows | Self::ApplyRows)
    }

    fn by_columns(self) -> bool {
        matches!(self, Self::StatsColumns | Self::ApplyColumns)
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
            Self::Quad => 4,
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Scalar => fragment!("width/scalar.wgsl"),
            Self::Quad => fragment!("width/quad.wgsl"),
        }
    }
}

impl Affine {
    fn source(self) -> &'static str {
        match self {
            Self::Constant => fragment!("affine/constant.wgsl"),
            Self::Element => fragment!("affine/element.wgsl"),
            Self::Divided => fragment!("affine/divided.wgsl"),
        }
    }
}

impl Known {
    fn source(self) -> &'static str {
        match self {
            Self::Merged => fragment!("known/merged.wgsl"),
            Self::Running => fragment!("known/running.wgsl"),
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
        self.kernel.by_rows() && self.affine == Affine::Element
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
            parts.push(match self.hold {
                Hold::Registers(_) => fragment!("hold/registers.wgsl"),
                Hold::Reread => fragment!("hold/reread.wgsl"),
            });
        }
        if kernel.by_columns() {
            parts.push(fragment!("columns.wgsl"));
        }
        if kernel.measures() {
            parts.extend([fragment!("reduce/tree.wgsl"), fragment!("tile_statistics.wgsl")]);
        }
        if matches!(kernel, Kernel::StatsRows | Kernel::Merge) {
            parts.push(fragment!("record.wgsl"));
        }
        if matches!(kernel, Kernel::FusedRows | Kernel::ApplyRows) {
            parts.push(self.affine.source());
        }
        if matches!(kernel, Kernel::FusedRows | Kernel::ApplyRows | Kernel::ApplyColumns) {
            parts.push(fragment!("affine/index.wgsl"));
        }
        if matches!(kernel, Kernel::ApplyRows | Kernel::ApplyColumns) {
            parts.push(self.known.source());
        }
        if matches!(kernel, Kernel::FusedRows | Kernel::Merge) || self.known == Known::Running {
            parts.push(fragment!("factor.wgsl"));
        }
        if kernel == Kernel::Merge {
            parts.extend([fragment!("team.wgsl"), fragment!("reduce/merge_lanes.wgsl")]);
            parts.push(if self.track { fragment!("track.wgsl") } else { fragment!("no_track.wgsl") });
        }
        parts.push(kernel.source());
        let mut source = parts.join("\n");
        if let Hold::Registers(items) = self.hold {
            source.push_str(&format!("\nconst ITEMS: u32 = {items}u;\n"));
        }
        source.push('\n');
        source.push_str(&tensor::declarations(self));
        source
    }
}
