//! The command `wgpu-norm apply` and `adapters`: what it computes, what it says, and how it ends.
//!
//! `command_files.rs` feeds it files that are not what they should be.

mod bench;
mod device;
mod doctor;
mod files;
mod grad;
mod plan;
mod types;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use wgpu_norm::ndarray::{ArrayD, Axis};

use crate::golden;

/// A folder of its own, in which the command runs.
pub struct Folder(TempDir);

/// How a run of the command ended.
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a file in a temporary folder");
    }

    /// Writes values in C order.
    pub fn npy<T: npyz::AutoSerialize + Copy>(&self, name: &str, shape: &[u64], values: &[T]) {
        use npyz::WriterBuilder as _;
        let mut bytes = Vec::new();
        let mut writer =
            npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().expect("a header");
        writer.extend(values.iter().copied()).expect("values");
        writer.finish().expect("as many values as the shape says");
        self.write(name, &bytes);
    }

    /// A command that runs here, with a space in `line` between two arguments.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-norm"));
        command.current_dir(self.0.path()).env("WGPU_NORM_DEVICE", "gpu").args(line.split_whitespace());
        // Without it, a layer of Mesa's Vulkan complains on standard error.
        command.env("XDG_RUNTIME_DIR", self.0.path());
        command
    }

    pub fn run(&self, line: &str) -> Ended {
        Ended::of(self.command(line).output().expect("the command starts"))
    }

    /// Runs the command with an environment variable set.
    pub fn run_with(&self, line: &str, variable: &str, value: &str) -> Ended {
        Ended::of(self.command(line).env(variable, value).output().expect("the command starts"))
    }

    /// Runs the command, which has to succeed.
    pub fn succeed(&self, line: &str) -> Ended {
        let ended = self.run(line);
        assert_eq!(ended.status, Some(0), "{line}\n{}", ended.stderr);
        ended
    }

    /// Runs the command, which has to end with this status, nothing on standard output, and all these words on
    /// standard error.
    pub fn refuse(&self, status: i32, line: &str, words: &[&str]) {
        self.run(line).refused(status, line, words);
    }

    /// Reads an output as NumPy would.
    pub fn read(&self, name: &str) -> ArrayD<f32> {
        read(&self.path(name))
    }

    /// The names of all files here, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("a temporary folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Ended {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub fn refused(&self, status: i32, line: &str, words: &[&str]) {
        let stderr = &self.stderr;
        assert_eq!(self.status, Some(status), "{line}\n{stderr}");
        assert!(stderr.starts_with("error: "), "{line}\n{stderr}");
        assert!(!stderr.contains("panicked"), "{line}\n{stderr}");
        assert_eq!(self.stdout, "", "{line}");
        for word in words {
            assert!(stderr.contains(word), "{line}: no {word:?} in\n{stderr}");
        }
        if status != 2 {
            assert_eq!(stderr.lines().count(), 1, "{line}: not one paragraph\n{stderr}");
        }
    }

    /// The one JSON object on standard output.
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).expect("JSON")
    }
}

fn read(path: &Path) -> ArrayD<f32> {
    let bytes = fs::read(path).expect("an output");
    let file = npyz::NpyFile::new(bytes.as_slice()).expect("a .npy header");
    assert_eq!(file.order(), npyz::Order::C);
    assert_eq!(file.dtype().descr(), if cfg!(target_endian = "little") { "'<f4'" } else { "'>f4'" });
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    ArrayD::from_shape_vec(shape, file.into_vec().expect("float32")).expect("as many values as the header says")
}

/// Values that float16 and bfloat16 hold exactly.
pub fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + 11) % 64) as f32 / 8.0 - 3.0).collect()
}

/// A folder with `x.npy` of shape (2, 3, 4).
fn small() -> Folder {
    let folder = Folder::new();
    folder.npy("x.npy", &[2, 3, 4], &values(24));
    folder
}

pub fn assert_close(what: &str, got: &ArrayD<f32>, want: &ArrayD<f64>) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    let size = want.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
    for (got, want) in got.iter().zip(want) {
        assert!((f64::from(*got) - want).abs() <= 4e-6 * size, "{what}: {got} for {want}, size {size}");
    }
}

/// An array of a golden case, as the command takes it.
pub fn file(case: &golden::Case, part: &str) -> String {
    format!("{}/tests/golden/cases.safetensors:{}.{part}", env!("CARGO_MANIFEST_DIR"), case.name)
}

