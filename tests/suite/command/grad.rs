//! The command `wgpu-norm grad`: what it computes, what it says, and how it ends.

use std::fs;

use half::{bf16, f16};

use crate::command::files::array;
use crate::command::{Ended, Folder, arguments, assert_close, file, values};
use crate::golden;

/// A folder with `x.npy` and `dy.npy` of shape (2, 3, 4), and `w.npy` of shape (4).
fn small() -> Folder {
    let folder = Folder::new();
    folder.npy("x.npy", &[2, 3, 4], &values(24));
    let dy: Vec<f32> = values(24).into_iter().rev().map(|value| value - 0.5).collect();
    folder.npy("dy.npy", &[2, 3, 4], &dy);
    folder.npy("w.npy", &[4], &[1.0_f32, 2.0, 3.0, 4.0]);
    folder
}

/// The command over the golden files, with every gradient written and `--check`.
#[test]
fn it_computes_what_autograd_does() {
    let cases = golden::cases();
    let cases: Vec<_> = cases.iter().filter(|case| case.grad_output.is_some()).collect();
    for norm in ["layer", "rms", "group", "instance", "batch"] {
        assert!(cases.iter().any(|case| case.norm == norm), "no golden gradients of {norm} norm");
    }
    for case in cases {
        let (folder, name) = (Folder::new(), &case.name);
        let mut arguments = arguments(case);
        let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
        add("--grad-output", file(case, "grad_output"));
        if case.training == Some(false) {
            add("--running-mean", file(case, "running_mean"));
            add("--running-var", file(case, "running_var"));
        }
        let outputs =
            [("grad_input", &case.grad_input), ("grad_weight", &case.grad_weight), ("grad_bias", &case.grad_bias)];
        for (output, _) in outputs {
            add(&format!("--save-{}", output.replace('_', "-")), format!("{output}.npy"));
        }
        let line = format!("grad {} --check --json", case.norm);

        let ended = Ended::of(folder.command(&line).args(&arguments).output().expect("the command starts"));

        assert_eq!(ended.status, Some(0), "{name}\n{}{}", ended.stdout, ended.stderr);
        let report = ended.json();
        assert_eq!(report["check"]["passed"], true, "{name}\n{report}");
        for (output, want) in outputs {
            let want = want.as_ref().expect("a gradient");
            assert_close(&format!("{name}: {output}"), &folder.read(&format!("{output}.npy")), want);
            assert!(report["check"]["largest_errors"][output]["relative"].is_number(), "{name}: {output}\n{report}");
        }
    }
}

#[test]
fn only_what_is_saved_is_computed() {
    let folder = small();
    let line = "grad layer --input x.npy --grad-output dy.npy --weight w.npy";
    folder
        .succeed(&format!("{line} --save-grad-input dx.npy --save-grad-weight dw.npy --save-grad-bias db.npy --check"));
    let all: Vec<_> = ["dx.npy", "dw.npy", "db.npy"].map(|name| folder.read(name)).into();
    let runs = [
        ("--save-grad-input", "grad_input", &all[0]),
        ("--save-grad-weight", "grad_weight", &all[1]),
        ("--save-grad-bias", "grad_bias", &all[2]),
    ];
    for (option, output, want) in runs {
        let report = folder.succeed(&format!("{line} {option} one.npy --check --json")).json();
        assert_close(option, &folder.read("one.npy"), &want.mapv(f64::from));
        let keys = |key: &str| report[key].as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys("outputs"), [output]);
        assert_eq!((&report["arguments"][0], &report["arguments"][8]), (&"grad".into(), &option.into()), "{report}");
        assert_eq!(report["check"]["largest_errors"].as_object().expect("an object").len(), 1, "{report}");
        // No pass adds up what nobody asked for.
        let sums = report["plan"].to_string().contains("merge_parameters");
        assert_eq!(sums, output != "grad_input", "{report}");
    }
    assert_eq!(folder.files(), ["db.npy", "dw.npy", "dx.npy", "dy.npy", "one.npy", "w.npy", "x.npy"]);
}

