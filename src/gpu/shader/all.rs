//! All shader variants, for tests and tools that need no GPU.

use super::{Access, Affine, Constants, ENTRY, Hold, Kernel, Known, Reduction, TensorBinding, Variant, Width};
use crate::tensors::Role;

/// One composed shader.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShaderVariant {
    /// A unique name that is valid as a file name: `fused_rows-quad-registers4-element-subgroup-full`.
    pub name: String,
    /// The WGSL source.
    pub source: String,
    /// The name of the entry point.
    pub entry_point: &'static str,
    /// Values of its override constants.
    pub constants: Vec<(&'static str, f64)>,
}

/// Which of a kernel's tensors are bound.
#[derive(Clone, Copy)]
enum Bound {
    Full,
    Least,
    InPlace,
    Shared,
    /// With a residual, and without what it has no binding left for.
    Residual,
}

impl Bound {
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Least => "least",
            Self::InPlace => "in_place",
            Self::Shared => "shared",
            Self::Residual => "residual",
        }
    }

    fn tensors(self, kernel: Kernel, known: Known, track: bool) -> Vec<TensorBinding> {
        let optional = [
            Role::Weight,
            Role::Bias,
            Role::Mean,
            Role::Rstd,
            Role::Batches,
            Role::Residual,
            Role::ResidualOut,
            Role::GradResidual,
            Role::GradWeight,
        ];
        let tracked = [Role::RunningMean, Role::RunningVar, Role::Batches];
        let roles = kernel.roles(known).iter();
        roles
            .filter(|(role, _)| match self {
                Self::Full | Self::Shared => {
                    !matches!(role, Role::Residual | Role::ResidualOut) || matches!(kernel, Kernel::ApplyRows)
                }
                Self::Residual => !matches!(role, Role::Mean | Role::Rstd | Role::Stats),
                Self::Least => {
                    let left = matches!(kernel, Kernel::FusedRows | Kernel::FusedColumns) && *role == Role::Stats;
                    (!optional.contains(role) && !left) || kernel == Kernel::CountBatch
                }
                Self::InPlace => {
                    !matches!(role, Role::Residual | Role::ResidualOut)
                        && !overwritten(kernel).iter().any(|(of, _)| of == role)
                }
            })
            .filter(|(role, _)| kernel != Kernel::Merge || track || !tracked.contains(role))
            .map(|&(role, written)| TensorBinding {
                role,
                access: if written || matches!(self, Self::Shared) { Access::ReadWrite } else { Access::Read },
            })
            .collect()
    }
}

/// What is read through the binding of what overwrites it, in place.
fn overwritten(kernel: Kernel) -> &'static [(Role, Role)] {
    match kernel {
        Kernel::FusedRows | Kernel::FusedColumns | Kernel::ApplyRows | Kernel::ApplyColumns => &[(Role::X, Role::Y)],
        _ => &[(Role::GradOutput, Role::GradInput)],
    }
}