/// The options of a golden case that both directions take; as a list, since the path of the repository may have spaces.
pub fn arguments(case: &golden::Case) -> Vec<String> {
    let mut arguments = vec!["--input".to_owned(), file(case, "x")];
    let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
    add("--eps", case.eps.to_string());
    if case.weight.is_some() {
        add("--weight", file(case, "weight"));
    }
    if let Some(shape) = &case.normalized_shape {
        let lengths: Vec<String> = shape.iter().map(usize::to_string).collect();
        add("--normalized-shape", lengths.join(","));
    }
    if let (Some(offset), true) = (case.weight_offset, case.weight.is_some()) {
        add("--weight-offset", offset.to_string());
    }
    if let Some(axis) = case.channel_axis {
        add("--channel-axis", axis.to_string());
    }
    if let Some(groups) = case.num_groups {
        add("--groups", groups.to_string());
    }
    if case.training == Some(true) {
        arguments.push("--train".to_owned());
    }
    arguments
}

/// The command over the golden files, with every output written and `--check`.
#[test]
fn it_computes_what_pytorch_does() {
    let chosen = [
        "layer_two_dims",
        "rms_weight_offset",
        "rms_no_affine",
        "group_nchw",
        "group_nhwc",
        "instance_nlc",
        "batch_ncl",
        "batch_population",
        "batch_eval_nhwc",
    ];
    let cases = golden::cases();
    for name in chosen {
        let case = cases.iter().find(|case| case.name == name).expect("a golden case of this name");
        let folder = Folder::new();
        let training = case.training.unwrap_or(false);
        let mut arguments = arguments(case);
        let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
        let inputs = [("bias", &case.bias), ("running_mean", &case.running_mean), ("running_var", &case.running_var)];
        for (part, array) in inputs {
            if array.is_some() {
                add(&format!("--{}", part.replace('_', "-")), file(case, part));
            }
        }
        if let Some(momentum) = case.momentum {
            add("--momentum", momentum.to_string());
        }
        if let Some(estimator) = &case.estimator {
            let estimator = if estimator == "unbiased" { "unbiased" } else { "biased" };
            add("--running-var-estimator", estimator.to_owned());
        }
        let rstd = (case.norm != "batch" || training).then(|| case.rstd.clone());
        let wanted = [
            ("y", "--output", Some(case.y.clone())),
            ("mean", "--save-mean", case.mean.clone()),
            ("rstd", "--save-rstd", rstd),
            ("running_mean", "--save-running-mean", case.running_mean_out.clone()),
            ("running_var", "--save-running-var", case.running_var_out.clone()),
        ];
        for (output, option, array) in &wanted {
            if array.is_some() {
                add(option, format!("{output}.npy"));
            }
        }
        let line = format!("apply {} --check --json", case.norm);

        let output = folder.command(&line).args(&arguments).output().expect("the command starts");

        let ended = Ended::of(output);
        assert_eq!(ended.status, Some(0), "{name}\n{}{}", ended.stdout, ended.stderr);
        let report = ended.json();
        assert_eq!(report["norm"], case.norm, "{name}");
        assert_eq!(report["check"]["passed"], true, "{name}\n{report}");
        for (output, _, want) in wanted {
            let Some(want) = want else { continue };
            // The statistics of the golden files are as PyTorch saves them, which is not always as the command does.
            let got = folder.read(&format!("{output}.npy"));
            let want = want.into_shape_with_order(got.shape()).expect("as many values");
            assert_close(&format!("{name}: {output}"), &got, &want);
            assert_eq!(report["outputs"][output]["file"], format!("{output}.npy"), "{name}");
            assert!(report["check"]["largest_errors"][output]["relative"].is_number(), "{name}: {output}\n{report}");
        }
    }
}

