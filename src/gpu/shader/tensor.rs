//! The tensors a shader reads and writes: their bindings, and the accessors kernels know them by.
//!
//! A kernel sees `x_load(i)`, `y_store(i, v)` and so on, in f32, and never a binding: in place, a shared buffer, an
//! absent tensor or another storage type are decided here.

use super::{Kernel, Known, Variant, Width};
use crate::tensors::Role;

/// How a tensor is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    Read,
    /// Written, or in one buffer with a tensor that is: wgpu takes no buffer as both in one dispatch.
    ReadWrite,
}

/// One storage binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TensorBinding {
    pub(crate) role: Role,
    pub(crate) access: Access,
}

/// What a tensor's binding is an array of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    F32,
    Packed(Width),
    U32,
    Record,
    Pair,
}

impl Kernel {
    /// The tensors it can use, and whether it writes them.
    pub(crate) fn roles(self, known: Known) -> &'static [(Role, bool)] {
        use Role::{
            Batches, Bias, GradBias, GradInput, GradOutput, GradResidual, GradWeight, GroupSums, Mean, Moments,
            PartialSums, Partials, Residual, ResidualOut, Rstd, RunningMean, RunningVar, Stats, Sums, Weight, X, Y,
        };
        match self {
            Self::FusedRows => &[
                (X, false),
                (Y, true),
                (Weight, false),
                (Bias, false),
                (Mean, true),
                (Rstd, true),
                (Residual, false),
                (ResidualOut, true),
                (Stats, true),
            ],
            Self::FusedColumns => {
                &[(X, false), (Y, true), (Weight, false), (Bias, false), (Mean, true), (Rstd, true), (Stats, true)]
            }
            Self::StatsRows => &[(X, false), (Residual, false), (Partials, true)],
            Self::StatsColumns => &[(X, false), (Partials, true)],
            Self::Merge if known == Known::Kept => &[(Partials, false), (Moments, true)],
            Self::Merge if known == Known::Given => &[
                (Moments, false),
                (Stats, true),
                (Mean, true),
                (Rstd, true),
                (RunningMean, true),
                (RunningVar, true),
                (Batches, false),
            ],
            Self::Merge => &[
                (Partials, false),
                (Stats, true),
                (Mean, true),
                (Rstd, true),
                (RunningMean, true),
                (RunningVar, true),
                (Batches, false),
            ],
            Self::ApplyRows | Self::ApplyColumns => match known {
                Known::Merged | Known::Given | Known::Kept => &[
                    (X, false),
                    (Y, true),
                    (Weight, false),
                    (Bias, false),
                    (Stats, false),
                    (Residual, false),
                    (ResidualOut, true),
                ],
                Known::Running => {
                    &[(X, false), (Y, true), (Weight, false), (Bias, false), (RunningMean, false), (RunningVar, false)]
                }
                Known::Scaled => {
                    &[(X, false), (Y, true), (Weight, false), (Stats, false), (Residual, false), (ResidualOut, true)]
                }
                Known::Nothing => &[(Y, true), (Bias, false)],
            },
            Self::RunningStatistics => &[(RunningMean, false), (RunningVar, false), (Stats, true)],
            Self::CountBatch => &[(Batches, true)],
            Self::BackwardFusedRows if known == Known::Merged => &[
                (X, false),
                (GradOutput, false),
                (GradInput, true),
                (Weight, false),
                (GradResidual, false),
                (Stats, false),
            ],
            Self::BackwardFusedRows => &[
                (X, false),
                (GradOutput, false),
                (GradInput, true),
                (Weight, false),
                (GradResidual, false),
                (Stats, true),
            ],
            Self::BackwardFusedParameters if known == Known::Merged => &[
                (X, false),
                (GradOutput, false),
                (GradInput, true),
                (Weight, false),
                (GradResidual, false),
                (Stats, false),
                (PartialSums, true),
            ],
            Self::BackwardFusedParameters => &[
                (X, false),
                (GradOutput, false),
                (GradInput, true),
                (Weight, false),
                (GradResidual, false),
                (PartialSums, true),
            ],
            Self::SumsRows => &[(X, false), (GradOutput, false), (Weight, false), (Stats, false), (PartialSums, true)],
            Self::ChannelSumsRows | Self::ChannelSumsColumns => {
                &[(X, false), (GradOutput, false), (Stats, false), (PartialSums, true)]
            }
            Self::MergeSums => match known {
                Known::Given => &[(Sums, false), (GroupSums, true)],
                Known::Kept => &[(PartialSums, false), (Sums, true)],
                _ => &[(PartialSums, false), (GroupSums, true)],
            },
            Self::MergeWeighted => match known {
                Known::Kept => &[(PartialSums, false), (Weight, false), (Sums, true)],
                _ => &[(PartialSums, false), (Weight, false), (GroupSums, true)],
            },
            Self::MergeParameters => &[(PartialSums, false), (GradWeight, true), (GradBias, true)],
            Self::BackwardApplyRows | Self::BackwardApplyColumns => match known {
                Known::Running => {
                    &[(GradOutput, false), (GradInput, true), (Weight, false), (GradResidual, false), (Stats, false)]
                }
                _ => &[
                    (X, false),
                    (GradOutput, false),
                    (GradInput, true),
                    (Weight, false),
                    (GradResidual, false),
                    (Stats, false),
                    (GroupSums, false),
                ],
            },
        }
    }
}