/// All shaders that a plan can use, each with one set of constants. Each comes with several sets of bound tensors: all of
/// them, as few as possible, in place, and all in one buffer.
#[must_use]
pub fn shader_variants() -> Vec<ShaderVariant> {
    use Kernel::{
        ApplyColumns, ApplyRows, BackwardApplyColumns, BackwardApplyRows, BackwardFusedParameters, BackwardFusedRows,
        ChannelSumsColumns, ChannelSumsRows, CountBatch, FusedColumns, FusedRows, Merge, MergeParameters, MergeSums,
        MergeWeighted, RunningStatistics, StatsColumns, StatsRows, SumsRows,
    };
    let mut all = Vec::new();
    for kernel in [
        FusedRows,
        FusedColumns,
        StatsRows,
        StatsColumns,
        Merge,
        ApplyRows,
        ApplyColumns,
        CountBatch,
        RunningStatistics,
        BackwardFusedRows,
        BackwardFusedParameters,
        SumsRows,
        ChannelSumsRows,
        ChannelSumsColumns,
        MergeSums,
        MergeWeighted,
        MergeParameters,
        BackwardApplyRows,
        BackwardApplyColumns,
    ] {
        let small = [Merge, CountBatch, RunningStatistics, MergeSums, MergeWeighted, MergeParameters];
        let widths = if small.contains(&kernel) { &[Width::Scalar][..] } else { &[Width::Scalar, Width::Quad] };
        for &width in widths {
            for hold in holds(kernel, width) {
                for affine in affines(kernel) {
                    for reduction in reductions(kernel, affine) {
                        for (known, track) in endings(kernel) {
                            for bound in bounds(kernel) {
                                let tensors = bound.tensors(kernel, known, track);
                                let together = if matches!(affine, Affine::Shared | Affine::Stepped) { 4 } else { 1 };
                                let overwritten = match bound {
                                    Bound::InPlace => overwritten(kernel).to_vec(),
                                    _ => Vec::new(),
                                };
                                let variant = Variant {
                                    kernel,
                                    width,
                                    hold,
                                    affine,
                                    known,
                                    track,
                                    reduction,
                                    together,
                                    tensors,
                                    overwritten,
                                };
                                all.push(describe(&variant, bound));
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

fn holds(kernel: Kernel, width: Width) -> Vec<Hold> {
    let wide = width.elements();
    match kernel {
        Kernel::BackwardFusedParameters => [1, 2, 4].map(|quads| Hold::Registers(quads * 4 / wide)).to_vec(),
        Kernel::FusedRows | Kernel::StatsRows | Kernel::BackwardFusedRows => {
            // Of two tensors half as much is kept.
            let most = if kernel == Kernel::BackwardFusedRows { 8 } else { 16 };
            let quads = [1, 2, 4, 8, 16].into_iter().filter(|&quads| quads <= most);
            quads
                .map(|quads| Hold::Registers(quads * 4 / wide))
                .chain([Hold::Stream(if wide == 1 { 16 } else { 8 })])
                .collect()
        }
        Kernel::StatsColumns | Kernel::ApplyColumns | Kernel::ChannelSumsColumns | Kernel::BackwardApplyColumns => {
            let spans = if wide == 1 { &[1, 4, 16][..] } else { &[1, 4] };
            spans.iter().map(|&span| Hold::Chunk { rows: 8, span }).collect()
        }
        Kernel::FusedColumns => [(2, 1), (8, 1), (8, 4)].map(|(rows, span)| Hold::Chunk { rows, span }).to_vec(),
        _ => vec![Hold::None],
    }
}

fn affines(kernel: Kernel) -> Vec<Affine> {
    match kernel {
        Kernel::BackwardFusedParameters => vec![Affine::Element],
        Kernel::FusedRows | Kernel::BackwardFusedRows => {
            vec![Affine::Constant, Affine::Element, Affine::Shared, Affine::Divided, Affine::Stepped]
        }
        Kernel::ApplyRows | Kernel::SumsRows | Kernel::BackwardApplyRows => {
            vec![Affine::Constant, Affine::Element, Affine::Divided]
        }
        _ => vec![Affine::Constant],
    }
}

fn reductions(kernel: Kernel, affine: Affine) -> Vec<Reduction> {
    match kernel {
        _ if affine == Affine::Shared => vec![Reduction::Subgroup],
        _ if affine == Affine::Stepped => vec![Reduction::Alone],
        Kernel::FusedRows
        | Kernel::StatsRows
        | Kernel::Merge
        | Kernel::BackwardFusedRows
        | Kernel::BackwardFusedParameters
        | Kernel::SumsRows
        | Kernel::ChannelSumsRows
        | Kernel::MergeSums
        | Kernel::MergeWeighted
        | Kernel::MergeParameters => {
            vec![Reduction::Alone, Reduction::Workgroup, Reduction::Subgroup]
        }
        _ => vec![Reduction::Alone],
    }
}

fn endings(kernel: Kernel) -> Vec<(Known, bool)> {
    match kernel {
        Kernel::Merge => {
            let given = [(Known::Given, false), (Known::Given, true), (Known::Kept, false)];
            [(Known::Merged, false), (Known::Merged, true)].into_iter().chain(given).collect()
        }
        Kernel::MergeSums => [Known::Merged, Known::Given, Known::Kept].map(|known| (known, false)).to_vec(),
        Kernel::MergeWeighted => vec![(Known::Merged, false), (Known::Kept, false)],
        Kernel::ApplyRows | Kernel::ApplyColumns => {
            [Known::Merged, Known::Running, Known::Scaled, Known::Nothing].map(|known| (known, false)).to_vec()
        }
        Kernel::RunningStatistics => vec![(Known::Running, false)],
        Kernel::BackwardFusedRows | Kernel::BackwardFusedParameters => {
            vec![(Known::Merged, false), (Known::Nothing, false)]
        }
        Kernel::BackwardApplyRows | Kernel::BackwardApplyColumns => {
            vec![(Known::Merged, false), (Known::Running, false)]
        }
        _ => vec![(Known::Merged, false)],
    }
}

fn bounds(kernel: Kernel) -> Vec<Bound> {
    match kernel {
        Kernel::FusedRows => {
            vec![Bound::Full, Bound::Least, Bound::InPlace, Bound::Shared, Bound::Residual]
        }
        Kernel::StatsRows => vec![Bound::Full, Bound::Residual],
        Kernel::FusedColumns
        | Kernel::ApplyRows
        | Kernel::ApplyColumns
        | Kernel::BackwardFusedRows
        | Kernel::BackwardFusedParameters
        | Kernel::BackwardApplyRows
        | Kernel::BackwardApplyColumns => {
            vec![Bound::Full, Bound::Least, Bound::InPlace, Bound::Shared]
        }
        Kernel::Merge | Kernel::MergeParameters | Kernel::SumsRows | Kernel::MergeWeighted => {
            vec![Bound::Full, Bound::Least]
        }
        _ => vec![Bound::Full],
    }
}

fn describe(variant: &Variant, bound: Bound) -> ShaderVariant {
    let Variant { kernel, width, hold, affine, known, track, reduction, .. } = variant;
    let hold = match hold {
        Hold::Registers(items) => format!("registers{items}"),
        Hold::Stream(items) => format!("stream{items}"),
        Hold::Chunk { rows, span } => format!("chunk{rows}x{span}"),
        Hold::None => "none".to_owned(),
    };
    let affine = format!("{affine:?}").to_lowercase();
    let ending = match (known, track) {
        (Known::Running, _) => "running",
        (Known::Scaled, _) => "scaled",
        (Known::Nothing, _) if matches!(kernel, Kernel::BackwardFusedRows | Kernel::BackwardFusedParameters) => {
            "computed"
        }
        (Known::Nothing, _) => "bias",
        (Known::Given, true) => "given_track",
        (Known::Given, false) => "given",
        (Known::Kept, _) => "kept",
        (Known::Merged, true) => "track",
        (Known::Merged, false) => "merged",
    };
    let width = format!("{width:?}").to_lowercase();
    let lanes = if *reduction == Reduction::Alone || variant.affine == Affine::Shared { 1 } else { 256 };
    let constants = Constants {
        workgroup_size: 256,
        lanes,
        across_subgroups: lanes > 1,
        subtract_mean: true,
        scaling: 0,
        hide_subtractions: true,
        span: 1,
        whole: false,
        same_parameters: false,
        through_statistics: *known != Known::Running,
        statistics_by: 2,
    };
    ShaderVariant {
        name: format!("{}-{width}-{hold}-{affine}-{}-{ending}-{}", kernel.name(), reduction.name(), bound.name()),
        source: variant.source(),
        entry_point: ENTRY,
        constants: constants.values().to_vec(),
    }
}
