//! `--device`: the CPU where it is asked for, or where there is no GPU.

use std::fs;

use serde_json::Value;

use super::{Ended, Folder};
use crate::support::gpu;

fn folder() -> Folder {
    let folder = Folder::new();
    let x: Vec<f32> = (0..60).map(|i| (i * i % 17) as f32 - 3.5).collect();
    folder.npy("x.npy", &[4, 15], &x);
    folder
}

#[test]
fn the_cpu_computes_the_same() {
    let folder = folder();
    for norm in ["layer", "rms", "mvn --axes 1", "batch --train"] {
        let line = format!("apply {norm} --input x.npy --output y.npy --check");
        let told = folder.succeed(&format!("{line} --device cpu")).stdout;
        assert!(told.contains(" on CPU, ") && told.contains(": it was asked for\n"), "{told}");
        assert!(told.contains("check: y is off"), "{told}");
        assert!(!told.contains("plan:"), "{told}");
        let on_cpu = folder.read("y.npy");
        folder.succeed(&format!("{line} --device gpu"));
        assert!((on_cpu - folder.read("y.npy")).iter().all(|off| off.abs() < 1e-5), "{norm}");
    }
    let line = "grad layer --input x.npy --grad-output x.npy --save-grad-input dx.npy --check --json";
    let report = folder.succeed(&format!("{line} --device cpu")).json();
    assert_eq!((&report["device"], &report["adapter"]), (&"cpu".into(), &Value::Null), "{report}");
    assert_eq!(report["check"]["passed"], true, "{report}");
    assert!(report["cpu"].as_str().is_some_and(|cpu| cpu.starts_with("CPU, ")), "{report}");
    let report = folder.succeed(&format!("{line} --device gpu")).json();
    assert_eq!((&report["device"], &report["cpu"]), (&"gpu".into(), &Value::Null), "{report}");
}

#[test]
fn without_a_gpu_it_is_the_cpu() {
    let folder = folder();
    let run = |line: &str| {
        let mut command = folder.command(line);
        command.env_remove("WGPU_NORM_DEVICE").env_remove("WGPU_ADAPTER_NAME").env("WGPU_BACKEND", "noop");
        Ended::of(command.output().expect("the command starts"))
    };
    let ended = run("apply layer --input x.npy --output y.npy --json");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let report = ended.json();
    assert_eq!(report["device"], "cpu", "{report}");
    assert_eq!(report["reason"], "no GPU adapter was found");
    for line in [
        "apply layer --input x.npy --output y.npy",
        "grad rms --input x.npy --grad-output x.npy --save-grad-input dx.npy",
    ] {
        let told = run(line).stdout;
        assert!(told.contains(" on CPU, ") && told.ends_with(": no GPU adapter was found\n"), "{told}");
    }
    let ended = run("apply layer --input x.npy --output y.npy --device gpu");
    ended.refused(3, "--device gpu", &["no GPU adapter"]);
    let ended = run("bench --quick --norm layer --shape 64x48 --json now.json --plot now.svg");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("CPU, ") && !ended.stdout.contains("FAILED"), "{}", ended.stdout);
    let written: Value = serde_json::from_slice(&fs::read(folder.path("now.json")).unwrap()).unwrap();
    assert!(
        ended.stdout.lines().next().is_some_and(|on| on.ends_with(": no GPU adapter was found")),
        "{}",
        ended.stdout
    );
    assert_eq!((&written["adapter"]["type"], &written["reason"]), (&"CPU".into(), &report["reason"]), "{written}");
    assert_eq!(written["cases"].as_array().map(Vec::len), Some(2), "{written}");
}

#[test]
fn options_that_contradict_the_device_are_refused() {
    let folder = folder();
    let line = "apply layer --input x.npy --output y.npy --device cpu --adapter some";
    folder.refuse(2, line, &["--adapter", "--device cpu"]);
    folder.refuse(2, "bench --device cpu --trusted", &["--trusted"]);
}

/// What `adapters` says of auto is what auto does.
#[test]
fn adapters_are_listed_with_what_takes_them() {
    let folder = folder();
    let told = folder.succeed("adapters").stdout;
    let list = folder.succeed("adapters --json").json();
    let report = folder.succeed("apply layer --input x.npy --output y.npy --device auto --json").json();
    assert_eq!((&list["device"], &list["reason"]), (&report["device"], &report["reason"]), "{list}");
    let (of_adapter, of_cpu) = match list["device"].as_str() {
        Some("gpu") => ("used by --device auto and gpu", "used by --device cpu"),
        _ => ("used by --device gpu", "used by --device auto and cpu: "),
    };
    let (heads, cpu): (Vec<&str>, Vec<&str>) =
        told.lines().filter(|line| line.contains(", used by ")).partition(|line| !line.starts_with("CPU, "));
    assert!(matches!(heads[..], [head] if head.ends_with(of_adapter)), "{told}");
    assert!(matches!(cpu[..], [line] if line.contains(of_cpu)), "{told}");
    // By name, software is taken as well.
    let name = gpu().adapter_info().name.as_str();
    let ended = folder.run_with("adapters --json", "WGPU_ADAPTER_NAME", name);
    assert_eq!(ended.json()["device"], "gpu", "{}", ended.stdout);
}