/// Forward and back, with the oracle beside.
#[test]
fn of_a_norm_with_an_activation() {
    let folder = small();
    folder.npy("b.npy", &[4], &[0.5_f32, -0.5, 0.25, 1.0]);
    for word in ["relu", "silu", "gelu", "gelu-tanh"] {
        let line = format!("layer --activation {word} --input x.npy --weight w.npy --bias b.npy --check --json");
        let report = folder.succeed(&format!("apply {line} --output y.npy")).json();
        assert_eq!(report["activation"], word);
        let outputs = "--save-grad-input dx.npy --save-grad-weight dw.npy --save-grad-bias db.npy";
        folder.succeed(&format!("grad {line} --grad-output dy.npy {outputs}"));
    }
    let line = "layer --activation silu --input x.npy";
    let ended = folder.succeed(&format!("apply {line} --output y.npy"));
    assert!(ended.stdout.starts_with("layer norm and SiLU of [2, 3, 4] in "), "{}", ended.stdout);
    let plan = folder.succeed("plan layer --activation gelu --shape 2x3x4").stdout;
    assert!(plan.starts_with("LayerNorm [2, 3, 4], then GELU, as block [6, 1, 1, 4]: "), "{plan}");
    folder.refuse(
        2,
        "apply layer --activation tanh --input x.npy --output y.npy",
        &["must be relu, silu, gelu or gelu-tanh"],
    );
}

/// A folder with all that may come before and after a norm of [`small`]: a row of scale and shift for each sample.
fn followed() -> Folder {
    let folder = small();
    folder.npy("b.npy", &[4], &[0.5_f32, -0.5, 0.25, 1.0]);
    folder.npy("scale.npy", &[2, 1, 4], &values(8));
    folder.npy("shift.npy", &[2, 1, 4], &values(16)[8..]);
    folder.npy("skip.npy", &[2, 3, 4], &values(48)[24..]);
    folder.npy("r.npy", &[2, 3, 4], &values(60)[36..]);
    folder
}

/// Scale, shift, skip and residual, forward and back, with the oracle beside.
#[test]
fn of_a_norm_with_all_that_follows_it() {
    let folder = followed();
    let line = "--weight w.npy --bias b.npy --scale scale.npy --shift shift.npy --offset 0.25 --skip skip.npy";
    let line = format!("layer {line} --activation silu --check");
    let forward = format!("{line} --input x.npy --residual r.npy --output y.npy --save-residual-out z.npy");
    let backward = format!("{line} --input z.npy --grad-output dy.npy --grad-residual r.npy --save-grad-input dx.npy");
    let following = "--save-grad-scale dscale.npy --save-grad-shift dshift.npy --save-grad-skip dskip.npy";
    for dtype in ["f16", "f32"] {
        let report = folder.succeed(&format!("apply {forward} --dtype {dtype} --json")).json();
        let errors = &report["check"]["largest_errors"];
        assert!(["y", "residual_out"].iter().all(|output| errors[output]["relative"].is_number()), "{report}");
        assert_eq!(report["outputs"]["residual_out"]["dtype"], dtype);
        let report = folder.succeed(&format!("grad {backward} {following} --dtype {dtype} --json")).json();
        assert_eq!(report["check"]["largest_errors"].as_object().map(|errors| errors.len()), Some(4), "{report}");
        let of = |name: &str| (report["outputs"][name]["dtype"].clone(), report["outputs"][name]["shape"].clone());
        assert_eq!(of("grad_skip"), (dtype.into(), serde_json::json!([2, 3, 4])));
        assert_eq!(of("grad_scale"), ("f32".into(), serde_json::json!([2, 1, 4])));
        let read =
            |file: &str, shape: &[usize]| serde_json::json!({ "file": file, "shape": shape, "converted_from": null });
        assert_eq!(report["scale"], read("scale.npy", &[2, 1, 4]));
        assert_eq!(report["weight"], read("w.npy", &[4]));
    }
    assert_eq!(folder.read("z.npy"), folder.read("x.npy") + folder.read("r.npy"));
    // Of the skip alone nothing else is computed, and of a norm by its shift alone both gradients are there.
    folder.succeed(&format!("grad {line} --input z.npy --grad-output dy.npy --save-grad-skip one.npy"));
    assert_eq!(folder.read("one.npy"), folder.read("dskip.npy"));
    let line = "layer --input x.npy --shift shift.npy --check";
    let ended = folder.succeed(&format!("apply {line} --residual r.npy --skip skip.npy --output y.npy"));
    assert!(ended.stdout.starts_with("residual, layer norm, shift and skip of [2, 3, 4] in "), "{}", ended.stdout);
    let outputs = "--save-grad-scale dscale.npy --save-grad-shift dshift.npy";
    folder.succeed(&format!("grad {line} --grad-output dy.npy {outputs}"));
    let llama = "apply rms --dtype f16 --rounding before-weight --weight w.npy --input x.npy --output y.npy";
    folder.succeed(&format!("{llama} --scale scale.npy --offset 7 --activation gelu --check"));
    let line = "plan group --groups 2 --shape 2x3x4 --modulated 2x1x4 --plus-skip --activation relu";
    let plan = folder.succeed(line).stdout;
    assert!(plan.contains(", modulated by [2, 1, 4], plus a skip, then ReLU, as block "), "{plan}");
}

