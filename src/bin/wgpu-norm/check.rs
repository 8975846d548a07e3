//! `--check`: the same norm in float64 by the oracle, and how far the result is from it.

use ndarray::ArrayD;
use wgpu_norm::Element;
pub(crate) use wgpu_norm::reference::TOLERANCE;
use wgpu_norm::reference::{Bounded, Deviation, gated};
use wgpu_norm::sample::{Parameters, Wanted, wide};

use crate::files::Loaded;

/// How far one output is off at most.
pub(crate) struct Checked {
    pub(crate) output: &'static str,
    /// What it is stored as.
    pub(crate) element: Element,
    /// Whether an earlier rounding to that type is allowed for.
    pub(crate) rounded_before: bool,
    /// None if the output is empty.
    pub(crate) worst: Option<Deviation>,
    /// How far float64 itself is off there, of the size of the terms too, if it is given the inputs in float32. None where
    /// they are in float32 what they are in their files.
    pub(crate) by_conversion: Option<f64>,
}

/// An input in float64: as its file has it, or as the norm was given it.
pub(crate) type Widen = fn(&Loaded) -> ArrayD<f64>;

fn as_in_the_file(input: &Loaded) -> ArrayD<f64> {
    input.exact.clone().unwrap_or_else(|| as_given(input))
}

fn as_given(input: &Loaded) -> ArrayD<f64> {
    wide(&input.values)
}

/// What is normalized, and its terms, by the numbers that `widen` gives.
pub(crate) fn terms(
    x: &Loaded,
    residual: Option<&Loaded>,
    Parameters { gate, embedding, .. }: &Parameters<Loaded>,
    widen: Widen,
) -> Bounded {
    let [residual, gate, embedding] = [residual, gate.as_ref(), embedding.as_ref()].map(|of| of.map(widen));
    let [residual, gate, embedding] = [&residual, &gate, &embedding].map(|of| of.as_ref().map(|of| of.view()));
    gated(widen(x).view(), residual, gate, embedding)
}

/// What is normalized where something comes before: rounded as the library adds it, and exactly.
pub(crate) fn sum(x: &Loaded, residual: Option<&Loaded>, parameters: &Parameters<Loaded>) -> Loaded {
    let exact = terms(x, residual, parameters, as_in_the_file).value;
    let mut values = x.values.clone();
    if let Some(gate) = &parameters.gate {
        values *= &gate.values;
    }
    for term in parameters.embedding.iter().chain(residual) {
        values += &term.values;
    }
    let rounded = values.iter().zip(&exact).any(|(&value, &exact)| f64::from(value) != exact && !exact.is_nan());
    Loaded { exact: rounded.then_some(exact), ..Loaded::of(values) }
}

impl Checked {
    pub(crate) fn passed(&self) -> bool {
        self.worst.as_ref().is_none_or(|worst| worst.relative <= TOLERANCE)
    }
}

/// Holds what there is against what is wanted by the values in the files, and where these were rounded tells what that has
/// cost. The arrays must be such as the library took.
pub(crate) fn check<'a>(
    inputs: &[&Loaded],
    want: impl Fn(Widen) -> Vec<Wanted>,
    got: impl Fn(&str) -> Option<&'a ArrayD<f32>>,
) -> Vec<Checked> {
    let rounded = inputs.iter().any(|input| input.exact.is_some());
    let given = if rounded { want(as_given) } else { Vec::new() };
    let of_given = |output: &str| given.iter().find(|want| want.output == output);
    want(as_in_the_file)
        .iter()
        .filter_map(|wanted| {
            let worst = wanted.worst(got(wanted.output)?);
            let by_conversion = of_given(wanted.output).zip(worst.as_ref()).map(|(given, worst)| {
                let at = |array: &ArrayD<f64>| array.get(worst.index.as_slice()).copied().unwrap_or(f64::NAN);
                off(at(&given.value), worst.want, at(&wanted.scale))
            });
            let (output, element, rounded_before) = (wanted.output, wanted.element, wanted.is_rounded_before());
            Some(Checked { output, element, rounded_before, worst, by_conversion })
        })
        .collect()
}

/// The distance over the scale, as in [`Deviation::relative`].
fn off(got: f64, want: f64, scale: f64) -> f64 {
    if got == want || got.is_nan() && want.is_nan() {
        return 0.0;
    }
    let off = (got - want).abs() / scale;
    if off.is_nan() { f64::INFINITY } else { off }
}
