//! `wgpu-norm apply`: reads, normalizes, writes and tells.

use std::time::Instant;

use ndarray::{ArrayD, IxDyn};
use wgpu_norm::sample::{Exact, output};
use wgpu_norm::{Element, Error, Rounding};

use crate::check::{Widen, check};
use crate::cli::Apply;
use crate::failure::Failure;
use crate::files::{self, Input, Loaded};
use crate::progress::Progress;
use crate::report::{self, Read, Report};
use crate::{adapters, specify, usage};

pub(crate) fn run(apply: &Apply) -> Result<(), Failure> {
    usage::check(apply)?;
    // All paths first: a typo in the last should not cost the time the others take.
    let input = Input::locate("--input", &apply.input)?;
    let parameters = specify::parameters(&apply.parameters, apply.bias.as_ref())?;
    let wanted = apply.wanted();
    let targets = files::targets(&wanted)?;
    let dtype = apply.norm.dtype;

    let refused = |error: &Error| specify::refused(error, apply.norm.groups.is_some());
    let x = input.load(apply.run.check, dtype)?;
    let (kind, running) = (apply.kind(), apply.running());
    let norm = specify::norm(&apply.norm, kind, x.values.shape(), apply.eps, running, apply.rounding())
        .map_err(|error| refused(&error.into()))?;
    let mut parameters = parameters.try_map(|input| input.load(apply.run.check, Element::F32))?;
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
        let start = Instant::now();
        let outputs = engine.run_array_blocking(norm.as_ref(), inputs).map_err(|error| refused(&error))?;
        (outputs, start.elapsed())
    };
    let checked = apply.run.check.then(|| {
        let _progress = Progress::spinner("checking in float64".to_owned());
        let want = |widen: Widen| {
            let eps = f64::from(apply.eps.unwrap_or_else(|| kind.entry().eps));
            let exact = Exact {
                x: widen(&x),
                parameters: parameters.map(widen),
                eps,
                element: dtype,
                offset: 1.0,
                activation: apply.norm.activation,
            };
            match apply.rounding() {
                Rounding::BeforeWeight => kind.outputs_rounded_before_weight(&exact),
                _ => kind.outputs(&exact, running),
            }
        };
        check(parameters.iter().chain([&x]), want, |name| output(&outputs, name))
    });
    let outputs = files::write(&wanted, targets, dtype, |name| output(&outputs, name))?;

    let report = Report {
        what: format!("{name} norm{}", apply.norm.then()),
        norm: name,
        activation: apply.norm.activation,
        direction: "forward",
        dtype,
        inputs: vec![Read { name: "input", path: &apply.input, array: &x }],
        engine: &engine,
        plan: plan.as_ref().map(report::passes).unwrap_or_default(),
        time,
        outputs,
        checked,
    };
    report.print(apply.run.json)
}
