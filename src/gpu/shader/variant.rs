//! What is chosen: everything that decides the text of a shader, and the constants it is compiled by.

use super::{Kernel, TensorBinding, fragment};
use crate::tensors::Role;

/// Elements of one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Width {
    Scalar,
    Quad,
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

/// Where a pass takes its statistics from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Known {
    /// What the merge left.
    Merged,
    /// Running mean and variance.
    Running,
    /// What the merge left, and another pass adds the bias.
    Scaled,
    /// Nothing: this pass adds the bias, or computes its statistics.
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

impl Width {
    pub(crate) fn elements(self) -> u32 {
        match self {
            Self::Scalar => 1,
            Self::Quad => 4,
        }
    }

    pub(super) fn source(self) -> &'static str {
        match self {
            Self::Scalar => fragment!("width/scalar.wgsl"),
            Self::Quad => fragment!("width/quad.wgsl"),
        }
    }
}

impl Affine {
    pub(super) fn source(self) -> &'static str {
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
    pub(super) fn source(self) -> &'static str {
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

    pub(super) fn source(self) -> &'static str {
        match self {
            Self::Alone => fragment!("reduce/alone.wgsl"),
            Self::Workgroup => fragment!("reduce/workgroup.wgsl"),
            Self::Subgroup => fragment!("reduce/subgroup.wgsl"),
        }
    }
}