/// A gate and an embedding before the norm, forward and back, with the oracle beside.
#[test]
fn of_a_norm_with_all_that_comes_before_it() {
    let folder = followed();
    let before = "--gate scale.npy --embedding shift.npy --check";
    for dtype in ["f16", "f32"] {
        let apply = format!("apply layer --input x.npy --residual r.npy {before} --dtype {dtype} --output y.npy");
        let ended = folder.succeed(&format!("{apply} --save-residual-out z.npy"));
        let start = "residual, gate, embedding and layer norm of [2, 3, 4]";
        assert!(ended.stdout.starts_with(start), "{}", ended.stdout);
        let grad = format!("grad layer --input z.npy --branch x.npy --grad-output dy.npy {before} --dtype {dtype}");
        let outputs = "--save-grad-gate dgate.npy --save-grad-branch dbranch.npy --save-grad-embedding dembedding.npy";
        let report = folder.succeed(&format!("{grad} {outputs} --save-grad-input dz.npy --json")).json();
        assert_eq!(report["check"]["largest_errors"].as_object().map(|errors| errors.len()), Some(4), "{report}");
        assert_eq!(report["outputs"]["grad_gate"]["shape"], serde_json::json!([2, 1, 4]));
    }
    let gate = folder.read("scale.npy").broadcast(vec![2, 3, 4]).unwrap().to_owned();
    assert_eq!(folder.read("dbranch.npy"), folder.read("dz.npy") * &gate);
}

#[test]
fn what_follows_a_norm_and_does_not_fit_is_refused() {
    let folder = followed();
    let before = folder.files();
    let apply = "apply layer --input x.npy --output y.npy";
    let grad = "grad layer --input x.npy --grad-output dy.npy";
    let runs: [(i32, String, &[&str]); 18] = [
        (
            1,
            format!("{apply} --scale w.npy"),
            &["--scale: ", "by [4] must be of the shape of x, with 1 for", "[2, 3, 4]"],
        ),
        (1, format!("{apply} --shift w.npy"), &["--shift: ", "by [4] must be of the shape of x"]),
        (1, format!("{apply} --scale scale.npy --shift x.npy"), &["--shift: its shape is [2, 3, 4]", "be [2, 1, 4]"]),
        (1, format!("{apply} --skip scale.npy"), &["--skip: its shape is [2, 1, 4]", "be [2, 3, 4]"]),
        (1, format!("{apply} --residual scale.npy"), &["--residual: its shape is [2, 1, 4]", "be [2, 3, 4]"]),
        (
            1,
            format!("{grad} --axes 1,2 --scale scale.npy --save-grad-scale y.npy"),
            &["--save-grad-scale: a scale or shift of shape [2, 1, 4] after this norm of [2, 3, 4] has no gradient"],
        ),
        (1, "plan layer --shape 2x3x4 --modulated 2x4".to_owned(), &["--modulated: ", "by [2, 4] must be"]),
        (2, format!("{apply} --offset 0"), &["--scale <FILE>"]),
        (
            2,
            format!("{apply} --save-residual-out z.npy"),
            &["--save-residual-out writes a sum", "--gate or --embedding"],
        ),
        (1, format!("{apply} --gate w.npy"), &["--gate: ", "by [4] must be of the shape of x"]),
        (2, format!("{grad} --gate scale.npy --save-grad-input y.npy"), &["--gate has a part in --save-grad-gate"]),
        (2, format!("{grad} --gate scale.npy --save-grad-gate y.npy"), &["--branch <FILE>"]),
        (2, format!("{grad} --embedding scale.npy --save-grad-input y.npy"), &["--embedding says the shape"]),
        (
            2,
            format!("{grad} --save-grad-weight y.npy --grad-residual r.npy"),
            &["--grad-residual is added to the gradient of the input"],
        ),
        (2, format!("{grad} --save-grad-input y.npy --skip skip.npy"), &["--skip has", "where --activation follows"]),
        (2, format!("{grad} --save-grad-skip y.npy --activation relu"), &["--skip <FILE>"]),
        (2, format!("{grad} --save-grad-shift y.npy"), &["--save-grad-shift needs --scale or --shift"]),
        (2, format!("{grad} --residual r.npy --save-grad-input y.npy"), &["--residual"]),
    ];
    for (status, line, words) in runs {
        folder.refuse(status, &line, words);
        assert_eq!(folder.files(), before, "{line}");
    }
}

