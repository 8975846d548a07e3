//! The examples with files, arguments and an exit status, run as programs of their own. They assert what they claim.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::gpu;

/// `cargo test` has built it already.
fn command(example: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["run", "--quiet", "--profile", "test", "--features", "cli", "--example", example, "--"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn run(example: &str, arguments: &[&Path]) -> Output {
    command(example, arguments).output().unwrap()
}

#[test]
fn demo() {
    let told = |backend: Option<&str>| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = command("demo", &[Path::new("--output"), folder.path()]);
        command.envs(backend.map(|backend| ("WGPU_BACKEND", backend)));
        let output = command.output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
        for norm in ["LayerNorm", "RmsNorm", "GroupNorm", "InstanceNorm", "BatchNorm train", "BatchNorm eval"] {
            let row = stdout.lines().find(|line| line.starts_with(norm)).unwrap_or_else(|| panic!("{norm}: {stdout}"));
            let times = row.split("  ").filter(|cell| [" s", " ms", " us"].iter().any(|unit| cell.ends_with(unit)));
            assert_eq!(times.count(), if backend.is_none() { 2 } else { 1 }, "{row}");
        }
        assert!(folder.path().join("before_after.png").exists());
        stdout
    };
    let both = told(None);
    assert!(both.starts_with(&format!("Adapter: {}", gpu().describe())) && both.contains("apply_rows"), "{both}");
    // No backend that this was built with.
    let alone = told(Some("noop"));
    assert!(alone.starts_with("On the CPU alone, ") && !alone.contains("Passes"), "{alone}");
}

/// It fails by itself where it learns too little, or where the model that it saved is not the one that it trained.
#[test]
fn train() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--epochs", "5", "--norm", "batch", "--output"].map(Path::new);
    let output = run("train", &[&arguments[..], &[folder.path()]].concat());
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    // PyTorch's, from the same weights on the same batches: `examples/train/pytorch.py --epochs 5`.
    for (name, want) in [("batch norm: ", 0.0881), ("no norm: ", 0.3369)] {
        let line = stdout.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let loss = line.split("loss ").nth(1).unwrap().split(',').next().unwrap().parse::<f64>().unwrap();
        assert!((loss - want).abs() < 0.05 * want, "{line}");
    }
    let svg = fs::read_to_string(folder.path().join("loss.svg")).unwrap();
    let text: Vec<String> = roxmltree::Document::parse(&svg)
        .unwrap()
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .map(|node| node.text().unwrap().trim().to_owned())
        .collect();
    assert!(text.contains(&"batch norm".to_owned()) && text.contains(&"no norm".to_owned()), "{text:?}");
    let model = fs::read(folder.path().join("model.safetensors")).unwrap();
    let model = wgpu_norm::safetensors::SafeTensors::deserialize(&model).unwrap();
    // 5 epochs of 1437 images, 64 at a time.
    let batches = model.tensor("norm7.num_batches_tracked").unwrap();
    assert_eq!(batches.data(), 115u64.to_le_bytes());
    assert_eq!(model.tensor("linear8.weight").unwrap().shape(), [10, 48]);
}

#[test]
fn shaders() {
    let folder = tempfile::tempdir().unwrap();
    let variants = wgpu_norm::shader_variants();
    let place = folder.path().join("new").join("shaders");
    let stale = place.join(format!("{}.wgsl", variants[0].name));
    fs::create_dir_all(&place).unwrap();
    fs::write(&stale, "stale").unwrap();
    fs::write(place.join("kept.txt"), "kept").unwrap();

    let output = run("shaders", &[&place]);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(place.join("kept.txt")).unwrap(), "kept");
    assert_eq!(fs::read_dir(&place).unwrap().count(), variants.len() + 3);
    // What each platform takes is there, with constants that the shader has.
    let jobs = fs::read_to_string(place.join("platforms").join("mali-g610.txt")).unwrap();
    for job in jobs.lines() {
        let (words, title) = job.trim_start_matches('#').split_once(" # ").unwrap();
        let mut words = words.split(' ');
        let source = fs::read_to_string(place.join("platforms").join(words.next().unwrap())).unwrap();
        assert!(source.contains(&format!("fn {}(", words.next().unwrap())), "{job}");
        for (name, value) in words.map(|word| word.split_once('=').unwrap()) {
            assert!(source.contains(&format!("override {name}")), "{name}: {job}");
            assert!(value.parse::<f64>().is_ok(), "{job}");
        }
        assert!(title.contains("Norm") && title.contains(": "), "{job}");
    }
    assert!(jobs.lines().count() > 40, "{jobs}");
    let list: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(place.join("shaders.json")).unwrap()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), variants.len());
    for (entry, variant) in list.as_array().unwrap().iter().zip(&variants) {
        let source = fs::read_to_string(place.join(entry["file"].as_str().unwrap())).unwrap();
        assert_eq!(source, variant.source, "{entry}");
        assert_eq!(entry["entry_point"], variant.entry_point, "{entry}");
        assert!(source.contains(&format!("fn {}(", variant.entry_point)), "{entry}");
        assert!(entry["workgroup_size"].as_u64().is_some_and(|size| size > 0), "{entry}");
        assert_eq!(entry["constants"].as_object().unwrap().len(), variant.constants.len(), "{entry}");
        for &(name, value) in &variant.constants {
            assert_eq!(entry["constants"][name].as_f64(), Some(value), "{name}: {entry}");
        }
    }
    // A file is no folder.
    assert!(!run("shaders", &[&stale]).status.success());
    assert!(!run("shaders", &[]).status.success());
}

/// The compilers' times are whatever they are.
#[test]
fn compile_times() {
    let output = run("shaders", &[Path::new("--times")]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let table: Vec<Vec<&str>> =
        stdout.lines().filter(|line| line.starts_with('|')).map(|line| line.split(" | ").collect()).collect();
    // A head, the line below it, and eight shaders; two columns are a browser's.
    assert_eq!(table.len(), 10, "{stdout}");
    assert!([9, 11].contains(&table[0].len()), "{stdout}");
    for row in &table[2..] {
        assert_eq!(row.len(), table[0].len(), "{stdout}");
        for (title, cell) in table[0].iter().zip(row).skip(1) {
            let unit = if ["WGSL", "HLSL", "MSL"].contains(title) { " KB, " } else { " ms" };
            let (number, _) = cell.split_once(unit).unwrap_or_else(|| panic!("{title}: {cell}"));
            assert!(number.parse::<f64>().is_ok_and(|number| number > 0.0), "{title}: {cell}");
        }
    }
}
