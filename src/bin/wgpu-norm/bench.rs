//! `wgpu-norm bench`: how fast every norm and its backward pass is, beside a copy.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wgpu_norm::doctor::Report as Examined;
use wgpu_norm::sample::{Arguments, Following};
use wgpu_norm::{Gpu, SpecError};

use crate::cli::{Bench, Directions};
use crate::failure::{Failure, one_line, print};
use crate::files;
use crate::progress::Progress;
use crate::{adapters, doctor, specify, usage};
use timing::{Case, Comparison, Device, Direction, Effort, Report, Trouble};

#[path = "../../bench/mod.rs"]
mod timing;

/// What `--json` writes and `--compare` reads.
#[derive(Serialize, Deserialize)]
struct Run {
    adapter: Map<String, Value>,
    /// Why it is that one.
    #[serde(default)]
    reason: String,
    #[serde(flatten)]
    report: Report,
}

pub(crate) fn run(options: &Bench) -> Result<(), Failure> {
    usage::check_bench(options)?;
    // All that can be wrong before minutes are spent.
    let earlier = options.compare.as_deref().map(read).transpose()?;
    let files = [
        ("--json", options.json.as_deref()),
        ("--plot", options.plot.as_deref()),
        ("--share", options.share.as_deref()),
    ];
    let asked: Vec<(&str, &Path)> =
        files.into_iter().filter_map(|(option, path)| path.map(|path| (option, path))).collect();
    let targets = files::whole(&asked)?;
    let cases = cases(options)?;
    let effort = if options.quick { Effort::QUICK } else { Effort::USUAL };
    let progress = || Progress::steps("timing".to_owned(), cases.len() as u64);
    let next = |progress: &Progress, done: usize, case: &Case| {
        progress.now(case.to_string());
        progress.advance(u64::from(done > 0));
    };
    let engine = adapters::engine(&options.place)?;
    let mut examined = None;
    let (adapter, description, report) = match engine.cpu() {
        Some(_) if options.trusted => {
            return Err(Failure::Usage("--trusted is of shaders, and the CPU has none".to_owned()));
        }
        Some(_) if options.share.is_some() => {
            let why = "--share is of adapters, and this runs on the CPU; --device gpu takes software Vulkan as well";
            return Err(Failure::Usage(why.to_owned()));
        }
        Some(cpu) => {
            let progress = progress();
            let report = timing::cpu::run(cpu, effort, &cases, |done, case| next(&progress, done, case));
            (adapters::identity_of_cpu(cpu), cpu.describe(), report)
        }
        None => {
            let device = {
                let _progress = Progress::spinner("starting the GPU".to_owned());
                let adapter = options.place.adapter.as_deref();
                Device::open(adapter).map_err(|trouble| match &trouble {
                    Trouble::Library(error) => adapters::refused(error, adapter),
                    trouble => failed(trouble),
                })?
            };
            let device = if options.trusted { device.trusted() } else { device };
            let planned = timing::plan(&device, cases.clone()).map_err(|error| refused(options, &error))?;
            if let Some(gpu) = engine.gpu().filter(|_| options.share.is_some()) {
                examined = Some(doctor::examine(gpu)?);
            }
            let progress = progress();
            let report = timing::run(&device, effort, &planned, |done, case| next(&progress, done, case))
                .map_err(|trouble| failed(&trouble))?;
            (adapters::identity(&device.info), device.description.clone(), report)
        }
    };
    let run = Run { adapter, reason: engine.reason().to_owned(), report };
    print(&text(&run, options, &format!("{description}: {}", run.reason), earlier.as_ref()))?;
    if let Some(examined) = &examined {
        print(&format!("doctor: {}\n", examined.verdict()))?;
    }
    let comparison = earlier.as_ref().map(|(_, comparison)| comparison);
    let mut staged = Vec::new();
    for (target, &(option, _)) in targets.into_iter().zip(&asked) {
        let contents = match option {
            "--json" => json(&run)?,
            "--share" => shared(&run, examined.as_ref())?,
            _ => timing::svg(&run.report, &description, comparison).map_err(|trouble| failed(&trouble))?,
        };
        staged.push(target.stage_bytes(contents.as_bytes())?);
    }
    files::commit(staged)?;
    match run.report.failed() {
        0 => examined.as_ref().map_or(Ok(()), doctor::trusted),
        failed => Err(Failure::Failed(format!("{failed} of {} cases failed", run.report.cases.len()))),
    }
}

/// Those of the list, or the user's own.
fn cases(options: &Bench) -> Result<Vec<Case>, Failure> {
    let directions: &[Direction] = match options.direction {
        Directions::Forward => &[Direction::Forward],
        Directions::Backward => &[Direction::Backward],
        Directions::Both => &[Direction::Forward, Direction::Backward],
    };
    if options.shape.is_empty() {
        let wanted = |case: &Case| {
            let directed = directions.iter().any(|direction| direction.name() == case.direction.name());
            directed && (options.norm.is_empty() || options.norm.iter().any(|norm| norm.word() == case.kind.word()))
        };
        return Ok(timing::all(options.dtype)
            .into_iter()
            .filter(wanted)
            .map(|case| case.then(options.activation))
            .collect());
    }
    let mut cases = Vec::new();
    for &direction in directions {
        own(options, direction, &mut cases)?;
    }
    Ok(cases)
}

