//! `wgpu-norm doctor`: whether to trust the library on this adapter.

mod cases;
mod given;
mod own_buffers;
mod verdict;

use serde_json::{Value, json};
use wgpu_norm::{Gpu, Plan, Probe};

use crate::adapters;
use crate::check::TOLERANCE;
use crate::cli::Doctor;
use crate::failure::{Failure, chain, one_line};
use crate::progress::Progress;
use crate::specify;
use cases::{CASES, Case, Data};
use given::Given;
use verdict::{Outcome, Verdict, Way};

/// The binding that tensors are cut to for [`Way::Windows`]: a row of 16,384 elements, wherever it starts.
const WINDOW_BYTES: u64 = (64 << 10) + 256;

pub(crate) fn run(options: &Doctor) -> Result<(), Failure> {
    let (gpu, probe) = {
        let _progress = Progress::spinner("probing the GPU".to_owned());
        let gpu = match &options.adapter {
            Some(name) => Gpu::with_adapter_blocking(name),
            None => Gpu::new_blocking(),
        };
        gpu.and_then(|gpu| gpu.probe_blocking().map(|probe| (gpu, probe)))
    }
    .map_err(|error| specify::refusal(specify::option_of_adapter(&error, options.adapter.as_deref()), &error))?;
    let outcomes = examine(&gpu, &probe)?;
    let verdict = verdict::judge(&probe, gpu.context().capabilities().reassociates, &outcomes);
    crate::print(&if options.json {
        json_of(&gpu, &probe, &outcomes, &verdict)
    } else {
        text_of(&gpu, &probe, &outcomes, &verdict)
    })?;
    if verdict.trusted {
        return Ok(());
    }
    let why = match outcomes.iter().filter(|outcome| !outcome.passed()).count() {
        0 => "by what the probe found".to_owned(),
        failed => format!("{failed} of {} checks failed", outcomes.len()),
    };
    Err(Failure::Failed(format!("this adapter is not to be trusted as it is: {why}")))
}

/// The ways that differ on this device, each with what plans so.
fn ways(gpu: &Gpu, probe: &Probe) -> Vec<(Way, Gpu)> {
    let capabilities = gpu.context().capabilities();
    let mut ways = vec![(Way::Planned, gpu.clone())];
    let mut add = |way: Way, changed: wgpu_norm::Capabilities| {
        if changed != *capabilities {
            ways.push((way, gpu.clone().with_capabilities(changed)));
        }
    };
    add(Way::Probed, capabilities.clone().after(probe));
    let mut without = capabilities.clone();
    without.subgroup_sizes = None;
    add(Way::WithoutSubgroups, without);
    let mut windows = capabilities.clone();
    windows.max_binding = windows.max_binding.min(WINDOW_BYTES);
    add(Way::Windows, windows);
    ways.push((Way::OutOfPlace, gpu.clone()));
    ways.push((Way::OverDy, gpu.clone()));
    ways
}

/// Every case, every way in which it is computed differently.
fn examine(gpu: &Gpu, probe: &Probe) -> Result<Vec<Outcome>, Failure> {
    let ways = ways(gpu, probe);
    let bytes = |case: &Case| case.shape.iter().fold(4, |bytes, &length| bytes * length as u64);
    let progress = Progress::bytes("checking every norm and gradient".to_owned(), CASES.iter().map(bytes).sum());
    let mut outcomes = Vec::new();
    for case in &CASES {
        let bug = |error: &wgpu_norm::SpecError| Failure::Failed(format!("{}: {}", case.name(), chain(error)));
        let norm = case.norm().map_err(|error| bug(&error))?;
        let planned = case.plan(gpu, norm.as_ref(), Way::Planned).map_err(|error| bug(&error))?;
        let given: Vec<Given> = Data::ALL.iter().map(|&data| case.given(&norm.parameter_shape(), data)).collect();
        for (way, gpu) in &ways {
            // Norms and gradients lie in one's own buffers each in a way of their own.
            if *way == if case.backward { Way::OutOfPlace } else { Way::OverDy } {
                continue;
            }
            let plan = match case.plan(gpu, norm.as_ref(), *way) {
                Ok(plan) => plan,
                // A row that no window holds.
                Err(_) if *way == Way::Windows => continue,
                Err(error) => return Err(bug(&error)),
            };
            let same = plan.passes() == planned.passes();
            if same && matches!(way, Way::WithoutSubgroups | Way::Windows) {
                continue;
            }
            for given in &given {
                // Not in place differs by a binding only: one kind of data will do.
                if *way == Way::OutOfPlace && given.data != Data::FarMean {
                    continue;
                }
                let error = given.error(gpu, norm.as_ref(), *way);
                outcomes.push(Outcome { case, plan: kernels(&plan), way: *way, data: given.data, error });
            }
        }
        progress.advance(bytes(case));
    }
    Ok(outcomes)
}