#[test]
fn statistics_have_the_shapes_that_the_help_says() {
    let folder = Folder::new();
    folder.npy("x.npy", &[2, 3, 4, 6], &values(144));
    let runs: [(&str, &[usize]); 5] = [
        ("layer --save-mean mean.npy", &[2, 3, 4, 1]),
        ("rms --normalized-shape 4,6", &[2, 3, 1, 1]),
        ("group --groups 2 --save-mean mean.npy", &[2, 2]),
        ("instance --channel-axis 1 --save-mean mean.npy", &[2, 3]),
        ("batch --train --save-mean mean.npy", &[6]),
    ];
    for (norm, shape) in runs {
        let _ = fs::remove_file(folder.path("mean.npy"));
        let ended = folder.succeed(&format!("apply {norm} --input x.npy --output y.npy --save-rstd rstd.npy --check"));
        assert_eq!(folder.read("rstd.npy").shape(), shape, "{norm}");
        if norm.contains("--save-mean") {
            assert_eq!(folder.read("mean.npy").shape(), shape, "{norm}");
        }
        assert_eq!(folder.read("y.npy").shape(), [2, 3, 4, 6], "{norm}");
        assert!(ended.stdout.contains("[2, 3, 4, 6]"), "{}", ended.stdout);
        assert!(ended.stdout.contains("check: y is off by "), "{}", ended.stdout);
        assert!(ended.stdout.contains("check: rstd is off by "), "{}", ended.stdout);
        assert_eq!(ended.stderr, "", "{norm}");
    }
}

#[test]
fn running_statistics_start_as_pytorch_does_and_serve_later() {
    let folder = small();
    let input = "apply batch --input x.npy --channel-axis 1";
    folder.succeed(&format!(
        "{input} --output y.npy --train --momentum 0.25 --check --save-running-mean m.npy --save-running-var v.npy"
    ));
    let x = folder.read("x.npy").mapv(f64::from);
    for channel in 0..3 {
        let of_channel = x.index_axis(Axis(1), channel);
        let mean = of_channel.sum() / 8.0;
        let var = of_channel.mapv(|value| (value - mean).powi(2)).sum() / 8.0;
        let near = |got: f32, want: f64| (f64::from(got) - want).abs() < 1e-5;
        assert!(near(folder.read("m.npy")[[channel]], 0.25 * mean));
        assert!(near(folder.read("v.npy")[[channel]], 0.75 + 0.25 * var));
    }
    // One alone can be saved.
    folder.succeed(&format!("{input} --output y.npy --train --momentum 0.25 --save-running-mean m1.npy"));
    assert_eq!(folder.read("m1.npy"), folder.read("m.npy"));
    folder.succeed(&format!("{input} --output z.npy --running-mean m.npy --running-var v.npy --check"));
    // Training does not look at them, nor need them.
    folder.succeed(&format!("{input} --output y2.npy --train"));
    assert_eq!(folder.read("y2.npy"), folder.read("y.npy"));
    assert_ne!(folder.read("z.npy"), folder.read("y.npy"));
}

#[test]
fn negative_numbers_are_values() {
    let folder = small();
    folder.npy("w.npy", &[4], &[1.0_f32, 2.0, 3.0, 4.0]);
    for line in ["instance --channel-axis -2", "instance --channel-axis=-2"] {
        folder.succeed(&format!("apply {line} --input x.npy --output y.npy --check"));
    }
    for line in ["rms --weight-offset -1.5e-1", "rms --weight-offset=-1.5e-1"] {
        folder.succeed(&format!("apply {line} --input x.npy --output y.npy --weight w.npy --check"));
    }
    for option in ["--eps", "--momentum"] {
        for value in [" -1e-5", "=-1e-5"] {
            let line = format!("apply batch --train --input x.npy --output no.npy {option}{value}");
            folder.refuse(2, &line, &[option, "-1e-5"]);
        }
    }
}

#[test]
fn an_output_may_replace_its_input() {
    let folder = small();
    folder.npy("w.npy", &[4], &[1.0_f32, 2.0, 3.0, 4.0]);
    folder.succeed("apply layer --input x.npy --weight w.npy --output y.npy");
    folder.succeed("apply layer --input x.npy --weight w.npy --output x.npy --save-rstd w.npy");
    assert_eq!(folder.read("x.npy"), folder.read("y.npy"));
    assert_eq!(folder.read("w.npy").shape(), [2, 3, 1]);
    assert_eq!(folder.files(), ["w.npy", "x.npy", "y.npy"]);
}

#[test]
fn empty_arrays_come_back_empty() {
    let folder = Folder::new();
    folder.npy::<f32>("none.npy", &[0, 3], &[]);
    let ended = folder.succeed("apply layer --input none.npy --output y.npy --save-mean m.npy --check");
    assert_eq!(folder.read("y.npy").shape(), [0, 3]);
    assert_eq!(folder.read("m.npy").shape(), [0, 1]);
    assert!(ended.stdout.contains("check: y is empty"), "{}", ended.stdout);
}

