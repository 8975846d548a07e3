//! `wgpu-norm bench`: how fast every norm and its backward pass is, by the speed of a copy.

mod compare;
mod copy;
mod plot;
mod report;
mod rounds;
mod table;
mod timing;

use std::collections::HashMap;
use std::path::Path;

use wgpu_norm::{Plan, SpecError};

use crate::adapters;
use crate::check::TOLERANCE;
use crate::cli::{Bench, Directions, NormName};
use crate::failure::{Failure, chain};
use crate::files;
use crate::progress::Progress;
use crate::specify;
use compare::Comparison;
use copy::Copies;
use report::{Copy, Outcome, Report, Row, Speed};
use rounds::{Effort, measure};
use timing::{Case, Clock, Device, Direction, Subject, Tensors, Trouble};
use wgpu_norm::sample::Kind;

pub(crate) fn run(options: &Bench) -> Result<(), Failure> {
    options.check()?;
    // All that can be wrong before minutes are spent.
    let comparison = options.compare.as_deref().map(Comparison::read).transpose()?;
    let files = [("--json", options.json.as_deref()), ("--plot", options.plot.as_deref())];
    let asked: Vec<(&str, &Path)> =
        files.into_iter().filter_map(|(option, path)| path.map(|path| (option, path))).collect();
    let targets = files::targets(&asked)?;
    let cases = cases(options)?;
    let device = {
        let _progress = Progress::spinner("starting the GPU".to_owned());
        let adapter = options.adapter.as_deref();
        Device::open(adapter).map_err(|trouble| match &trouble {
            Trouble::Library(error) => adapters::refused(error, adapter),
            trouble => specify::refusal(None, trouble),
        })?
    };
    let device = if options.trusted { device.trusted() } else { device };
    let planned = plan(options, &device, cases)?;

    let effort = if options.quick { Effort::QUICK } else { Effort::USUAL };
    let report = Bencher::new(&device, effort)?.all(&planned)?;
    crate::print(&text(&report, options, &device, comparison.as_ref()))?;
    let mut staged = Vec::new();
    for (target, &(option, _)) in targets.into_iter().zip(&asked) {
        let contents = match option {
            "--json" => report.json()?,
            _ => plot::svg(&report, &device.description, comparison.as_ref())?,
        };
        staged.push(target.stage_bytes(contents.as_bytes())?);
    }
    files::commit(staged)?;
    match report.failed() {
        0 => Ok(()),
        failed => Err(Failure::Failed(format!("{failed} of {} cases failed", report.cases.len()))),
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
            directed && (options.norm.is_empty() || options.norm.contains(&name(case.kind)))
        };
        return Ok(timing::all().into_iter().filter(wanted).collect());
    }
    let mut cases = Vec::new();
    for &direction in directions {
        own(options, direction, &mut cases)?;
    }
    Ok(cases)
}

/// The user's own shapes.
fn own(options: &Bench, direction: Direction, cases: &mut Vec<Case>) -> Result<(), Failure> {
    for &norm in &options.norm {
        let axis = options.channel_axis.unwrap_or(-1);
        let kinds = match norm {
            NormName::Layer => vec![Kind::Layer { ndim: 1 }],
            NormName::Rms => vec![Kind::Rms { weight_offset: 0.0 }],
            NormName::Group => vec![Kind::Group { groups: options.groups(), axis }],
            NormName::Instance => vec![Kind::Instance { axis }],
            NormName::Batch => vec![Kind::BatchTrain { axis }, Kind::BatchEval { axis }],
            NormName::Mvn => vec![Kind::Mvn { axes: &[0, 2, 3] }],
            NormName::Lp => vec![Kind::Lp { p: 2, axes: &[-1] }],
        };
        for shape in &options.shape {
            for &kind in kinds.iter().filter(|kind| kind.has_backward() || !direction.is_backward()) {
                let case = Case { kind, shape: shape.0.clone().into(), direction };
                case.norm().map_err(|error| refused(options, &error))?;
                cases.push(case);
            }
        }
    }
    Ok(())
}

fn name(kind: Kind) -> NormName {
    match kind {
        Kind::Layer { .. } => NormName::Layer,
        Kind::Rms { .. } => NormName::Rms,
        Kind::Group { .. } => NormName::Group,
        Kind::Instance { .. } => NormName::Instance,
        Kind::BatchTrain { .. } | Kind::BatchEval { .. } => NormName::Batch,
        Kind::Mvn { .. } => NormName::Mvn,
        Kind::Lp { .. } => NormName::Lp,
    }
}

/// The library's refusal, with the option it is about.
fn refused(options: &Bench, error: &SpecError) -> Failure {
    let option = specify::option(error, options.groups.is_some(), "--shape");
    // Axes go by the norm here.
    specify::refusal(option.map(|option| if option == "--axes" { "--shape" } else { option }), error)
}