/// The user's own shapes.
fn own(options: &Bench, direction: Direction, cases: &mut Vec<Case>) -> Result<(), Failure> {
    for norm in &options.norm {
        let groups = options.groups.map(NonZeroUsize::get);
        let (axis, axes) = (options.channel_axis, options.axes.as_ref().map(|axes| axes.0));
        let kind = |train| norm.with(&Arguments { groups, axis, axes, train, ..Arguments::default() });
        // Most norms are the same in training.
        let mut kinds = vec![kind(true), kind(false)];
        kinds.dedup();
        for shape in &options.shape {
            for &kind in kinds.iter().filter(|kind| kind.has_backward() || !direction.is_backward()) {
                let (shape, following) = (shape.0.clone().into(), Following::NONE);
                let case = Case { kind, shape, following, direction, element: options.dtype, strides: &[] };
                let case = case.then(options.activation);
                case.norm().map_err(|error| refused(options, &error))?;
                cases.push(case);
            }
        }
    }
    Ok(())
}

/// The library's refusal, with the option it is about.
fn refused(options: &Bench, error: &SpecError) -> Failure {
    let given = [options.groups.is_some(), options.axes.is_some()];
    specify::refusal(specify::option(error, given, "--shape", "--modulated"), error)
}

fn failed(trouble: &Trouble) -> Failure {
    specify::refusal(None, trouble)
}

/// The tables, and what to know of an earlier run.
fn text(run: &Run, options: &Bench, description: &str, earlier: Option<&(Map<String, Value>, Comparison)>) -> String {
    let mut text = timing::text(&run.report, description, earlier.map(|(_, comparison)| comparison));
    if let Some((adapter, comparison)) = earlier {
        let name = |adapter: &Map<String, Value>| {
            let text = |key: &str| adapter.get(key).and_then(|value| value.as_str()).unwrap_or_default();
            format!("{} ({} {})", text("name"), text("driver"), text("driver_info"))
        };
        if name(adapter) != name(&run.adapter) {
            text.push_str(&format!("that was on another adapter: {}\n", name(adapter)));
        }
        let (then, now) = (&comparison.old.dtype, &run.report.dtype);
        if then != now {
            text.push_str(&format!("that was of {then}, and this is of {now}\n"));
        }
        let some_only = !options.norm.is_empty() || options.direction != Directions::Both;
        text.push_str(&comparison.notes(&run.report, some_only));
    }
    text
}

fn json(run: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(run)
        .map(|text| text + "\n")
        .map_err(|error| Failure::Failed(format!("the numbers make no JSON: {error}")))
}

/// What `--share` writes: the run without why it was on that adapter, which may be of this machine alone, with what the adapter can do
/// and the doctor's verdict. `--compare` reads it, too.
fn shared(run: &Run, examined: Option<&Examined>) -> Result<String, Failure> {
    let identity = &run.adapter;
    let reports = Gpu::adapters_blocking();
    let found = reports.iter().find(|report| adapters::identity(&report.info) == *identity);
    let mut adapter = identity.clone();
    adapter.extend(found.map(adapters::abilities).unwrap_or_default());
    let no_json = |error: serde_json::Error| Failure::Failed(format!("the numbers make no JSON: {error}"));
    // A line each, so that files stay short.
    let cases: Result<Vec<String>, _> = run.report.cases.iter().map(serde_json::to_string).collect();
    let head = json(&json!({
        "wgpu_norm": env!("CARGO_PKG_VERSION"),
        "adapter": adapter,
        "doctor": examined.map(doctor::summary),
        "dtype": run.report.dtype,
        "method": run.report.method,
        "copy": run.report.copy,
    }))?;
    let head = head.strip_suffix("\n}\n").unwrap_or(&head);
    Ok(format!("{head},\n  \"cases\": [\n    {}\n  ]\n}}\n", cases.map_err(no_json)?.join(",\n    ")))
}

/// An earlier run, and its adapter.
fn read(path: &Path) -> Result<(Map<String, Value>, Comparison), Failure> {
    let file = path.display().to_string();
    let refused =
        |why: String| Failure::Failed(format!("cannot compare with `{file}` (--compare): {}", one_line(&why)));
    let text = fs::read_to_string(path).map_err(|error| {
        refused(match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => error.to_string(),
        })
    })?;
    let Run { adapter, report, .. } = serde_json::from_str(&text)
        .map_err(|error| refused(format!("it is not what `wgpu-norm bench --json` writes: {error}")))?;
    match report.incomparable() {
        Some(row) => Err(refused(format!("the numbers of {} are none to compare with", row.name()))),
        None => Ok((adapter, Comparison { file, old: report })),
    }
}