impl Kernel {
    /// The tensors that its text speaks of and that it need not have.
    fn may_lack(self) -> &'static [Role] {
        use Role::{Bias, GradResidual, GroupSums, PartialSums, Partials, ResidualOut, Stats, Weight, X};
        match self {
            Self::FusedRows => &[],
            Self::ApplyRows => &[X, Weight, Bias, ResidualOut],
            Self::ApplyColumns => &[X, Weight, Bias],
            Self::BackwardFusedRows | Self::BackwardFusedParameters | Self::SumsRows | Self::ChannelSumsRows => {
                &[Weight, Bias, Stats]
            }
            Self::BackwardApplyRows | Self::BackwardApplyColumns => &[X, Weight, Bias, GradResidual, GroupSums],
            Self::Merge => &[Partials],
            Self::MergeSums | Self::MergeParameters => &[Weight, PartialSums, GroupSums],
            Self::MergeWeighted => &[GroupSums],
            _ => &[],
        }
    }
}

impl Variant {
    /// What the binding of `role` is an array of.
    pub(crate) fn stored(&self, role: Role) -> Stored {
        match role {
            role if role.is_large() => Stored::Packed(self.width),
            Role::Weight | Role::Bias if self.packs_parameters() => Stored::Packed(self.width),
            Role::Batches => Stored::U32,
            Role::PartialSums | Role::GroupSums | Role::Sums => Stored::Pair,
            Role::Partials | Role::Moments | Role::Stats => Stored::Record,
            _ => Stored::F32,
        }
    }
}

impl Stored {
    /// The element type of the bound array.
    fn of_array(self) -> &'static str {
        match self {
            Self::F32 | Self::Packed(Width::Scalar) => "f32",
            Self::Packed(Width::Quad) | Self::Record => "vec4<f32>",
            Self::Pair => "vec2<f32>",
            Self::U32 => "u32",
        }
    }

    /// Where element `i` of `role` is: tensors of the user start somewhere in their binding, and partials may be those of a
    /// few groups; other scratch starts at 0.
    fn place(self, role: Role) -> String {
        let name = role.shader_name();
        match self {
            _ if !Role::GIVEN.contains(&role) && role != Role::Partials => "i".to_owned(),
            Self::Packed(Width::Quad) => format!("(params.{name}_start + i) >> 2u"),
            _ => format!("params.{name}_start + i"),
        }
    }
}

/// The bindings of a variant, and an accessor for each tensor its kernel may use, bound or not.
pub(super) fn declarations(variant: &Variant) -> String {
    let mut text = String::new();
    for (number, TensorBinding { role, access }) in variant.tensors.iter().enumerate() {
        let access = match access {
            Access::Read => "read",
            Access::ReadWrite => "read_write",
        };
        text.push_str(&format!(
            "@group(0) @binding({}) var<storage, {access}> {}_data: array<{}>;\n",
            number + 1,
            role.shader_name(),
            variant.stored(*role).of_array(),
        ));
    }
    let roles = variant.kernel.roles(variant.known);
    for &(role, written) in roles {
        text.push_str(&accessors(variant, role, written));
    }
    // A pass that leaves one of them to another does as if there were none.
    for &role in variant.kernel.may_lack() {
        if !roles.iter().any(|&(there, _)| there == role) {
            text.push_str(&accessors(variant, role, matches!(role, Role::ResidualOut | Role::GroupSums)));
        }
    }
    text
}

fn accessors(variant: &Variant, role: Role, written: bool) -> String {
    let bound = |role: Role| variant.tensors.iter().any(|tensor| tensor.role == role);
    let name = role.shader_name();
    let stored = variant.stored(role);
    let ty = stored.of_array();
    // In place, it is what the other's binding holds before that is overwritten.
    let of = |role: Role| {
        let overwritten = |&&(of, _): &&(Role, Role)| of == role;
        let instead = match role {
            Role::Partials => Role::Moments,
            Role::PartialSums | Role::GroupSums => Role::Sums,
            // What is left to do is done in place.
            Role::X if variant.known == Known::Nothing => Role::Y,
            role => role,
        };
        match variant.overwritten.iter().find(overwritten) {
            Some(&(_, by)) => by,
            None if !bound(role) && bound(instead) => instead,
            None => role,
        }
    };
    let element = |role: Role| format!("{}_data[{}]", role.shader_name(), stored.place(role));
    let data = of(role);
    let place = element(data);
    let load = match (role, bound(data)) {
        (Role::Weight, true) => format!("params.weight_offset + {place}"),
        (Role::X, true) if bound(of(Role::Residual)) => format!("{place} + {}", element(of(Role::Residual))),
        (_, true) => place.clone(),
        (Role::Weight, false) => format!("{ty}(1.0)"),
        (_, false) => format!("{ty}(0)"),
    };
    let mut text = format!("fn {name}_load(i: u32) -> {ty} {{ return {load}; }}\n");
    if written {
        let store = if bound(data) { format!("{place} = v;") } else { String::new() };
        text.push_str(&format!("fn {name}_store(i: u32, v: {ty}) {{ {store} }}\n"));
    }
    text
}
