//! The generated parts of `shaders/README.md` are what the library does. With `WGPU_NORM_WRITE=1` they are written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use wgpu_norm::{
    Backward, BatchNorm, Capabilities, Context, GroupNorm, InstanceNorm, LayerNorm, LpNorm, MeanVarianceNorm, Norm,
    Pass, RmsNorm, shader_variants,
};

use crate::support::{generated_parts, gpu, in_repository};

fn shaders() -> PathBuf {
    in_repository("shaders")
}

/// Norm by layout: its kernels.
fn norms() -> String {
    let limits = wgpu_norm::wgpu::Limits::default();
    let mut capabilities = Capabilities::from_limits(&limits);
    capabilities.subgroup_sizes = Some((32, 32));
    let context = Context::with_capabilities(gpu().device(), capabilities);
    let rows: Vec<(&str, &str, Box<dyn Norm>)> = vec![
        ("LayerNorm, RMSNorm", "rows", Box::new(LayerNorm::new(&[4096, 768], &[768]).unwrap())),
        ("", "short rows", Box::new(LayerNorm::new(&[65_536, 64], &[64]).unwrap())),
        ("", "rows that no workgroup holds", Box::new(RmsNorm::new(&[8, 3_000_000], &[3_000_000]).unwrap())),
        ("", "over channels", Box::new(LayerNorm::over_axes(&[32, 96, 56, 56], &[1]).unwrap())),
        ("GroupNorm", "channels first", Box::new(GroupNorm::channels_first(&[8, 256, 32, 32], 32).unwrap())),
        ("", "channels first, larger groups", Box::new(GroupNorm::channels_first(&[1, 32, 512, 512], 32).unwrap())),
        ("", "channels last", Box::new(GroupNorm::channels_last(&[8, 32, 32, 256], 32).unwrap())),
        ("InstanceNorm", "channels first", Box::new(InstanceNorm::channels_first(&[32, 64, 56, 56]).unwrap())),
        ("", "channels last", Box::new(InstanceNorm::channels_last(&[32, 56, 56, 64]).unwrap())),
        ("", "channels last, few positions", Box::new(InstanceNorm::channels_last(&[32, 8, 64]).unwrap())),
        ("BatchNorm, training", "channels first", Box::new(BatchNorm::channels_first(&[32, 64, 56, 56]).unwrap())),
        ("", "channels last", Box::new(BatchNorm::channels_last(&[100_352, 64]).unwrap())),
        ("BatchNorm, eval", "channels first", Box::new(BatchNorm::channels_first(&[32, 64, 56, 56]).unwrap().eval())),
        ("", "channels last", Box::new(BatchNorm::channels_last(&[100_352, 64]).unwrap().eval())),
        ("MeanVarianceNorm", "any axes", Box::new(MeanVarianceNorm::new(&[32, 64, 56, 56], &[0, 2, 3]).unwrap())),
        ("LpNorm", "any axes", Box::new(LpNorm::l2(&[8192, 1024], &[1]).unwrap())),
    ];
    let mut text = "| norm | layout | x | forward | all gradients |\n|---|---|---|---|---|\n".to_owned();
    for (name, layout, norm) in rows {
        let names =
            |passes: &[Pass]| passes.iter().map(|pass| format!("`{}`", pass.name())).collect::<Vec<_>>().join(", ");
        let forward = context.plan(norm.as_ref()).unwrap();
        let backward = context.plan_backward(norm.as_ref(), Backward::new());
        let (forward, backward) =
            (names(forward.passes()), backward.map_or("–".to_owned(), |plan| names(plan.passes())));
        let shape = norm.shape().iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        text.push_str(&format!("| {name} | {layout} | {shape} | {forward} | {backward} |\n"));
    }
    text
}

/// What a file is, and who uses it.
fn files() -> String {
    let mut about = BTreeMap::new();
    let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut folders = vec![shaders()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "wgsl") {
                let name =
                    path.strip_prefix(shaders()).unwrap().with_extension("").to_str().unwrap().replace('\\', "/");
                let text = fs::read_to_string(&path).unwrap();
                let uses = text.lines().find_map(|line| line.strip_prefix("//# use ")).unwrap_or_default();
                for used in uses.split(", ").filter(|used| !used.is_empty()) {
                    users.entry(used.to_owned()).or_default().insert(name.clone());
                }
                let comment: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("// ")).collect();
                let comment = comment.join(" ");
                let sentence = comment.split_once(". ").map_or(comment.as_str(), |(first, _)| first);
                about.insert(name, sentence.trim_end_matches('.').to_owned());
            }
        }
    }
    let used_by = |name: &str| match users.get(name) {
        Some(users) => users.iter().cloned().collect::<Vec<_>>().join(", "),
        None => String::new(),
    };
    let part = |folder: &'static str| about.iter().filter(move |(name, _)| name.starts_with(folder));
    let mut text = "| kernel | |\n|---|---|\n".to_owned();
    for (name, about) in part("kernels/") {
        text.push_str(&format!("| `{name}` | {about} |\n"));
    }
    text.push_str("\n| shared file | | used by |\n|---|---|---|\n");
    for (name, about) in part("shared/") {
        text.push_str(&format!("| `{name}` | {about} | {} |\n", used_by(name)));
    }
    text.push_str("\n| slot | used by |\n|---|---|\n");
    let slots: BTreeSet<String> =
        part("slots/").filter_map(|(name, _)| Some(name.split('/').nth(1)?.to_owned())).collect();
    for slot in slots {
        text.push_str(&format!("| `<{slot}>` | {} |\n", used_by(&format!("<{slot}>"))));
    }
    text.push_str("\n| file of a slot | | also used, whatever is chosen, by |\n|---|---|---|\n");
    for (name, about) in part("slots/") {
        text.push_str(&format!("| `{name}` | {about} | {} |\n", used_by(name)));
    }
    text
}

fn shader() -> String {
    let variants = shader_variants();
    let name = "fused_rows-quad-registers4-element1-subgroup-from-x-weight-bias-to-y-mean-rstd-stats";
    let variant = variants.iter().find(|variant| variant.name == name).unwrap_or_else(|| panic!("no {name}"));
    format!("`{name}`:\n\n```wgsl\n{}```\n", variant.source)
}

#[test]
fn the_readme_of_the_shaders_is_current() {
    let parts = [("norms", norms()), ("files", files()), ("shader", shader())];
    generated_parts(&shaders().join("README.md"), &parts);
}
