//! `wgpu-norm bench`: what it runs, what it says, and how it ends. Never how long anything takes.

use std::fs;

use serde_json::Value;

use crate::command::Folder;
use crate::support::{TOLERANCE, gpu};

/// The names of the cases of a file that `--json` wrote.
fn names(report: &Value) -> Vec<String> {
    let cases = report["cases"].as_array().expect("a list");
    let text = |case: &Value, key: &str| case[key].as_str().expect("a text").to_owned();
    cases.iter().map(|case| ["norm", "direction", "shape", "layout"].map(|key| text(case, key)).join(" ")).collect()
}

fn report(folder: &Folder, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.path(name)).expect("a file")).expect("JSON")
}

#[test]
fn a_shape_of_ones_own_is_timed() {
    let folder = Folder::new();
    let ended = folder
        .succeed("bench --quick --direction forward --norm layer rms --shape 33x70 4x8x64 --json b.json --plot b.svg");
    assert_eq!(ended.stderr, "");
    assert_eq!(folder.files(), ["b.json", "b.svg"]);

    let report = report(&folder, "b.json");
    let cases = ["LayerNorm 33x70 rows", "LayerNorm 4x8x64 rows", "RmsNorm 33x70 rows", "RmsNorm 4x8x64 rows"];
    assert_eq!(names(&report), cases.map(|case| case.replacen(' ', " forward ", 1)));
    assert_eq!(report["adapter"]["name"], gpu().adapter_info().name);
    assert!(report["method"].as_str().is_some_and(|method| method.contains("dispatches")), "{report}");
    let positive = |value: &Value| value.as_f64().is_some_and(|value| value > 0.0);
    for case in report["cases"].as_array().unwrap() {
        assert!(case.get("gradients").is_none(), "{case}");
        assert!(case["plan"].as_array().is_some_and(|plan| !plan.is_empty()), "{case}");
        assert!(case["error"].as_f64().is_some_and(|error| error <= TOLERANCE), "{case}");
        for key in ["bytes", "seconds", "gb_per_s", "copy_seconds", "copy_gb_per_s", "rounds"] {
            assert!(positive(&case[key]), "{key}: {case}");
        }
        // One read and one write, as in the copy; so the one ratio is the other's inverse.
        let number = |key: &str| case[key].as_f64().expect("a number");
        assert_eq!(number("bytes_to_copy"), 1.0, "{case}");
        assert!((number("time_to_copy") * number("ratio_to_copy") - 1.0).abs() < 1e-9, "{case}");
        for middle in ["seconds", "ratio"] {
            let at = |end: &str| case[format!("{middle}_{end}")].as_f64().expect("a number");
            assert!(at("low") <= at("high"), "{case}");
        }
        assert!(matches!(case["clock"].as_str(), Some("timestamps" | "wall")), "{case}");
    }
    // One kernel for each size of a tensor.
    let sizes: Vec<_> = report["copy"].as_array().unwrap().iter().map(|copy| copy["tensor_bytes"].as_u64()).collect();
    assert_eq!(sizes, [Some(33 * 70 * 4), Some(4 * 8 * 64 * 4)]);

    assert!(ended.stdout.starts_with(&gpu().describe()), "{}", ended.stdout);
    let rows: Vec<&str> = ended.stdout.lines().filter(|line| line.contains("Norm  ")).collect();
    assert_eq!(rows.len(), cases.len(), "{}", ended.stdout);
    for (row, case) in rows.iter().zip(cases) {
        assert_eq!(row.split_whitespace().take(3).collect::<Vec<_>>().join(" "), case);
        assert!(row.ends_with("fused_rows"), "{row}");
    }
}