#[test]
fn json_is_one_object() {
    let folder = small();
    folder.npy("x64.npy", &[2, 3, 4], &values(24).iter().map(|&value| f64::from(value)).collect::<Vec<f64>>());
    let ended = folder.succeed("apply layer --input x64.npy --output y.npy --json");
    let report = ended.json();
    assert_eq!(report["norm"], "layer");
    assert_eq!(report["device"], "gpu");
    assert_eq!(report["input"]["shape"], serde_json::json!([2, 3, 4]));
    assert_eq!(report["input"]["converted_from"], "float64");
    assert_eq!(report["outputs"]["y"]["shape"], serde_json::json!([2, 3, 4]));
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(report["plan"].as_array().is_some_and(|plan| !plan.is_empty()));
    assert_eq!(report["check"], Value::Null);
    assert!(ended.stderr.starts_with("note: "), "{}", ended.stderr);

    let adapters = folder.succeed("adapters --json").json();
    let adapters = adapters["adapters"].as_array().expect("a list");
    let used: Vec<&Value> = adapters.iter().filter(|adapter| adapter["used"] == true).collect();
    assert_eq!(used.len(), 1, "{adapters:?}");
    assert_eq!(used[0]["name"], report["adapter"]["name"]);
    assert!(used[0]["limits"]["max_buffer_size"].is_u64());
    let name = used[0]["name"].as_str().expect("a name");
    assert!(folder.succeed("adapters").stdout.contains(name));
    let chosen = folder.command("apply layer --input x.npy --output y.npy").args(["--adapter", name]).output();
    assert_eq!(Ended::of(chosen.expect("the command starts")).status, Some(0));
}