#[test]
fn it_tells_what_it_did() {
    let folder = small();
    let double: Vec<f64> = values(24).iter().map(|&value| f64::from(value)).collect();
    folder.npy("dy64.npy", &[2, 3, 4], &double);
    let line = "grad instance --input x.npy --grad-output dy64.npy --channel-axis 1";
    let outputs = "--save-grad-input dx.npy --save-grad-bias db.npy";
    let ended = folder.succeed(&format!("{line} {outputs} --check"));
    assert!(ended.stdout.starts_with("gradients of instance norm of [2, 3, 4] in "), "{}", ended.stdout);
    for words in ["\nplan: ", "check: grad_input is off by at most ", "check: grad_bias is off by at most "] {
        assert!(ended.stdout.contains(words), "no {words}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("grad_weight"), "{}", ended.stdout);
    assert_eq!(ended.stderr, "note: `dy64.npy` (--grad-output) is float64 and was converted to float32\n");

    let report = folder.succeed(&format!("{line} {outputs} --json")).json();
    assert_eq!(report["norm"], "instance");
    assert_eq!(report["direction"], "backward");
    let read = |file: &str, from: Option<&str>| serde_json::json!({ "file": file, "shape": [2, 3, 4], "converted_from": from });
    assert_eq!(report["input"], read("x.npy", None));
    assert_eq!(report["grad_output"], read("dy64.npy", Some("float64")));
    assert_eq!(report["outputs"]["grad_bias"], serde_json::json!({ "file": "db.npy", "shape": [3], "dtype": "f32" }));
    assert_eq!(
        report["outputs"]["grad_input"],
        serde_json::json!({ "file": "dx.npy", "shape": [2, 3, 4], "dtype": "f32" })
    );
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(report["plan"].as_array().is_some_and(|plan| !plan.is_empty()));
    assert_eq!(report["check"], serde_json::Value::Null);
}

#[test]
fn tensors_of_any_float_type_are_taken() {
    let folder = small();
    let (x, dy) = (folder.read("x.npy"), folder.read("dy.npy"));
    let header = r#"{"x":{"dtype":"F16","shape":[2,3,4],"data_offsets":[0,48]},
        "dy":{"dtype":"BF16","shape":[2,3,4],"data_offsets":[48,96]}}"#;
    let half: Vec<u8> = x.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
    let brain: Vec<u8> = dy.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect();
    let length = (header.len() as u64).to_le_bytes();
    folder.write("m.safetensors", &[&length, header.as_bytes(), &half, &brain].concat());
    folder.succeed("grad rms --input x.npy --grad-output dy.npy --save-grad-input want.npy");
    let ended = folder
        .succeed("grad rms --input m.safetensors:x --grad-output m.safetensors:dy --save-grad-input dx.npy --check");
    assert_eq!(folder.read("dx.npy"), folder.read("want.npy"));
    let notes: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("m.safetensors:x` (--input) is float16"), "{notes:?}");
    assert!(notes[1].contains("m.safetensors:dy` (--grad-output) is bfloat16"), "{notes:?}");
}

