//! Every variant there is, for tests and tools that need no GPU.

use super::{
    Access, Affine, Constants, ENTRY, Hold, Kernel, Known, Reduction, Role, TensorBinding, Variant, Width, bind_words,
};

/// One composed shader.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShaderVariant {
    /// A name that no other variant has, fit for a file: `fused_rows-quad-registers4-element-subgroup-full`.
    pub name: String,
    /// The WGSL.
    pub source: String,
    /// The entry point.
    pub entry_point: &'static str,
    /// Values for its override constants.
    pub constants: Vec<(&'static str, f64)>,
}

/// Storage buffers that every WebGPU device has.
const LEAST_BUFFERS: usize = 8;

/// Which of a kernel's tensors are bound.
#[derive(Clone, Copy)]
enum Bound {
    Full,
    Least,
    InPlace,
    Shared,
    /// Ragged rows where no quads can be bound but those of `y`.
    Words,
}

impl Bound {
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Least => "least",
            Self::InPlace => "in_place",
            Self::Shared => "shared",
            Self::Words => "words",
        }
    }

    fn tensors(self, kernel: Kernel, known: Known, track: bool) -> Vec<TensorBinding> {
        let optional = [Role::Weight, Role::Bias, Role::Mean, Role::Rstd, Role::Batches];
        let tracked = [Role::RunningMean, Role::RunningVar, Role::Batches];
        let roles = kernel.roles(known).iter();
        roles
            .filter(|(role, _)| match self {
                Self::Full | Self::Shared | Self::Words => true,
                Self::Least => !optional.contains(role) || kernel == Kernel::CountBatch,
                Self::InPlace => *role != Role::X,
            })
            .filter(|(role, _)| kernel != Kernel::Merge || track || !tracked.contains(role))
            .map(|&(role, written)| TensorBinding {
                role,
                access: if written || matches!(self, Self::Shared) { Access::ReadWrite } else { Access::Read },
                words: false,
            })
            .collect()
    }
}

/// Every shader a plan can ask for, each with one set of constants; the tensors bound are all, as few as can be, in
/// place, and all from one buffer; of ragged rows also word by word.
#[must_use]
pub fn shader_variants() -> Vec<ShaderVariant> {
    use Kernel::{
        ApplyColumns, ApplyRows, CountBatch, FusedColumns, FusedRows, Merge, RunningStatistics, StatsColumns, StatsRows,
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
    ] {
        let widths = if matches!(kernel, Merge | CountBatch | RunningStatistics) {
            &[Width::Scalar][..]
        } else if kernel.by_rows() {
            &[Width::Scalar, Width::Quad, Width::Ragged][..]
        } else {
            &[Width::Scalar, Width::Quad]
        };
        for &width in widths {
            for hold in holds(kernel, width) {
                for affine in affines(kernel) {
                    for reduction in reductions(kernel, affine) {
                        for (known, track) in endings(kernel) {
                            for bound in bounds(kernel, width) {
                                let mut tensors = bound.tensors(kernel, known, track);
                                if width == Width::Ragged {
                                    let words = matches!(bound, Bound::Words);
                                    bind_words(&mut tensors, affine, words, !words, LEAST_BUFFERS);
                                }
                                let together = if affine == Affine::Shared { 4 } else { 1 };
                                let variant =
                                    Variant { kernel, width, hold, affine, known, track, reduction, together, tensors };
                                if is_planned(&variant) {
                                    all.push(describe(&variant, bound));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

/// Whether any plan has it: ragged rows are held by lanes that work alone, and need no device of few bindings.
fn is_planned(variant: &Variant) -> bool {
    let Variant { width, hold, affine, known, reduction, .. } = variant;
    let alone = *reduction == Reduction::Alone || *affine == Affine::Shared;
    *width != Width::Ragged
        || (!matches!(known, Known::Scaled | Known::Nothing) && (alone || !matches!(hold, Hold::Registers(_))))
}

fn holds(kernel: Kernel, width: Width) -> Vec<Hold> {
    let wide = width.elements();
    match kernel {
        Kernel::FusedRows | Kernel::StatsRows if width == Width::Ragged => {
            vec![Hold::Registers(8), Hold::Registers(12), Hold::Registers(16), Hold::Stream(8)]
        }
        Kernel::FusedRows | Kernel::StatsRows => {
            let registers = [1, 2, 4, 8, 16].map(|quads| Hold::Registers(quads * 4 / wide));
            registers.into_iter().chain([Hold::Stream(if wide == 1 { 16 } else { 8 })]).collect()
        }
        Kernel::StatsColumns | Kernel::ApplyColumns => {
            [1, 4].map(|lines| Hold::Chunk { rows: 8, span: if wide == 1 { lines * 4 } else { lines } }).to_vec()
        }
        Kernel::FusedColumns => [(2, 1), (8, 1), (8, 4)].map(|(rows, span)| Hold::Chunk { rows, span }).to_vec(),
        _ => vec![Hold::None],
    }
}

fn affines(kernel: Kernel) -> Vec<Affine> {
    match kernel {
        Kernel::FusedRows => vec![Affine::Constant, Affine::Element, Affine::Shared, Affine::Divided],
        Kernel::ApplyRows => vec![Affine::Constant, Affine::Element, Affine::Divided],
        _ => vec![Affine::Constant],
    }
}

fn reductions(kernel: Kernel, affine: Affine) -> Vec<Reduction> {
    match kernel {
        _ if affine == Affine::Shared => vec![Reduction::Subgroup],
        Kernel::FusedRows | Kernel::StatsRows | Kernel::Merge => {
            vec![Reduction::Alone, Reduction::Workgroup, Reduction::Subgroup]
        }
        _ => vec![Reduction::Alone],
    }
}

fn endings(kernel: Kernel) -> Vec<(Known, bool)> {
    match kernel {
        Kernel::Merge => vec![(Known::Merged, false), (Known::Merged, true)],
        Kernel::ApplyRows | Kernel::ApplyColumns => {
            [Known::Merged, Known::Running, Known::Scaled, Known::Nothing].map(|known| (known, false)).to_vec()
        }
        Kernel::RunningStatistics => vec![(Known::Running, false)],
        _ => vec![(Known::Merged, false)],
    }
}

fn bounds(kernel: Kernel, width: Width) -> Vec<Bound> {
    match kernel {
        Kernel::FusedRows | Kernel::ApplyRows if width == Width::Ragged => {
            vec![Bound::Full, Bound::Least, Bound::InPlace, Bound::Shared, Bound::Words]
        }
        Kernel::StatsRows if width == Width::Ragged => vec![Bound::Full, Bound::Words],
        Kernel::FusedRows | Kernel::FusedColumns | Kernel::ApplyRows | Kernel::ApplyColumns => {
            vec![Bound::Full, Bound::Least, Bound::InPlace, Bound::Shared]
        }
        Kernel::Merge => vec![Bound::Full, Bound::Least],
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
        (Known::Nothing, _) => "bias",
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
    };
    ShaderVariant {
        name: format!("{}-{width}-{hold}-{affine}-{}-{ending}-{}", kernel.name(), reduction.name(), bound.name()),
        source: variant.source(),
        entry_point: ENTRY,
        constants: constants.values().to_vec(),
    }
}