#[test]
fn options_of_other_norms_are_refused() {
    let folder = small();
    let runs = [
        ("layer --groups 3", ["--groups", "group norm"]),
        ("layer --channel-axis 1", ["--channel-axis", "group, instance and batch"]),
        ("layer --weight-offset 1", ["--weight-offset", "rms norm"]),
        ("layer --train", ["--train", "batch norm"]),
        ("rms --save-mean m.npy", ["--save-mean", "layer, group, instance, batch and mvn"]),
        ("lp --save-mean m.npy", ["--save-mean", "takes no mean"]),
        ("mvn --weight w.npy", ["--weight", "layer, rms, group, instance and batch"]),
        ("lp --bias w.npy", ["--bias", "layer, rms, group, instance and batch"]),
        ("batch --axes 1", ["--axes", "layer, rms, mvn and lp"]),
        ("layer --axes 1 --normalized-shape 4", ["--axes", "--normalized-shape"]),
        ("mvn --p 1", ["--p", "lp"]),
        ("rms --running-mean x.npy", ["--running-mean", "batch norm"]),
        ("group --normalized-shape 4", ["--normalized-shape", "layer and rms"]),
        ("group --running-var x.npy", ["--running-var", "batch norm"]),
        ("group --momentum 0.5", ["--momentum", "batch norm"]),
        ("instance --running-var-estimator biased", ["--running-var-estimator", "batch norm"]),
        ("instance --save-running-mean m.npy", ["--save-running-mean", "batch norm"]),
        ("instance --save-running-var m.npy", ["--save-running-var", "batch norm"]),
        ("batch --train --normalized-shape 4", ["--normalized-shape", "layer and rms"]),
        // Those of batch norm that need --train, and each other.
        ("batch", ["--running-mean", "--train"]),
        ("batch --running-mean x.npy", ["--running-mean", "--running-var"]),
        ("batch --train --running-var x.npy", ["--running-var", "--running-mean"]),
        ("batch --save-mean m.npy", ["--save-mean", "--train"]),
        ("batch --save-rstd m.npy", ["--save-rstd", "--train"]),
        ("batch --momentum 0.5", ["--momentum", "--train"]),
        ("batch --running-var-estimator unbiased", ["--running-var-estimator", "--train"]),
        ("batch --save-running-mean m.npy", ["--save-running-mean", "--train"]),
        ("batch --save-running-var m.npy", ["--save-running-var", "--train"]),
        ("batch --train --momentum 0.5", ["--momentum", "--save-running-mean"]),
        ("batch --train --running-var-estimator biased", ["--running-var-estimator", "--save-running-mean"]),
        ("rms --weight-offset 1", ["--weight-offset", "--weight"]),
    ];
    for (options, words) in runs {
        folder.refuse(2, &format!("apply {options} --input x.npy --output y.npy"), &words);
    }
    assert_eq!(folder.files(), ["x.npy"]);
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let folder = small();
    let runs = [
        ("layer --eps nan", ["--eps", "finite"]),
        ("layer --eps -inf", ["--eps", "finite"]),
        ("layer --eps 1e39", ["--eps", "finite"]),
        ("layer --eps 1e-60", ["--eps", "too small"]),
        ("layer --eps little", ["--eps", "a number"]),
        ("layer --eps -0.5", ["--eps", "at least 0"]),
        ("rms --weight-offset inf", ["--weight-offset", "finite"]),
        ("layer --normalized-shape 3,four", ["--normalized-shape", "8,64"]),
        ("layer --normalized-shape -4", ["--normalized-shape", "8,64"]),
        ("group --groups 0", ["--groups", "at least 1"]),
        ("group --groups -1", ["--groups", "at least 1"]),
        ("group --channel-axis last", ["--channel-axis", "whole number"]),
        ("batch --train --momentum 1.5", ["--momentum", "0 to 1"]),
        ("batch --train --running-var-estimator both", ["--running-var-estimator", "unbiased"]),
        ("layer --device tpu", ["--device", "gpu"]),
        ("layer --output y.npy", ["--output", "multiple times"]),
        ("layer --shape 4", ["--shape", "unexpected"]),
        ("layernorm", ["layernorm", "instance"]),
    ];
    for (options, words) in runs {
        folder.refuse(2, &format!("apply {options} --input x.npy --output y.npy"), &words);
    }
    let from_environment =
        folder.command("apply layer --input x.npy --output y.npy").env("WGPU_NORM_DEVICE", "tpu").output();
    Ended::of(from_environment.expect("the command starts")).refused(
        2,
        "WGPU_NORM_DEVICE",
        &["WGPU_NORM_DEVICE", "gpu"],
    );
    folder.refuse(2, "apply layer --input x.npy", &["--output"]);
    folder.refuse(2, "apply --input x.npy --output y.npy", &["NORM"]);
    assert_eq!(folder.run("").status, Some(2));
    assert_eq!(folder.files(), ["x.npy"]);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let folder = small();
    folder.npy("w.npy", &[3], &[1.0_f32, 2.0, 3.0]);
    folder.npy("scalar.npy", &[], &[1.0_f32]);
    let runs: [(&str, &[&str]); 9] = [
        ("layer --input x.npy --normalized-shape 3", &["--normalized-shape", "[3]", "[2, 3, 4]"]),
        ("layer --input x.npy --normalized-shape 9,2,3,4", &["--normalized-shape", "[2, 3, 4]"]),
        ("layer --input x.npy --weight w.npy", &["--weight", "[3]", "[4]"]),
        ("rms --input x.npy --bias w.npy", &["--bias", "[3]", "[4]"]),
        ("batch --input x.npy --running-mean w.npy --running-var w.npy", &["--running-mean", "[3]", "[4]"]),
        ("group --input x.npy", &["--groups", "32", "4"]),
        ("group --input x.npy --groups 3 --channel-axis 3", &["--channel-axis", "3", "[2, 3, 4]"]),
        ("instance --input x.npy --channel-axis -4", &["--channel-axis", "-4"]),
        ("layer --input scalar.npy", &["--input", "scalar"]),
    ];
    for (options, words) in runs {
        folder.refuse(1, &format!("apply {options} --output y.npy"), words);
    }
    assert_eq!(folder.files(), ["scalar.npy", "w.npy", "x.npy"]);
}

