//! The table in `docs/results/README.md` is what the files beside it say, each written by `wgpu-norm bench --share`. With
//! `WGPU_NORM_WRITE=1` it is written anew. Needs no adapter.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use wgpu_norm::sample::time;

use crate::support::{generated_parts, in_repository};

/// The cases whose GB/s over the copy's are told.
const RATIOS: [(&str, &str, &str); 8] = [
    ("LayerNorm", "4096x768", "forward"),
    ("LayerNorm", "4096x768", "backward"),
    ("RmsNorm", "2048x4096", "forward"),
    ("GroupNorm(32)", "8x256x32x32", "forward"),
    ("GroupNorm(32)", "8x32x32x256", "forward"),
    ("BatchNorm train", "32x64x56x56", "forward"),
    ("BatchNorm train", "32x64x56x56", "backward"),
    ("BatchNorm eval", "32x64x56x56", "forward"),
];

/// Those whose times are told, with the copy's: so short that a ratio of bytes says little.
const TIMES: [(&str, &str); 3] = [("LayerNorm", "1x4096"), ("LayerNorm", "8x4096"), ("RmsNorm", "16x8192")];

fn shared() -> Vec<Value> {
    let entries = fs::read_dir(in_repository("docs/results")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    assert!(!paths.is_empty());
    let read = |path: &PathBuf| {
        let value: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        // What --json writes has more in it, and less.
        let shared = value["doctor"].is_object() && value.get("reason").is_none();
        assert!(shared, "{} is not of `wgpu-norm bench --share`", path.display());
        value
    };
    paths.iter().map(read).collect()
}

fn table(runs: &[Value]) -> String {
    let ratios = RATIOS.map(|(norm, shape, direction)| match direction {
        "forward" => format!("{norm} {shape}"),
        _ => "backward".to_owned(),
    });
    let times = TIMES.map(|(norm, shape)| format!("{norm} {shape} / copy"));
    let heads: Vec<String> = ["adapter", "driver", "the doctor"].map(str::to_owned).into_iter().collect();
    let heads = [heads, ratios.to_vec(), times.to_vec()].concat();
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for run in runs {
        text.push_str(&format!("| {} |\n", row(run).join(" | ")));
    }
    text
}

fn row(run: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (adapter, doctor) = (&run["adapter"], &run["doctor"]);
    let verdict = match (doctor["trusted"].as_bool(), doctor["worst_error"].as_f64()) {
        (Some(true), Some(worst)) => format!("trusts it: {} checks, {worst:.1e} at most", doctor["checks"]),
        _ => format!("does not trust it: {} of {} checks failed", doctor["failed"], doctor["checks"]),
    };
    let driver = format!("{} {}", text(&adapter["driver"]), text(&adapter["driver_info"]));
    let mut name = text(&adapter["name"]);
    if let Some(dtype) = run["dtype"].as_str().filter(|&dtype| dtype != "f32") {
        name.push_str(&format!(", {dtype}"));
    }
    let mut cells = vec![name, driver.trim().to_owned(), verdict];
    let case = |norm: &str, shape: &str, direction: &str| {
        let cases = run["cases"].as_array().unwrap();
        // Those of dx alone have a shape like the others.
        let all = |case: &&Value| case.get("gradients").is_none_or(|gradients| gradients.as_array().unwrap().len() > 1);
        let same = |case: &&Value| case["norm"] == norm && case["shape"] == shape && case["direction"] == direction;
        cases.iter().filter(all).find(same)
    };
    let number = |case: Option<&Value>, key: &str| case?.get(key)?.as_f64();
    cells.extend(RATIOS.map(|(norm, shape, direction)| {
        let ratio = number(case(norm, shape, direction), "ratio_to_copy");
        ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"))
    }));
    cells.extend(TIMES.map(|(norm, shape)| {
        let of = |key: &str| number(case(norm, shape, "forward"), key).map_or("–".to_owned(), time);
        format!("{} / {}", of("seconds"), of("copy_seconds"))
    }));
    cells
}

#[test]
fn the_table_of_results_is_current() {
    generated_parts(&in_repository("docs/results/README.md"), &[("adapters", table(&shared()))]);
}
