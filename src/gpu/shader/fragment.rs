//! The files of `shaders/`, what each uses and which tensors it speaks of; and the joining of those a shader needs.
//!
//! A line `//# use shared/rows, <hold>` names files, and slots. A slot is a folder of `shaders/slots/`, of which one file is
//! chosen; `shaders/README.md` says what the files of each provide.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::tensors::Role;

/// One file.
pub(crate) struct Fragment {
    /// Below `shaders/`, without the ending.
    pub(crate) path: &'static str,
    pub(crate) text: &'static str,
    pub(crate) uses: Vec<&'static str>,
    /// The tensors that it reads, and those that it writes.
    pub(crate) tensors: Vec<(Role, Use)>,
}

/// What a shader does to a tensor, through an accessor of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    Load,
    Store,
    /// Stores two neighbours, of which each may be left out.
    Put,
    /// Loads those of a pack of elements, by the number of the first.
    Spread,
}

impl Use {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::Put => "put",
            Self::Spread => "spread",
        }
    }
}

macro_rules! files {
    ($($path:literal)*) => {
        &[$(($path, include_str!(concat!("../../../shaders/", $path, ".wgsl")))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "kernels/forward/fused_rows" "kernels/forward/fused_columns" "kernels/forward/fused_tall_columns" "kernels/forward/stats_rows"
    "kernels/forward/stats_columns" "kernels/forward/merge" "kernels/forward/apply_rows"
    "kernels/forward/apply_columns" "kernels/forward/apply_pairs" "kernels/forward/running_statistics" "kernels/forward/count_batch"
    "kernels/backward/fused_rows" "kernels/backward/fused_tall_columns" "kernels/backward/fused_parameters" "kernels/backward/sums_rows"
    "kernels/backward/sums_columns" "kernels/backward/sums_beside" "kernels/backward/merge_sums" "kernels/backward/apply_rows"
    "kernels/backward/apply_columns" "kernels/backward/apply_pairs"
    "slots/modulation/none" "slots/modulation/folded" "slots/modulation/apart"
    "slots/width/scalar" "slots/width/quad" "slots/value/group" "slots/value/groups"
    "slots/source/x" "slots/source/x_plus_residual" "slots/source/gated" "slots/gate/none" "slots/gate/given" "slots/rounding/none" "slots/rounding/scalar" "slots/rounding/quad"
    "slots/reduction/alone" "slots/reduction/workgroup" "slots/reduction/subgroup"
    "slots/hold/registers" "slots/hold/chunks" "slots/hold/none"
    "slots/gradients/registers" "slots/gradients/chunks" "slots/gradients/none"
    "slots/affine/constant" "slots/affine/element" "slots/affine/shared" "slots/affine/divided"
    "slots/affine/stepped" "slots/statistics/computed" "slots/statistics/stored" "slots/statistics/running"
    "slots/statistics/none" "slots/keep/statistics" "slots/keep/moments" "slots/keep/sums" "slots/keep/parameters"
    "shared/params" "shared/record" "shared/statistics" "shared/factor" "shared/group_statistics"
    "shared/keep_statistics" "shared/partial_record" "shared/partial_place" "shared/team" "shared/rows" "shared/columns" "shared/column_statistics" "shared/column_sums" "shared/normalize_columns"
    "shared/columns_gradient" "shared/whole_columns"
    "shared/chunk_statistics" "shared/held_statistics" "shared/sum_lanes" "shared/merge_lanes"
    "shared/any_in_workgroup" "shared/channel" "shared/column_groups" "shared/pack_groups" "shared/affine_run" "shared/affine_runs"
    "shared/half" "shared/pairs" "shared/strides" "shared/segments" "shared/epilogue" "shared/normalize" "shared/track" "shared/gradient" "shared/gradients" "shared/known_sums" "shared/modulation" "shared/sink" "shared/store_gradients"
    "probe/arithmetic" "probe/loops" "probe/packing" "probe/subtractions"
];

static FRAGMENTS: LazyLock<BTreeMap<&str, Fragment>> =
    LazyLock::new(|| FILES.iter().map(|&(path, text)| (path, Fragment::read(path, text))).collect());

impl Fragment {
    fn read(path: &'static str, text: &'static str) -> Self {
        let uses = text.lines().filter_map(|line| line.strip_prefix("//# use "));
        let mentions = |role: Role, how: Use| {
            let call = format!("{}_{}(", role.shader_name(), how.name());
            text.match_indices(&call).any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        let all = Role::all().flat_map(|role| [Use::Load, Use::Store, Use::Put, Use::Spread].map(|how| (role, how)));
        Self {
            path,
            text,
            uses: uses.flat_map(|names| names.split(", ")).collect(),
            tensors: all.filter(|&(role, how)| mentions(role, how)).collect(),
        }
    }

    /// All files.
    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        FRAGMENTS.values()
    }
}

/// The file `kernel` and all that it uses, each once and after those that it uses. `choose` says which file is in a slot.
pub(crate) fn files(kernel: &'static str, choose: impl Fn(&str) -> &'static str) -> Vec<&'static Fragment> {
    let mut files = Vec::new();
    visit(kernel, &choose, &mut Vec::new(), &mut files);
    files
}

fn visit(
    path: &'static str,
    choose: &dyn Fn(&str) -> &'static str,
    seen: &mut Vec<&'static str>,
    files: &mut Vec<&'static Fragment>,
) {
    let Some(fragment) = FRAGMENTS.get(path).filter(|_| !seen.contains(&path)) else { return };
    seen.push(path);
    for &used in &fragment.uses {
        let slot = used.strip_prefix('<').and_then(|name| name.strip_suffix('>'));
        visit(slot.map_or(used, choose), choose, seen, files);
    }
    files.push(fragment);
}

/// The file that 16-bit elements take, and what it uses that `files` lack.
pub(crate) fn with_halves(mut files: Vec<&'static Fragment>) -> Vec<&'static Fragment> {
    let mut seen = files.iter().map(|file| file.path).collect();
    visit("shared/half", &|_| "", &mut seen, &mut files);
    files
}

/// Their text, each under its name, so that a line that a driver names leads to a file.
pub(crate) fn text(files: &[&Fragment]) -> String {
    files.iter().map(|part| format!("// shaders/{}.wgsl\n{}\n", part.path, part.text)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A file that the list above lacks would be in no shader.
    #[test]
    fn every_file_is_listed() {
        fn walk(folder: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else if path.extension().is_some_and(|ending| ending == "wgsl") {
                    found.push(path.with_extension("").to_str().unwrap().replace('\\', "/"));
                }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
        let mut found = Vec::new();
        walk(&root, &mut found);
        let prefix = format!("{}/", root.to_str().unwrap().replace('\\', "/"));
        let mut found: Vec<&str> = found.iter().filter_map(|path| path.strip_prefix(&prefix)).collect();
        found.sort_unstable();
        assert_eq!(found, Fragment::all().map(|fragment| fragment.path).collect::<Vec<_>>());
    }

    /// A name that is no file and no slot would be left out without a word.
    #[test]
    fn every_use_is_there() {
        for fragment in Fragment::all() {
            for used in &fragment.uses {
                let slot = used.strip_prefix('<').and_then(|name| name.strip_suffix('>'));
                let folder = format!("slots/{}/", slot.unwrap_or_default());
                let there = match slot {
                    Some(_) => FILES.iter().any(|(path, _)| path.starts_with(&folder)),
                    None => FRAGMENTS.contains_key(used),
                };
                assert!(there, "{} uses {used}", fragment.path);
            }
        }
    }

    /// The first lines of a file say what it is.
    #[test]
    fn every_file_says_what_it_is() {
        for fragment in Fragment::all() {
            assert!(fragment.text.starts_with("// "), "{}", fragment.path);
        }
    }
}
