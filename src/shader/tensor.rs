//! The tensors a shader reads and writes: their bindings, and the accessors kernels know them by.
//!
//! A kernel sees `x_load(i)`, `y_store(i, v)` and so on, in f32, and never a binding: in place, a shared buffer, an
//! absent tensor or another storage type are decided here.

use super::{Kernel, Known, Variant, Width, ragged};

/// What a tensor is to the norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Role {
    X,
    Y,
    Weight,
    Bias,
    Mean,
    Rstd,
    RunningMean,
    RunningVar,
    Batches,
    Partials,
    Stats,
}

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
    /// Bound word by word, though the kernel takes packs.
    pub(crate) words: bool,
}

/// What a tensor's binding is an array of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    F32,
    Packed(Width),
    U32,
    Record,
    Bits,
}

impl Role {
    /// The tensors a user can give.
    pub(crate) const GIVEN: [Self; 9] = [
        Self::X,
        Self::Y,
        Self::Weight,
        Self::Bias,
        Self::Mean,
        Self::Rstd,
        Self::RunningMean,
        Self::RunningVar,
        Self::Batches,
    ];

    /// As users and error messages name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X => "x",
            Self::Y => "y",
            Self::Weight => "weight",
            Self::Bias => "bias",
            Self::Mean => "mean",
            Self::Rstd => "rstd",
            Self::RunningMean => "running_mean",
            Self::RunningVar => "running_var",
            Self::Batches => "num_batches_tracked",
            Self::Partials => "partials",
            Self::Stats => "stats",
        }
    }

    /// As shaders name it.
    fn shader_name(self) -> &'static str {
        if self == Self::Batches { "batches" } else { self.name() }
    }
}

impl Kernel {
    /// The tensors it can use, and whether it writes them.
    pub(crate) fn roles(self, known: Known) -> &'static [(Role, bool)] {
        use Role::{Batches, Bias, Mean, Partials, Rstd, RunningMean, RunningVar, Stats, Weight, X, Y};
        match self {
            Self::FusedRows | Self::FusedColumns => {
                &[(X, false), (Y, true), (Weight, false), (Bias, false), (Mean, true), (Rstd, true)]
            }
            Self::StatsRows | Self::StatsColumns => &[(X, false), (Partials, true)],
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
                Known::Merged => &[(X, false), (Y, true), (Weight, false), (Bias, false), (Stats, false)],
                Known::Running => {
                    &[(X, false), (Y, true), (Weight, false), (Bias, false), (RunningMean, false), (RunningVar, false)]
                }
                Known::Scaled => &[(X, false), (Y, true), (Weight, false), (Stats, false)],
                Known::Nothing => &[(Y, true), (Bias, false)],
            },
            Self::RunningStatistics => &[(RunningMean, false), (RunningVar, false), (Stats, true)],
            Self::CountBatch => &[(Batches, true)],
        }
    }
}

impl Variant {
    /// What the binding of `role` is an array of.
    pub(crate) fn stored(&self, role: Role) -> Stored {
        match role {
            Role::X | Role::Y => Stored::Packed(self.width),
            Role::Weight | Role::Bias if self.packs_parameters() => Stored::Packed(self.width),
            Role::Weight | Role::Bias | Role::Mean | Role::Rstd | Role::RunningMean | Role::RunningVar => Stored::F32,
            Role::Batches => Stored::U32,
            Role::Partials => Stored::Bits,
            Role::Stats => Stored::Record,
        }
    }
}

impl Stored {
    /// The element type of the bound array.
    fn of_array(self) -> &'static str {
        match self {
            Self::F32 | Self::Packed(Width::Scalar) => "f32",
            Self::Packed(Width::Quad | Width::Ragged) | Self::Record => "vec4<f32>",
            Self::Bits => "vec4<u32>",
            Self::U32 => "u32",
        }
    }

    /// Where element `i` is: tensors of the user start somewhere in their binding, scratch at 0.
    fn place(self, name: &str) -> String {
        match self {
            Self::F32 | Self::U32 | Self::Packed(Width::Scalar) => format!("params.{name}_start + i"),
            Self::Packed(Width::Quad | Width::Ragged) => format!("(params.{name}_start + i) >> 2u"),
            Self::Record | Self::Bits => "i".to_owned(),
        }
    }
}

/// The bindings of a variant, and an accessor for each tensor its kernel may use, bound or not.
pub(super) fn declarations(variant: &Variant) -> String {
    let mut text = String::new();
    for (number, TensorBinding { role, access, words }) in variant.tensors.iter().enumerate() {
        let access = match access {
            Access::Read => "read",
            Access::ReadWrite => "read_write",
        };
        text.push_str(&format!(
            "@group(0) @binding({}) var<storage, {access}> {}_{}: array<{}>;\n",
            number + 1,
            role.shader_name(),
            if *words { "words" } else { "data" },
            if *words { Stored::F32 } else { variant.stored(*role) }.of_array(),
        ));
    }
    let roles = variant.kernel.roles(variant.known);
    for &(role, written) in roles {
        text.push_str(&accessors(variant, role, written));
    }
    // A pass that leaves one of them to another does as if there were none.
    if matches!(variant.kernel, Kernel::ApplyRows | Kernel::ApplyColumns) {
        for role in [Role::X, Role::Weight, Role::Bias] {
            if !roles.contains(&(role, false)) {
                text.push_str(&accessors(variant, role, false));
            }
        }
    }
    text
}

fn accessors(variant: &Variant, role: Role, written: bool) -> String {
    let bound = |role: Role| variant.tensors.iter().any(|tensor| tensor.role == role);
    let name = role.shader_name();
    let stored = variant.stored(role);
    if stored == Stored::Packed(Width::Ragged) {
        return ragged::accessors(variant, role);
    }
    let ty = stored.of_array();
    // In place, x is what y's binding holds before it is overwritten.
    let data = if role == Role::X && !bound(Role::X) { Role::Y } else { role };
    let place = format!("{}_data[{}]", data.shader_name(), stored.place(data.shader_name()));
    let load = match (role, bound(data)) {
        (Role::Weight, true) => format!("params.weight_offset + {place}"),
        (_, true) => place.clone(),
        (Role::Weight, false) => format!("{ty}(1.0)"),
        (_, false) => format!("{ty}(0)"),
    };
    let mut text = format!("fn {name}_load(i: u32) -> {ty} {{ return {load}; }}\n");
    if written {
        let store = if bound(role) { format!("{place} = v;") } else { String::new() };
        text.push_str(&format!("fn {name}_store(i: u32, v: {ty}) {{ {store} }}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrays of tensors are indexed by role.
    #[test]
    fn given_roles_are_numbered_from_0() {
        assert!(Role::GIVEN.iter().enumerate().all(|(place, &role)| role as usize == place));
    }
}