#[test]
fn checking_goes_by_the_values_in_the_files() {
    let folder = small();
    let outputs = "--save-grad-input dx.npy --save-grad-weight dw.npy --save-grad-bias db.npy --check --json";
    // By the input: around 1.7e9 float32 has steps of 128.
    folder.npy("far.npy", &[2, 3, 4], &(0..24).map(|i| 1.7e9 + f64::from(i * i)).collect::<Vec<f64>>());
    let ended = folder.run(&format!("grad layer --input far.npy --grad-output dy.npy {outputs}"));
    assert_eq!(ended.status, Some(1), "{}", ended.stdout);
    let of = |report: &serde_json::Value, output: &str| report["check"]["largest_errors"][output].clone();
    let report = ended.json();
    for output in ["grad_input", "grad_weight"] {
        let error = of(&report, output);
        let [relative, share] = ["relative", "by_conversion"].map(|key| error[key].as_f64().expect("a number"));
        assert!(relative > 0.1 && (share / relative - 1.0).abs() < 0.01, "{report}");
        assert!(ended.stderr.contains(&format!("{output} is off by")), "{}", ended.stderr);
    }
    // No statistics go into that of the bias.
    assert_eq!(of(&report, "grad_bias")["by_conversion"], 0.0, "{report}");
    // By the gradient, where every value is rounded a little.
    folder.npy("dy64.npy", &[2, 3, 4], &(0..24).map(|i| f64::from(i) / 7.0).collect::<Vec<f64>>());
    let report = folder.succeed(&format!("grad layer --input x.npy --grad-output dy64.npy {outputs}")).json();
    assert!(of(&report, "grad_bias")["by_conversion"].as_f64().is_some_and(|share| share > 0.0), "{report}");
    // Where none is, nothing is said.
    let report = folder.succeed(&format!("grad layer --input x.npy --grad-output dy.npy {outputs}")).json();
    assert_eq!(of(&report, "grad_bias")["by_conversion"], serde_json::Value::Null, "{report}");
}

#[test]
fn an_empty_array_has_gradients_of_zero() {
    let folder = Folder::new();
    folder.npy::<f32>("none.npy", &[0, 3], &[]);
    let ended = folder.succeed(
        "grad layer --input none.npy --grad-output none.npy --save-grad-input dx.npy --save-grad-weight dw.npy \
         --save-grad-bias db.npy --check",
    );
    assert_eq!(folder.read("dx.npy").shape(), [0, 3]);
    for name in ["dw.npy", "db.npy"] {
        assert_eq!(folder.read(name).as_slice(), Some([0.0; 3].as_slice()), "{name}");
    }
    assert!(ended.stdout.contains("check: grad_input is empty"), "{}", ended.stdout);
}

#[test]
fn options_that_have_no_place_are_refused() {
    let folder = small();
    let input = "--input x.npy --grad-output dy.npy";
    let runs: [(&str, &[&str]); 25] = [
        ("layer", &["--save-grad-input", "--save-grad-weight", "--save-grad-bias", "at least one"]),
        ("mvn --save-grad-input dx.npy", &["mvn", "no backward pass"]),
        ("lp --save-grad-input dx.npy", &["lp", "no backward pass"]),
        ("lp --p 1 --save-grad-input dx.npy", &["lp", "no backward pass"]),
        ("group --axes 1 --save-grad-input dx.npy", &["--axes", "layer, rms, mvn and lp"]),
        ("layer --groups 3 --save-grad-input dx.npy", &["--groups", "group norm"]),
        ("layer --channel-axis 1 --save-grad-input dx.npy", &["--channel-axis", "group, instance and batch"]),
        ("layer --train --save-grad-input dx.npy", &["--train", "batch norm"]),
        ("layer --weight w.npy --weight-offset 1 --save-grad-input dx.npy", &["--weight-offset", "rms norm"]),
        ("rms --weight-offset 1 --save-grad-input dx.npy", &["--weight-offset", "--weight"]),
        ("rms --running-mean w.npy --save-grad-input dx.npy", &["--running-mean", "batch norm"]),
        ("group --running-var w.npy --save-grad-input dx.npy", &["--running-var", "batch norm"]),
        ("group --normalized-shape 4 --save-grad-input dx.npy", &["--normalized-shape", "layer and rms"]),
        ("batch --save-grad-input dx.npy", &["--running-mean", "--running-var", "--train"]),
        ("batch --running-mean w.npy --save-grad-input dx.npy", &["--running-mean needs --running-var"]),
        ("batch --running-var w.npy --save-grad-input dx.npy", &["--running-var needs --running-mean"]),
        ("batch --train --running-mean w.npy --save-grad-input dx.npy", &["--running-mean", "--train"]),
        ("batch --train --running-var w.npy --save-grad-input dx.npy", &["--running-var", "--train"]),
        ("layer --bias w.npy --save-grad-input dx.npy", &["--bias", "--activation"]),
        ("layer --save-grad-input -", &["--save-grad-input", "-"]),
        ("layer --save-grad-weight m.safetensors", &["--save-grad-weight", "m.safetensors:NAME"]),
        ("layer --save-grad-input d.npy --save-grad-bias ./d.npy", &["--save-grad-input", "--save-grad-bias", "same"]),
        ("layer --eps -1 --save-grad-input dx.npy", &["--eps", "at least 0"]),
        ("layer --device tpu --save-grad-input dx.npy", &["--device", "gpu"]),
        ("gradnorm --save-grad-input dx.npy", &["gradnorm", "instance"]),
    ];
    for (options, words) in runs {
        folder.refuse(2, &format!("grad {options} {input}"), words);
    }
    folder.refuse(2, "grad layer --input x.npy --save-grad-input dx.npy", &["--grad-output"]);
    folder.refuse(2, "grad layer --grad-output dy.npy --save-grad-input dx.npy", &["--input"]);
    folder.refuse(2, "grad --input x.npy --grad-output dy.npy --save-grad-input dx.npy", &["NORM"]);
    assert_eq!(folder.files(), ["dy.npy", "w.npy", "x.npy"]);
}