#[test]
fn without_an_adapter_the_exit_status_is_three() {
    let folder = small();
    let lines = [
        "apply layer --input x.npy --output y.npy",
        "grad layer --input x.npy --grad-output x.npy --save-grad-input dx.npy",
        "plan layer --shape 4x8",
        "bench --norm layer",
        "doctor",
    ];
    let none_named = "error: no adapter's name contains \"no-such\", which is WGPU_ADAPTER_NAME; there are: ";
    for line in lines {
        let words = ["--adapter: no adapter's name contains \"no-such-adapter\"; there are: "];
        folder.refuse(3, &format!("{line} --adapter no-such-adapter"), &words);
        folder.run_with(line, "WGPU_ADAPTER_NAME", "no-such").refused(3, line, &[none_named]);
        // No backend that this was built with.
        let none = folder.run_with(line, "WGPU_BACKEND", "noop");
        none.refused(3, line, &["no GPU adapter"]);
        assert!(!none.stderr.contains("--adapter"), "{}", none.stderr);
    }
    // What there is to compute on is told all the same.
    for (variable, value, device, told, error) in [
        ("WGPU_BACKEND", "noop", "cpu", "auto and cpu: no GPU adapter was found", "error: no GPU adapter"),
        ("WGPU_ADAPTER_NAME", "no-such", "", "cpu", none_named),
    ] {
        let text = folder.run_with("adapters", variable, value);
        assert_eq!(text.status, Some(3), "{}", text.stderr);
        assert!(text.stderr.starts_with(error), "{}", text.stderr);
        let cpu = text.stdout.lines().last().expect("a line");
        assert!(cpu.starts_with("CPU, ") && cpu.ends_with(&format!(", used by --device {told}")), "{cpu}");
        assert!(!text.stdout.contains("--device gpu"), "{}", text.stdout);
        let json = folder.run_with("adapters --json", variable, value);
        assert_eq!((json.status, json.stderr), (text.status, text.stderr));
        let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
        assert!(json["cpu"].as_str().is_some_and(|told| cpu.starts_with(told)), "{json}");
        assert_eq!(json["device"].as_str().unwrap_or_default(), device, "{json}");
    }
    assert!(folder.succeed("--help").stdout.contains("  3  there is no adapter"));
    assert_eq!(folder.files(), ["x.npy"]);
}

/// A folder with `x.npy`: 1.7e9 and on by ones, which float32 has in steps of 128.
fn large() -> Folder {
    let folder = Folder::new();
    folder.npy("x.npy", &[1, 4], &[1.7e9, 1.7e9 + 1.0, 1.7e9 + 2.0, 1.7e9 + 3.0]);
    folder
}

#[test]
fn checking_goes_by_the_values_in_the_files() {
    let folder = large();
    let line = "apply layer --input x.npy --output y.npy --eps 0.75 --check";
    for (name, options) in [("x.npy", ""), ("whole.npy", ""), ("x.npy", " --save-rstd r.npy")] {
        folder.npy("whole.npy", &[1, 4], &[1_700_000_000_i64, 1_700_000_001, 1_700_000_002, 1_700_000_003]);
        let ended = folder.run(&format!("{line}{options}").replace("x.npy", name));
        assert_eq!(ended.status, Some(1), "{}", ended.stdout);
        // (-1.5, -0.5, 0.5, 1.5) / sqrt(2), which is off by all of its size.
        let told = "check: y is off by at most 1.0e0 of the size of its terms (1.0e0 by conversion to float32), \
                    at [0, 0]: 0.0, and -1.06";
        assert!(ended.stdout.contains(told), "{}", ended.stdout);
        let failed = "y is off by 1.0e0 of the size of its terms (1.0e0 by conversion to float32)";
        assert!(ended.stderr.contains(failed), "{}", ended.stderr);
        assert_eq!(ended.stderr.contains("rstd is off by"), !options.is_empty(), "{}", ended.stderr);
        // What was computed is written all the same.
        assert_eq!(folder.read("y.npy").as_slice(), Some([0.0; 4].as_slice()));
    }
    let report = folder.run(&format!("{line} --json")).json();
    let of_y = &report["check"]["largest_errors"]["y"];
    assert_eq!((&report["check"]["passed"], &of_y["by_conversion"]), (&false.into(), &1.0.into()), "{report}");
    assert_eq!(of_y["relative"], 1.0, "{report}");
}