/// Every case with its plan: what this device cannot run is known before anything is timed.
fn plan(options: &Bench, device: &Device, cases: Vec<Case>) -> Result<Vec<(Case, Plan)>, Failure> {
    let mut planned = Vec::new();
    for case in cases {
        let plan = case.plan(&device.context).map_err(|error| refused(options, &error))?;
        planned.push((case, plan));
    }
    Ok(planned)
}

/// What the cases share.
struct Bencher<'a> {
    device: &'a Device,
    effort: Effort,
    copies: Copies,
    /// Made with the first case, on which it is tried.
    clock: Option<Clock<'a>>,
    /// The number of the kernel that copies fastest, for each size of a tensor.
    fastest: HashMap<u64, usize>,
    told: Vec<Copy>,
}

impl<'a> Bencher<'a> {
    fn new(device: &'a Device, effort: Effort) -> Result<Self, Failure> {
        let copies = Copies::new(device).map_err(|trouble| Failure::Failed(chain(&trouble)))?;
        Ok(Self { device, effort, copies, clock: None, fastest: HashMap::new(), told: Vec::new() })
    }

    fn all(mut self, planned: &[(Case, Plan)]) -> Result<Report, Failure> {
        let progress = Progress::steps("timing".to_owned(), planned.len() as u64);
        let mut rows = Vec::new();
        for (case, plan) in planned {
            progress.now(format!("{} {} {}", case.name(), case.direction.name(), case.dims()));
            rows.push(self.row(case, plan));
            progress.advance(1);
        }
        let method = self.clock.map_or_else(|| "nothing was timed".to_owned(), |clock| clock.method());
        let method = if self.device.trusting { format!("{method}, shaders unchecked") } else { method };
        Ok(Report { adapter: adapters::identity(&self.device.info), method, copy: self.told, cases: rows })
    }

    /// What goes wrong with one case is said in its row.
    fn row(&mut self, case: &Case, plan: &Plan) -> Row {
        let mut error = None;
        let outcome = match self.case(case, plan, &mut error) {
            Ok(outcome) => outcome,
            Err(trouble) => Outcome::Failed { failed: chain(&trouble) },
        };
        Row::new(case, plan, error, outcome)
    }

    fn case(&mut self, case: &Case, plan: &Plan, error: &mut Option<f64>) -> Result<Outcome, Trouble> {
        let norm = case.norm().map_err(wgpu_norm::Error::from)?;
        let tensors = Tensors::new(case, &norm.parameter_shape());
        let mut subject = Subject::new(self.device, case, plan, &tensors)?;
        let off = subject.error(self.device, case, &tensors)?;
        *error = Some(off);
        if off > TOLERANCE {
            return Ok(Outcome::wrong(off));
        }
        drop(tensors);
        let clock = match &mut self.clock {
            Some(clock) => clock,
            none => none.insert(Clock::new(self.device, &mut |pass, times| subject.record(pass, times))?),
        };
        let bytes = subject.ring.bytes;
        let fastest = match self.fastest.get(&bytes) {
            Some(&fastest) => fastest,
            None => {
                let Effort { trials, batch, .. } = self.effort;
                self.copies.fastest(self.device, clock, &subject.ring, trials, batch)?
            }
        };
        let Some(mut copier) = self.copies.copier(self.device, &subject.ring, fastest) else {
            return Ok(Outcome::Failed { failed: "no kernel copies here".to_owned() });
        };
        copier.check(self.device, &subject.ring)?;
        if self.fastest.insert(bytes, fastest).is_none() {
            self.told.push(Copy { tensor_bytes: bytes, kernel: copier.kernel.clone() });
        }
        let measured = measure(clock, &mut subject, &mut copier, self.effort)?;
        Ok(Outcome::Timed(Speed::new(plan.bytes_moved(), bytes, &measured, copier.kernel)))
    }
}

fn text(report: &Report, options: &Bench, device: &Device, comparison: Option<&Comparison>) -> String {
    let mut text = format!("{}\n\n{}\n", device.description, table::table(report, comparison));
    text.push_str(&format!("time:    {}\n", report.method));
    text.push_str(
        "of copy: bytes moved a second, over those of the fastest copy kernel on a tensor of the same size;\n         \
         norm and copy by turns, the median of all rounds, as for the time\n",
    );
    if report.is_noisy() {
        text.push_str("~:       the middle half of the rounds is wider than a tenth of it: something else runs, too\n");
    }
    if let Some(comparison) = comparison {
        text.push_str(&comparison.notes(report, !options.norm.is_empty() || options.direction != Directions::Both));
    }
    text
}