fn kernels(plan: &Plan) -> String {
    let names: Vec<&str> = plan.passes().iter().map(|pass| pass.name()).collect();
    names.join(", ")
}

/// What the probe found, each with its name.
fn facts(gpu: &Gpu, probe: &Probe) -> Vec<(&'static str, String)> {
    let kept = |error: f64, kept: bool| {
        let word = if kept { "computed as written" } else { "NOT computed as written" };
        format!("{word}: off by {error:.1e} standard deviations at mean 1e6")
    };
    let plain = kept(probe.plain_error, probe.keeps_subtractions());
    let rule = match (gpu.context().capabilities().reassociates, probe.keeps_subtractions()) {
        (true, _) => "; not relied on here",
        (false, true) => "; relied on here",
        (false, false) => "; and yet relied on here",
    };
    let wanted = Probe::ITERATIONS;
    let flushed = |flushed: bool| if flushed { "flushed to 0" } else { "kept" };
    vec![
        ("(x - shift) - delta", format!("{plain}{rule}")),
        ("the same, hidden", kept(probe.hidden_error, probe.keeps_hidden_subtractions())),
        ("centres that move", kept(probe.two_sum_error, probe.keeps_two_sums())),
        (
            "denormals",
            format!(
                "operands {}, results {}; no norm depends on it",
                flushed(probe.flushes_denormal_operands),
                flushed(probe.flushes_denormal_results)
            ),
        ),
        (
            "a * b + c",
            format!("rounded {}; no norm depends on it", if probe.fuses_multiply_add { "once" } else { "twice" }),
        ),
        ("a / b, sqrt(a)", format!("off by at most {:.2} and {:.2} ulp", probe.division_ulp, probe.sqrt_ulp)),
        (
            "NaN, infinities",
            if probe.not_ieee.is_empty() {
                "as IEEE 754 says".to_owned()
            } else {
                format!("not as IEEE 754 says: {}; the checks below tell if it matters", probe.not_ieee.join(", "))
            },
        ),
        (
            "loops",
            format!(
                "one of {wanted} iterations runs {}, two of {} run {} together; {}",
                probe.iterations,
                wanted / 2,
                probe.iterations_of_two,
                if probe.runs_loops() { "enough for every norm" } else { "NOT enough" }
            ),
        ),
    ]
}

fn text_of(gpu: &Gpu, probe: &Probe, outcomes: &[Outcome], verdict: &Verdict) -> String {
    let mut text = format!("{}\n\n", gpu.describe());
    for (name, fact) in facts(gpu, probe) {
        text.push_str(&format!("{name:21}{fact}\n"));
    }
    let used: Vec<String> = Way::ALL
        .into_iter()
        .map(|way| (way, outcomes.iter().filter(|outcome| outcome.way == way).count()))
        .filter(|&(_, checks)| checks > 0)
        .map(|(way, checks)| format!("{} {checks}", way.name()))
        .collect();
    let data: Vec<&str> = Data::ALL.into_iter().map(Data::name).collect();
    text.push_str(&format!(
        "\ndata: {}\nchecks: {}\nerrors: relative to the largest term, and {TOLERANCE:e} at most\n\n{}\n{}\n",
        data.join(", "),
        used.join(", "),
        verdict::table(outcomes),
        one_line(&verdict.words)
    ));
    text
}

fn json_of(gpu: &Gpu, probe: &Probe, outcomes: &[Outcome], verdict: &Verdict) -> String {
    let checks: Vec<Value> = outcomes.iter().map(Outcome::json).collect();
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
            "iterations": probe.iterations,
            "iterations_of_two": probe.iterations_of_two,
            "iterations_wanted": Probe::ITERATIONS,
            "not_ieee": probe.not_ieee,
        },
        "hides_subtractions": gpu.context().capabilities().reassociates,
        "tolerance": TOLERANCE,
        "checks": checks,
        "trusted": verdict.trusted,
        "verdict": one_line(&verdict.words),
    });
    format!("{object}\n")
}
