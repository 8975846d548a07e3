//! `wgpu-norm doctor`: whether to trust the library on this adapter.

use serde_json::{Value, json};
use wgpu_norm::Gpu;
use wgpu_norm::Probe;
use wgpu_norm::doctor::{Check, Report};
use wgpu_norm::reference::TOLERANCE;

use crate::adapters;
use crate::cli::Doctor;
use crate::failure::{Failure, print};
use crate::progress::Progress;
use crate::specify;

pub(crate) fn run(options: &Doctor) -> Result<(), Failure> {
    let gpu = adapters::start(options.adapter.as_deref())?;
    let report = examine(&gpu)?;
    print(&match (options.json, options.verbose) {
        (true, _) => json_of(&gpu, &report),
        (false, true) => format!("{}\n{report}", report.table()),
        (false, false) => report.to_string(),
    })?;
    trusted(&report)
}

/// Every check, with its progress told.
pub(crate) fn examine(gpu: &Gpu) -> Result<Report, Failure> {
    let mut step = Progress::spinner("probing the GPU".to_owned());
    let mut before = 0;
    gpu.examine_blocking(|done, all| {
        if done == 0 {
            step = Progress::bytes("checking every norm and gradient".to_owned(), all);
        }
        step.advance(done - before);
        before = done;
    })
    .map_err(|error| specify::refusal(None, &error))
}

/// A failure where the adapter is not to be trusted.
pub(crate) fn trusted(report: &Report) -> Result<(), Failure> {
    if report.is_trusted() {
        return Ok(());
    }
    let why = match failed(report) {
        0 => "by what the probe found".to_owned(),
        failed => format!("{failed} of {} checks failed", report.checks.len()),
    };
    Err(Failure::Failed(format!("this adapter is not to be trusted as it is: {why}")))
}

fn failed(report: &Report) -> usize {
    report.checks.iter().filter(|check| !check.passed()).count()
}

/// What the doctor says, without every check.
pub(crate) fn summary(report: &Report) -> Value {
    let errors: Result<Vec<f64>, &str> = report.checks.iter().map(Check::error).collect();
    // An infinite error has no number in JSON, and becomes null, as one that was not computed.
    let worst = errors.ok().map(|errors| errors.into_iter().fold(0.0, f64::max));
    json!({
        "checks": report.checks.len(),
        "failed": failed(report),
        "worst_error": worst,
        "tolerance": TOLERANCE,
        "trusted": report.is_trusted(),
        "verdict": report.verdict(),
    })
}

fn json_of(gpu: &Gpu, report: &Report) -> String {
    let probe = &report.probe;
    let checks: Vec<Value> = report.checks.iter().map(json_of_check).collect();
    let object = json!({
        "adapter": adapters::identity(gpu.adapter_info()),
        "probe": {
            "plain_error": probe.plain_error,
            "hidden_error": probe.hidden_error,
            "two_sum_error": probe.two_sum_error,
            "keeps_subtractions": probe.keeps_subtractions(),
            "keeps_hidden": probe.keeps_hidden(),
            "runs_loops": probe.runs_loops(),
            "flushes_denormal_operands": probe.flushes_denormal_operands,
            "flushes_denormal_results": probe.flushes_denormal_results,
            "fuses_multiply_add": probe.fuses_multiply_add,
            "division_ulp": probe.division_ulp,
            "sqrt_ulp": probe.sqrt_ulp,
            "packs_exactly": probe.packs_exactly,
            "iterations": probe.iterations,
            "iterations_of_two": probe.iterations_of_two,
            "iterations_wanted": Probe::ITERATIONS,
            "not_ieee": probe.not_ieee,
        },
        "hides_subtractions": report.hides_subtractions,
        "tolerance": TOLERANCE,
        "checks": checks,
        "trusted": report.is_trusted(),
        "verdict": report.verdict(),
    });
    format!("{object}\n")
}

fn json_of_check(check: &Check) -> Value {
    json!({
        "norm": check.norm(),
        "following": check.following(),
        "direction": if check.is_backward() { "backward" } else { "forward" },
        "layout": check.layout(),
        "shape": check.shape(),
        "dtype": check.element().to_string(),
        "plan": check.plan(),
        "way": check.way(),
        "data": check.data(),
        // An infinite error has no number in JSON, and becomes null.
        "error": check.error().ok(),
        "trouble": check.error().err(),
        "passed": check.passed(),
    })
}