#[test]
fn arrays_that_do_not_fit_are_refused_and_nothing_is_written() {
    let folder = small();
    folder.npy("three.npy", &[3], &[1.0_f32, 2.0, 3.0]);
    folder.npy("turned.npy", &[2, 4, 3], &values(24));
    folder.npy("scalar.npy", &[], &[1.0_f32]);
    folder.write("c64.npy", &array("<c8", false, "(4,)", &[0; 32]));
    folder.write("dx.npy", b"former");
    fs::create_dir(folder.path("folder")).expect("a folder");
    let before = folder.files();
    let fits = "--input x.npy --grad-output dy.npy";
    let runs: [(&str, String, &[&str]); 16] = [
        ("layer", "--input x.npy --grad-output turned.npy".to_owned(), &["--grad-output", "[2, 4, 3]", "[2, 3, 4]"]),
        ("layer", "--input x.npy --grad-output three.npy".to_owned(), &["--grad-output", "[3]", "[2, 3, 4]"]),
        ("layer", "--input x.npy --grad-output gone.npy".to_owned(), &["--grad-output", "gone.npy", "no such file"]),
        ("layer", "--input gone.npy --grad-output dy.npy".to_owned(), &["--input", "gone.npy", "no such file"]),
        ("layer", "--input scalar.npy --grad-output scalar.npy".to_owned(), &["--input", "scalar"]),
        ("layer", "--input x.npy --grad-output c64.npy".to_owned(), &["--grad-output", "complex64", "float32"]),
        ("layer", format!("{fits} --weight three.npy"), &["--weight", "[3]", "[4]"]),
        ("layer", format!("{fits} --weight c64.npy"), &["--weight", "complex64"]),
        ("layer", format!("{fits} --normalized-shape 3"), &["--normalized-shape", "[3]", "[2, 3, 4]"]),
        ("group", fits.to_owned(), &["--groups", "32", "4"]),
        ("group", format!("{fits} --groups 3"), &["--groups", "3", "4"]),
        ("instance", format!("{fits} --channel-axis 3"), &["--channel-axis", "3", "[2, 3, 4]"]),
        ("batch", format!("{fits} --running-mean three.npy --running-var w.npy"), &["--running-mean", "[3]", "[4]"]),
        ("batch", format!("{fits} --running-mean w.npy --running-var three.npy"), &["--running-var", "[3]", "[4]"]),
        ("layer", format!("{fits} --save-grad-bias folder"), &["--save-grad-bias", "directory"]),
        ("layer", format!("{fits} --save-grad-weight none/dw.npy"), &["--save-grad-weight", "no directory `none`"]),
    ];
    for (norm, options, words) in runs {
        folder.refuse(1, &format!("grad {norm} {options} --save-grad-input dx.npy"), words);
        assert_eq!(folder.files(), before, "{norm} {options}");
        assert_eq!(fs::read(folder.path("dx.npy")).expect("dx.npy"), b"former", "{norm} {options}");
    }
}

#[test]
fn a_gradient_may_replace_what_it_came_from() {
    let folder = small();
    let line = "grad rms --input x.npy --grad-output dy.npy --weight w.npy";
    folder.succeed(&format!("{line} --save-grad-input dx.npy --save-grad-weight dw.npy"));
    folder.succeed(&format!("{line} --save-grad-input dy.npy --save-grad-weight w.npy"));
    assert_eq!(folder.read("dy.npy"), folder.read("dx.npy"));
    assert_eq!(folder.read("w.npy"), folder.read("dw.npy"));
}
