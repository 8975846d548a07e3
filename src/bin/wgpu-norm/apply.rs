//! `wgpu-norm apply`: reads, normalizes, writes and tells.

use std::time::Instant;

use ndarray::{ArrayD, IxDyn};
use wgpu_norm::reference::Bounded;
use wgpu_norm::sample::{Wanted, output};
use wgpu_norm::{Error, Rounding};

use crate::check::{self, Widen, check};
use crate::cli::Apply;
use crate::failure::Failure;
use crate::files::{self, Input, Loaded};
use crate::progress::Progress;
use crate::report::{self, Report};
use crate::{adapters, specify, usage};

pub(crate) fn run(apply: &Apply) -> Result<(), Failure> {
    usage::check(apply)?;
    // All paths first: a typo in the last should not cost the time the others take.
    let input = Input::locate("--input", &apply.input)?;
    let residual = Input::locate_if("--residual", apply.residual.as_ref())?;
    let parameters = specify::parameters(&apply.parameters)?;
    let wanted = apply.wanted();
    let targets = files::targets(&wanted)?;
    let dtype = apply.norm.dtype;

    let (options, given) = (&apply.norm, &apply.parameters);
    let refused = |error: &Error| specify::refused(error, options, given);
    let load = |input: &Input| input.load(apply.run.check, dtype);
    let x = load(&input)?;
    let mut parameters = parameters.try_map(load)?;
    let residual = residual.as_ref().map(load).transpose()?;
    let (kind, running) = (apply.kind(), apply.running());
    let norm = specify::norm_of(options, given, &x, &parameters, running, apply.rounding())?;
    if running.is_some() && parameters.running_mean.is_none() {
        let shape = norm.parameter_shape();
        parameters.running_mean = Some(Loaded::of(ArrayD::zeros(IxDyn(&shape))));
        parameters.running_var = Some(Loaded::of(ArrayD::ones(IxDyn(&shape))));
    }

    let engine = adapters::engine(&apply.run.place)?;
    let name = kind.word();
    let plan = engine.gpu().map(|gpu| gpu.context().plan(norm.as_ref())).transpose();
    let plan = plan.map_err(|error| refused(&error.into()))?;
    let (outputs, time) = {
        let _progress = Progress::spinner(format!("{name} norm"));
        let mut inputs = parameters.map(|array| array.values.view()).beside(x.values.view());
        if apply.save_mean.is_some() {
            inputs = inputs.with_mean();
        }
        if apply.save_rstd.is_some() {
            inputs = inputs.with_rstd();
        }
        if let Some(residual) = &residual {
            inputs = inputs.residual(residual.values.view());
        }
        if apply.save_residual_out.is_some() {
            inputs = inputs.with_residual_out();
        }
        let start = Instant::now();
        let outputs = engine.run_array_blocking(norm.as_ref(), inputs).map_err(|error| refused(&error))?;
        (outputs, start.elapsed())
    };
    let inputs: Vec<&Loaded> = [&x].into_iter().chain(&residual).chain(parameters.iter()).collect();
    let checked = apply.run.check.then(|| {
        let _progress = Progress::spinner("checking in float64".to_owned());
        let before = residual.is_some() || given.comes_before();
        let sum = before.then(|| check::sum(&x, residual.as_ref(), &parameters));
        let z = sum.as_ref().unwrap_or(&x);
        let want = |widen: Widen| {
            let exact = specify::exact(options, given, widen(z), parameters.map(widen));
            let mut wanted = match apply.rounding() {
                Rounding::BeforeWeight => kind.outputs_rounded_before_weight(&exact),
                _ => kind.outputs(&exact, running),
            };
            if before {
                let Bounded { value, scale } = check::terms(&x, residual.as_ref(), &parameters, widen);
                wanted.push(Wanted::new("residual_out", value, scale, dtype));
            }
            wanted
        };
        check(&[&inputs[..], &[z]].concat(), want, |name| output(&outputs, name))
    });
    let outputs = files::write(&wanted, targets, dtype, |name| output(&outputs, name))?;

    let report = Report {
        what: specify::words(options, given, residual.is_some()),
        norm: name,
        activation: apply.norm.activation,
        direction: "forward",
        dtype,
        inputs,
        engine: &engine,
        plan: plan.as_ref().map(report::passes).unwrap_or_default(),
        time,
        outputs,
        checked,
    };
    report.print(apply.run.json)
}
