//! `wgpu-norm doctor`. That a wrong result would be reported is tested where the verdict is
//! made, in `src/doctor/verdict.rs`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::command::Folder;
use crate::support::{TOLERANCE, gpu};

/// Whatever adapter the suite runs on has passed it, so the doctor must trust it.
#[test]
fn the_doctor_trusts_this_adapter() {
    let mut told = Vec::new();
    let report = gpu().examine_blocking(|done, all| told.push((done, all))).unwrap();
    assert!(report.is_trusted() && report.verdict().starts_with("Trust it: in all "), "{report}");
    assert!(report.checks.iter().all(|check| check.passed() && check.error().is_ok()), "{report}");
    let all = told.last().map(|&(_, all)| all);
    assert!(told.is_sorted() && told.iter().all(|&(_, bytes)| Some(bytes) == all), "{told:?}");
    assert_eq!((told.first().map(|&(done, _)| done), told.last().map(|&(done, _)| done)), (Some(0), all));
    // The same bits every time, so the command says the same to the letter. It ends with what fits a screen.
    let ended = Folder::new().succeed("doctor --verbose");
    let screen = report.to_string();
    assert_eq!((ended.stdout, ended.stderr.as_str()), (format!("{}\n{screen}", report.table()), ""));
    assert!(screen.starts_with(&gpu().describe()), "{screen}");
    assert!(screen.lines().last().is_some_and(|verdict| verdict.starts_with("Trust it: in all ")), "{screen}");
    assert!(screen.lines().count() <= 24, "{screen}");
    assert!(screen.lines().skip(1).all(|line| line.len() <= 100), "{screen}");
    for fact in ["(x - shift) - delta", "denormals", "a * b + c, to f16", "a / b, sqrt(a)", "NaN, infinities", "loops"]
    {
        assert!(screen.lines().any(|line| line.starts_with(fact)), "no {fact} in\n{screen}");
    }
    let text = report.table();
    for norm in ["layer", "rms", "group", "instance", "batch, training", "batch, eval", "mvn", "lp, p = 1", "lp, p = 2"]
    {
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(&format!("{norm}, "))).collect();
        let gradients = rows.iter().filter(|row| row.starts_with(&format!("{norm}, gradients, "))).count();
        assert!(rows.len() > gradients, "no {norm} in\n{text}");
        assert_eq!(gradients > 0, !norm.contains("mvn") && !norm.contains("lp"), "{norm} in\n{text}");
        assert!(rows.iter().all(|row| row.ends_with("  ok")), "{text}");
        let line = screen.lines().find(|line| line.starts_with(&format!("{norm}  "))).expect("a line");
        assert_eq!(line.ends_with("none  ok"), gradients == 0, "{screen}");
    }
}

#[test]
fn its_json_is_one_object_with_every_check() {
    let report = Folder::new().succeed("doctor --json").json();
    Folder::new().refuse(2, "doctor --json --verbose", &["--json", "--verbose"]);
    assert_eq!(report["trusted"], true, "{report}");
    assert!(report["verdict"].as_str().is_some_and(|verdict| verdict.starts_with("Trust it")));
    assert_eq!(report["adapter"]["name"], gpu().adapter_info().name);
    assert_eq!(report["tolerance"], TOLERANCE);
    assert!(report["probe"]["plain_error"].is_number());
    let checks = report["checks"].as_array().expect("a list");
    assert!(checks.len() > 200, "{}", checks.len());
    for check in checks {
        assert!(check["error"].as_f64().is_some_and(|error| error <= TOLERANCE), "{check}");
        assert_eq!((&check["passed"], &check["trouble"]), (&Value::Bool(true), &Value::Null));
    }
    let all = |key: &str| checks.iter().filter_map(|check| check[key].as_str()).collect::<BTreeSet<_>>();
    assert_eq!(all("data").len(), 13);
    // 16-bit types, by quads, one by one and by pairs, going back as well, and all that they round.
    let pairs = |check: &Value| check["plan"].as_str().is_some_and(|plan| plan.ends_with("apply_pairs"));
    assert!(checks.iter().any(pairs));
    for dtype in ["f16", "bf16"] {
        let of = |data: &'static str| {
            checks.iter().filter(move |check| check["dtype"] == dtype && (check["data"] == data || data.is_empty()))
        };
        assert!(of("").any(|check| check["direction"] == "backward"), "{dtype}");
        let far = if dtype == "f16" { "mean 1000" } else { "mean 256" };
        assert!(of(far).count() >= 6, "{dtype}");
        let widths: Vec<u64> = of("every number and halfway").filter_map(|check| check["shape"][1].as_u64()).collect();
        assert!([0, 3].iter().all(|rest| widths.iter().any(|width| width % 4 == *rest)), "{widths:?}");
    }
    // The whole range of f32, in every kind of plan.
    for scale in ["scale 1e-36", "scale 1e-20", "scale 1e20", "scale 1e37"] {
        let scaled = checks.iter().filter(|check| check["data"] == scale);
        let plans: Vec<&str> = scaled.filter_map(|check| check["plan"].as_str()).collect();
        for kernel in
            ["fused_rows", "apply_rows", "fused_columns", "apply_columns", "backward_fused_rows", "backward_apply_rows"]
                .into_iter()
                .chain(["backward_apply_columns"])
        {
            assert!(plans.iter().any(|plan| plan.split(", ").any(|pass| pass == kernel)), "no {kernel} at {scale}");
        }
    }
    let layouts = BTreeSet::from(["channels between", "channels first", "channels last", "columns", "rows"]);
    assert_eq!(all("layout"), layouts);
    assert_eq!(all("direction"), BTreeSet::from(["backward", "forward"]));
    let without = gpu().context().capabilities().subgroup_sizes.is_some().then_some("without subgroups");
    let shared = ["as planned", "in windows"].into_iter().chain(without);
    for (direction, way) in shared.flat_map(|way| [("forward", way), ("backward", way)]).chain([
        ("forward", "out of place"),
        ("backward", "dx over dy"),
        ("forward", "with strides"),
        ("backward", "with strides"),
    ]) {
        assert!(checks.iter().any(|check| check["direction"] == direction && check["way"] == way), "{direction} {way}");
    }
    // Wrong arithmetic shows at this mean, in each norm's gradients.
    for norm in ["layer", "rms", "group", "instance", "batch, training", "batch, eval"] {
        let far =
            |check: &&Value| check["direction"] == "backward" && check["norm"] == norm && check["data"] == "mean 1e6";
        let layouts: BTreeSet<_> = checks.iter().filter(far).map(|check| check["layout"].to_string()).collect();
        assert!(layouts.len() >= if ["layer", "rms"].contains(&norm) { 1 } else { 2 }, "{norm}: {layouts:?}");
    }
    let plans = all("plan").into_iter().collect::<Vec<_>>().join(", ");
    for kernel in [
        "fused_rows",
        "stats_rows",
        "stats_columns",
        "merge",
        "count_batch",
        "apply_rows",
        "apply_columns",
        "backward_fused_rows",
        "sums_rows",
        "sums_columns",
        "merge_sums",
        "merge_parameters",
        "running_statistics",
        "backward_apply_rows",
        "backward_apply_columns",
    ] {
        assert!(plans.split(", ").any(|plan| plan == kernel), "no {kernel} in {plans}");
    }
}

#[test]
fn wrong_usage_is_refused() {
    Folder::new().refuse(2, "doctor --quick", &["--quick"]);
}