#[test]
fn backward_passes_are_timed_beside_forward_ones() {
    let folder = Folder::new();
    let run = |options: &str| {
        let ended = folder.succeed(&format!("bench --quick {options} --json b.json"));
        (ended.stdout, report(&folder, "b.json"))
    };
    let (stdout, both) = run("--norm layer mvn batch --shape 6x5x9x7 --channel-axis 1");
    assert_eq!(
        names(&both),
        [
            "LayerNorm forward 6x5x9x7 rows",
            "MeanVarianceNorm(0,2,3) forward 6x5x9x7 channels_first",
            "BatchNorm train forward 6x5x9x7 channels_first",
            "BatchNorm eval forward 6x5x9x7 channels_first",
            "LayerNorm backward 6x5x9x7 rows",
            "BatchNorm train backward 6x5x9x7 channels_first",
            "BatchNorm eval backward 6x5x9x7 channels_first",
        ]
    );
    for case in &both["cases"].as_array().unwrap()[4..] {
        assert_eq!(case["gradients"], serde_json::json!(["dx", "dweight", "dbias"]));
        assert!(case["error"].as_f64().is_some_and(|error| error > 0.0 && error <= TOLERANCE), "{case}");
        assert!(case["ratio_to_copy"].as_f64().is_some_and(|ratio| ratio > 0.0), "{case}");
        let plan: Vec<&str> = case["plan"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(plan.iter().any(|pass| pass.starts_with("merge_parameters")), "{case}");
        // Statistics are saved, so no pass computes them.
        assert!(!plan.iter().any(|pass| pass.starts_with("stats")), "{case}");
    }
    // Apart from one another.
    let (forward, backward) = stdout.split_once("\nBackward\n").expect("two tables");
    assert!(forward.contains("\nForward\n"), "{stdout}");
    for (table, norms) in [
        (forward, &["LayerNorm", "MeanVarianceNorm(0,2,3)", "BatchNorm train", "BatchNorm eval"][..]),
        (backward, &["LayerNorm", "BatchNorm train", "BatchNorm eval"]),
    ] {
        for norm in norms {
            let rows = table.lines().filter(|line| line.starts_with(&format!("{norm} ")));
            assert_eq!(rows.count(), 1, "{norm}: {stdout}");
        }
    }
    for ratio in ["time / copy's", "bytes / copy's", "GB/s / copy's"] {
        let lines: Vec<&str> = stdout.lines().filter(|line| line.contains(ratio)).collect();
        assert!(lines.len() >= 3 && lines.iter().any(|line| line.starts_with(ratio)), "no {ratio} told: {stdout}");
    }
    let (stdout, backward) = run("--norm rms --shape 33x70 --direction backward");
    assert_eq!(names(&backward), ["RmsNorm backward 33x70 rows"]);
    assert!(!stdout.contains("Forward"), "{stdout}");

    // Of the list, those that compute one gradient say so.
    let (stdout, listed) = run("--norm rms --direction backward");
    assert_eq!(names(&listed), ["RmsNorm backward 2048x4096 rows"; 2]);
    assert_eq!(listed["cases"][1]["gradients"], serde_json::json!(["dx"]));
    assert!(stdout.contains("\nRmsNorm, dx alone  2048x4096"), "{stdout}");
}

/// Of the list, those that are parts of larger tensors: their elements count, on either engine.
#[test]
fn parts_of_larger_tensors_are_timed_by_their_elements() {
    let folder = Folder::new();
    for device in ["cpu", "gpu"] {
        folder.succeed(&format!("bench --quick --device {device} --norm rms --direction forward --json b.json"));
        let file = report(&folder, "b.json");
        let of_name = |case: &&Value| case["norm"] == "RmsNorm, strides 6144x128x1";
        let case = file["cases"].as_array().unwrap().iter().find(of_name).expect("a case");
        assert_eq!((&case["shape"], &case["layout"]), (&"2048x40x128".into(), &"rows".into()));
        assert_eq!(case["bytes"], 2 * 2048 * 40 * 128 * 4);
        assert_eq!(case["bytes_to_copy"], 1.0);
        assert!(case["error"].as_f64().is_some_and(|error| error > 0.0 && error <= TOLERANCE), "{case}");
    }
}

#[test]
fn the_plot_has_a_bar_for_each_case() {
    let folder = Folder::new();
    folder.succeed("bench --quick --norm batch group --shape 4x32x6x6 --channel-axis 1 --groups 8 --plot b.svg");
    let text = fs::read_to_string(folder.path("b.svg")).unwrap();
    let svg = roxmltree::Document::parse(&text).expect("well-formed");
    assert_eq!(svg.root_element().tag_name().name(), "svg");
    let bars = svg.descendants().filter(|node| node.tag_name().name() == "rect");
    let bars: Vec<_> = bars.filter(|node| node.attribute("fill") == Some("#2F6FB5")).collect();
    assert_eq!(bars.len(), 6, "{text}");
    for bar in bars {
        assert!(bar.attribute("width").and_then(|width| width.parse::<f64>().ok()).is_some_and(|width| width > 0.0));
    }
    let words = svg.descendants().filter(|node| node.is_text()).filter_map(|node| node.text());
    let words: Vec<&str> = words.map(str::trim).collect();
    let titles = ["BatchNorm train", "BatchNorm eval", "GroupNorm(8)"];
    for word in titles.into_iter().chain(["4x32x6x6, channels first", "1 (copy)", "time / copy's"]) {
        assert!(words.contains(&word), "no {word} in {words:?}");
    }
    // Forward and backward apart, each norm in both.
    let panels: Vec<&str> = words.iter().copied().filter(|word| ["Forward", "Backward"].contains(word)).collect();
    assert_eq!(panels, ["Forward", "Backward"]);
    assert_eq!(words.iter().filter(|word| **word == "GroupNorm(8)").count(), 2, "{words:?}");
    assert!(words.contains(&"GB/s of each norm, over GB/s of a copy"), "{words:?}");
    assert!(words.iter().any(|word| *word == gpu().describe()), "{words:?}");
}

#[test]
fn layouts_are_told_apart() {
    let folder = Folder::new();
    let run = |options: &str| {
        folder.succeed(&format!("bench --quick --direction forward --norm {options} --json b.json"));
        names(&report(&folder, "b.json"))
    };
    assert_eq!(run("instance --shape 2x5x6x8 --channel-axis 1"), ["InstanceNorm forward 2x5x6x8 channels_first"]);
    assert_eq!(run("instance --shape 2x5x6x8 --channel-axis -2"), ["InstanceNorm forward 2x5x6x8 channels_between"]);
    assert_eq!(run("layer --axes 1 --shape 2x5x6x8"), ["LayerNorm(1) forward 2x5x6x8 channels_first"]);
    assert_eq!(run("group --shape 2x6x64"), ["GroupNorm(32) forward 2x6x64 channels_last"]);
    assert_eq!(
        run("batch --shape 50x4"),
        ["BatchNorm train forward 50x4 channels_last", "BatchNorm eval forward 50x4 channels_last"]
    );
    assert_eq!(
        run("mvn lp --shape 2x3x4x5"),
        ["MeanVarianceNorm(0,2,3) forward 2x3x4x5 channels_first", "LpNorm(2) forward 2x3x4x5 rows"]
    );
}

#[test]
fn runs_are_compared() {
    let folder = Folder::new();
    folder.succeed("bench --quick --norm layer --direction forward --shape 33x70 8x64 --json old.json");
    let ended = folder
        .succeed("bench --quick --norm layer --shape 33x70 9x64 --compare old.json --json old.json --plot new.svg");
    let row = |words: &str| ended.stdout.lines().find(|line| line.contains(words)).expect("a row").to_owned();
    assert_eq!(row("33x70").matches('x').count(), 3, "{}", ended.stdout);
    assert!(row(" 9x64").contains("not there"), "{}", ended.stdout);
    // The other direction of the same shape is another case.
    let (_, backward) = ended.stdout.split_once("\nBackward\n").expect("two tables");
    let other = backward.lines().find(|line| line.contains("33x70")).expect("a row");
    assert!(other.contains("not there"), "{}", ended.stdout);
    let added = "LayerNorm 9x64 rows; LayerNorm 33x70 rows, backward; LayerNorm 9x64 rows, backward";
    assert!(ended.stdout.contains(&format!("in this run only: {added}\n")), "{}", ended.stdout);
    assert!(ended.stdout.contains("in that file only: LayerNorm 8x64 rows\n"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("another adapter"), "{}", ended.stdout);
    assert!(fs::read_to_string(folder.path("new.svg")).unwrap().contains("the run before"));
    // It was read before it was replaced.
    let mut replaced = report(&folder, "old.json");
    assert_eq!(
        names(&replaced),
        ["forward 33x70", "forward 9x64", "backward 33x70", "backward 9x64"]
            .map(|case| format!("LayerNorm {case} rows"))
    );
    // Of two backward cases, the gradients are what may tell them apart.
    let mut alone = replaced.clone();
    alone["cases"] = serde_json::json!([replaced["cases"][2]]);
    alone["cases"][0]["gradients"] = serde_json::json!(["dx"]);
    folder.write("alone.json", alone.to_string().as_bytes());
    let ended = folder.succeed("bench --quick --norm layer --direction backward --shape 33x70 --compare alone.json");
    assert!(ended.stdout.contains("in this run only: LayerNorm 33x70 rows, backward\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("LayerNorm, dx alone 33x70 rows, backward"), "{}", ended.stdout);

    // Of an earlier version, which knew less.
    let mut spare = replaced.clone();
    spare["cases"] = serde_json::json!([{
        "norm": "LayerNorm", "direction": "forward", "shape": "33x70", "layout": "rows", "plan": [], "bytes": 18480,
        "error": null, "seconds": 1.0, "ratio_to_copy": 0.125,
    }]);
    folder.write("spare.json", spare.to_string().as_bytes());
    let ended = folder.succeed("bench --quick --norm layer --direction forward --shape 33x70 --compare spare.json");
    assert!(ended.stdout.contains(" 0.12  "), "{}", ended.stdout);

    // Of other machines, and of cases that failed there.
    replaced["adapter"]["name"] = "a card of someone else's".into();
    replaced["cases"][0] = serde_json::json!({
        "norm": "LayerNorm", "direction": "forward", "shape": "33x70", "layout": "rows", "plan": [], "bytes": 18480,
        "error": null, "failed": "off by 1",
    });
    folder.write("other.json", replaced.to_string().as_bytes());
    let ended = folder.succeed("bench --quick --norm layer --direction forward --shape 33x70 --compare other.json");
    assert!(ended.stdout.contains("another adapter: a card of someone else's"), "{}", ended.stdout);
    assert!(ended.stdout.contains("failed"), "{}", ended.stdout);
}

/// By bias and slope, forward and back, on either engine.
#[test]
fn an_activation_follows_every_norm() {
    let folder = Folder::new();
    for device in ["cpu", "gpu"] {
        let line = format!("bench --quick --device {device} --norm layer batch --shape 8x64 --activation silu");
        folder.succeed(&format!("{line} --json b.json"));
        let file = report(&folder, "b.json");
        let norms = ["LayerNorm, then SiLU", "BatchNorm train, then SiLU", "BatchNorm eval, then SiLU"];
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(
            cases.iter().map(|case| case["norm"].as_str().unwrap()).collect::<Vec<_>>(),
            [norms, norms].concat()
        );
        for case in cases {
            assert!(case["error"].as_f64().is_some_and(|error| error <= TOLERANCE), "{case}");
        }
    }
    folder.refuse(2, "bench --activation tanh", &["must be relu, silu, gelu or gelu-tanh"]);
}

#[test]
fn types_are_told_and_count_by_their_bytes() {
    let folder = Folder::new();
    for (device, dtype) in [("cpu", "bf16"), ("cpu", "f16"), ("gpu", "f16")] {
        let line = format!("bench --quick --device {device} --dtype {dtype} --norm layer batch --shape 8x64 3x35");
        let ended = folder.succeed(&format!("{line} --json b.json --plot b.svg"));
        let file = report(&folder, "b.json");
        assert_eq!(file["dtype"], dtype);
        assert_eq!(file["cases"][0]["bytes"], 8 * 64 * 2 * 2);
        assert_eq!(file["cases"][0]["bytes_to_copy"], 1.0);
        let sizes: Vec<_> = file["copy"].as_array().unwrap().iter().map(|copy| copy["tensor_bytes"].as_u64()).collect();
        assert_eq!(sizes, [Some(8 * 64 * 2), Some(3 * 35 * 2)]);
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 12);
        for case in cases {
            assert!(case["error"].as_f64().is_some_and(|error| error <= TOLERANCE), "{case}");
        }
        assert!(ended.stdout.contains(&format!("\nof {dtype}, but for weight")), "{}", ended.stdout);
        let title = format!("GB/s of each norm of {dtype}, over GB/s of a copy");
        assert!(fs::read_to_string(folder.path("b.svg")).unwrap().contains(&title));
    }
    // Types are compared, and that is said.
    let line = "bench --quick --norm layer --direction forward --shape 8x64 --compare b.json";
    let ended = folder.succeed(line);
    assert!(ended.stdout.contains("that was of f16, and this is of f32\n"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("\nof f"), "{}", ended.stdout);
    assert!(!folder.succeed(&format!("{line} --dtype f16")).stdout.contains("that was of"));
}

/// What is shared is known to the letter, so that nothing of the machine or its user comes with it.
#[test]
fn what_is_shared_is_the_adapter_the_doctor_and_the_numbers() {
    let folder = Folder::new();
    let ended = folder.succeed("bench --quick --norm layer --direction forward --shape 8x64 1x4096 --share");
    assert_eq!(folder.files(), ["wgpu-norm-bench.json"]);
    assert!(ended.stdout.contains("\ndoctor: Trust it: "), "{}", ended.stdout);
    let shared = report(&folder, "wgpu-norm-bench.json");
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&shared), ["adapter", "cases", "copy", "doctor", "dtype", "method", "wgpu_norm"]);
    assert_eq!(
        keys(&shared["adapter"]),
        [
            "backend",
            "driver",
            "driver_info",
            "f16",
            "limits",
            "name",
            "subgroup_max_size",
            "subgroup_min_size",
            "subgroups",
            "type"
        ]
    );
    assert_eq!(keys(&shared["doctor"]), ["checks", "failed", "tolerance", "trusted", "verdict", "worst_error"]);
    assert_eq!(shared["adapter"]["name"], gpu().adapter_info().name);
    let buffers = shared["adapter"]["limits"]["max_storage_buffers_per_shader_stage"].as_u64();
    assert_eq!(buffers, Some(gpu().context().capabilities().max_storage_buffers.into()));
    let doctor = &shared["doctor"];
    assert!(doctor["checks"].as_u64().is_some_and(|checks| checks > 200) && doctor["failed"] == 0, "{doctor}");
    assert!(doctor["worst_error"].as_f64().is_some_and(|error| error > 0.0 && error <= TOLERANCE), "{doctor}");
    assert_eq!(names(&shared), ["LayerNorm forward 8x64 rows", "LayerNorm forward 1x4096 rows"]);

    // It can be compared with.
    let ended = folder.succeed(
        "bench --quick --norm layer --direction forward --shape 8x64 --compare wgpu-norm-bench.json --json now.json",
    );
    assert!(ended.stdout.contains("in that file only: LayerNorm 1x4096 rows\n"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("another adapter"), "{}", ended.stdout);
}

#[test]
fn files_that_cannot_be_compared_with_are_refused() {
    let folder = Folder::new();
    folder.succeed("bench --quick --norm layer --direction forward --shape 8x64 --json good.json");
    let good = fs::read_to_string(folder.path("good.json")).unwrap();
    folder.write("cut.json", &good.as_bytes()[..good.len() / 2]);
    folder.write("empty.json", b"");
    folder.write("other.json", b"{\"trusted\": true}");
    folder.write("bytes.json", &[0xff, 0xfe, 0x00]);
    let mut nothing: Value = serde_json::from_str(&good).unwrap();
    nothing["cases"][0]["seconds"] = 0.into();
    folder.write("zero.json", nothing.to_string().as_bytes());
    nothing["cases"][0].as_object_mut().unwrap().remove("seconds");
    folder.write("less.json", nothing.to_string().as_bytes());
    nothing["cases"][0]["seconds"] = "fast".into();
    folder.write("words.json", nothing.to_string().as_bytes());
    for (file, why) in [
        ("none.json", "no such file"),
        (".", "directory"),
        ("cut.json", "what `wgpu-norm bench --json` writes"),
        ("empty.json", "what `wgpu-norm bench --json` writes"),
        ("other.json", "adapter"),
        ("bytes.json", "UTF-8"),
        ("zero.json", "LayerNorm 8x64 rows"),
        ("less.json", "LayerNorm 8x64 rows"),
        ("words.json", "what `wgpu-norm bench --json` writes"),
    ] {
        let line = format!("bench --quick --norm layer --shape 8x64 --json new.json --compare {file}");
        folder.refuse(1, &line, &[file, "--compare", why]);
    }
    assert!(!folder.files().contains(&"new.json".to_owned()));
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_timed() {
    let folder = Folder::new();
    for (options, words) in [
        ("--shape 8x64", ["--norm", "--shape"]),
        ("--norm layer --shape 8x", ["--shape", "4096x768"]),
        ("--norm layer --shape 8,64", ["--shape", "4096x768"]),
        ("--norm layer --shape 8x0", ["--shape", "no elements"]),
        ("--norm layernorm", ["layernorm", "instance"]),
        ("--norm", ["--norm", "value"]),
        ("--direction sideways", ["--direction", "backward"]),
        ("--norm layer mvn --direction backward", ["--direction", "mvn norm has no backward pass"]),
        ("--norm lp --direction backward --shape 8x64", ["--direction", "lp norm has no backward pass"]),
        ("--channel-axis 1", ["--channel-axis", "--shape"]),
        ("--norm layer --shape 8x64 --channel-axis 1", ["--channel-axis", "group, instance and batch"]),
        ("--norm batch --shape 8x64 --groups 2", ["--groups", "group norm"]),
        ("--norm layer --plot b.png", ["--plot", ".svg"]),
        ("--norm layer --json -", ["--json", "-"]),
        ("--norm layer --json b.svg --plot b.svg", ["--json", "--plot"]),
        ("--norm layer --share -", ["--share", "-"]),
        ("--norm layer --device cpu --share", ["--share", "CPU"]),
        ("--slow", ["--slow", "unexpected"]),
    ] {
        folder.refuse(2, &format!("bench {options}"), &words);
    }
    for (options, words) in [
        ("--norm group --shape 8x6x20", ["--groups", "32"]),
        ("--norm group --shape 8x6x20 --groups 3", ["--groups", "3"]),
        ("--norm instance --shape 8x6x20 --channel-axis 3", ["--channel-axis", "3"]),
        ("--norm mvn --shape 8x64", ["--axes", "0,2,3 is the default"]),
        ("--norm layer --shape 8x64 --axes 2", ["--axes", "[8, 64]"]),
        ("--norm layer --shape 65536x65536", ["--shape", "elements"]),
        ("--norm layer --json none/b.json", ["--json", "none"]),
        ("--norm layer --plot none/b.svg", ["--plot", "none"]),
        ("--norm layer --json .", ["--json", "directory"]),
        ("--norm layer --share none/b.json", ["--share", "none"]),
    ] {
        folder.refuse(1, &format!("bench {options}"), &words);
    }
    assert!(folder.files().is_empty(), "{:?}", folder.files());
}