#[test]
fn checking_tells_a_small_share_and_keeps_quiet_about_none() {
    let folder = Folder::new();
    let mut data = crate::support::Data::new(8);
    let double: Vec<f64> = (0..24).map(|_| data.uniform()).collect();
    folder.npy("x64.npy", &[4, 6], &double);
    folder.npy("x.npy", &[4, 6], &double.iter().map(|&v| v as f32).collect::<Vec<f32>>());
    folder.npy("w64.npy", &[6], &double[..6]);
    // What float32 has as well: nothing is rounded.
    folder.npy("same64.npy", &[4, 6], &values(24).into_iter().map(f64::from).collect::<Vec<f64>>());
    folder.npy("int.npy", &[4, 6], &(0..24).map(|i| i * 1000 - 7).collect::<Vec<i64>>());
    let by_conversion = |options: &str| {
        let line = format!("apply rms --output y.npy {options} --check");
        let ended = folder.succeed(&line);
        let report = folder.succeed(&format!("{line} --json")).json();
        let share = report["check"]["largest_errors"]["y"]["by_conversion"].as_f64();
        assert_eq!(ended.stdout.contains("by conversion"), share.is_some(), "{}", ended.stdout);
        share
    };
    for rounded in ["--input x64.npy", "--input x.npy --weight w64.npy", "--input x.npy --bias w64.npy"] {
        assert!(by_conversion(rounded).is_some_and(|share| share > 0.0 && share < 1e-6), "{rounded}");
    }
    for exact in ["--input x.npy", "--input same64.npy", "--input int.npy"] {
        assert_eq!(by_conversion(exact), None, "{exact}");
    }
    // Running statistics are held to those of the file.
    folder.npy("far64.npy", &[6], &[1e9 + 1.0; 6]);
    folder.npy("var64.npy", &[6], &[1.0_f64; 6]);
    let running = "--running-mean far64.npy --running-var var64.npy --check";
    folder.npy("far.npy", &[1, 6], &[1e9_f32; 6]);
    let ended = folder.run(&format!("apply batch --input far.npy --output y.npy {running}"));
    assert_eq!(ended.status, Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains("(1.0e0 by conversion"), "{}", ended.stdout);
}

/// Past 2^53 float64 rounds as well: neither side of a check would be right.
#[test]
fn checking_refuses_integers_that_float64_rounds() {
    let folder = Folder::new();
    folder.npy("x.npy", &[3], &[1_i64 << 53, (1 << 53) + 1, i64::MIN]);
    folder.npy("u.npy", &[1], &[u64::MAX]);
    folder.succeed("apply layer --input x.npy --output y.npy");
    let words = ["--input", "9007199254740993", "[1]", "float64", "--check"];
    folder.refuse(1, "apply layer --input x.npy --output y.npy --check", &words);
    folder.refuse(1, "apply layer --input u.npy --output y.npy --check", &["18446744073709551615", "[0]"]);
}

#[test]
fn help_and_version_are_answers() {
    let folder = Folder::new();
    let version = folder.succeed("--version").stdout;
    assert_eq!(version.trim(), concat!("wgpu-norm ", env!("CARGO_PKG_VERSION")));
    let help = folder.succeed("--help").stdout;
    assert!(help.contains("Examples:") && help.contains("Exit status:"), "{help}");
    for command in ["apply", "grad"] {
        let help = folder.succeed(&format!("{command} --help")).stdout;
        for word in ["WGPU_NORM_DEVICE", "file.safetensors:name", "--dtype", "4e-6", "[default: 32]"] {
            assert!(help.contains(word), "{command}: no {word} in\n{help}");
        }
    }
}

/// Whoever reads the output may stop.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_failure() {
    use std::process::Stdio;
    let folder = small();
    let mut child = folder
        .command("apply layer --input x.npy --output y.npy")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stdout.take());
    let ended = Ended::of(child.wait_with_output().expect("the command ends"));
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(folder.read("y.npy").shape(), [2, 3, 4]);
}

/// The batch mean of centred data cancels: an error in it is measured by the data, not by what is left.
#[test]
fn checking_running_statistics_of_centred_data() {
    let place = Folder::new();
    let mut data = crate::support::Data::new(5);
    for shape in [vec![4096, 64], vec![64, 32], vec![0, 4]] {
        let x = data.normal(&shape, 0.0, 1.0);
        let dims: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        place.npy("x.npy", &dims, &x.iter().copied().collect::<Vec<f32>>());
        let ended = place.run(
            "apply batch --input x.npy --output y.npy --train --save-running-mean m.npy --save-running-var v.npy --check",
        );
        assert_eq!(ended.status, Some(0), "{shape:?}\n{}{}", ended.stdout, ended.stderr);
        assert!(!ended.stdout.contains("count_batch"), "{}", ended.stdout);
    }
}

#[test]
fn outputs_that_are_no_files_are_refused() {
    let place = small();
    for output in ["-", "y.safetensors"] {
        let line = format!("apply layer --input x.npy --output {output}");
        place.refuse(2, &line, &["--output", output]);
    }
}
