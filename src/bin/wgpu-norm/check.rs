//! `--check`: the same norm in float64 on the CPU, and how far the GPU is from it.

use ndarray::{ArrayD, ArrayViewD};
pub(crate) use wgpu_norm::reference::TOLERANCE;
use wgpu_norm::reference::{self, Backward, Deviation, Forward};
use wgpu_norm::sample::{from_front, wide};
use wgpu_norm::{Gradients, Outputs};

use crate::cli::{Apply, Estimator, Grad, NormName};
use crate::files::Loaded;
use crate::{apply, grad};

/// How far one output is off at most.
pub(crate) struct Checked {
    pub(crate) output: &'static str,
    /// None if the output is empty.
    pub(crate) worst: Option<Deviation>,
    /// How far float64 itself is off there, of the size of the terms too, if it is given the inputs in float32. None where
    /// they are in float32 what they are in their files.
    pub(crate) by_conversion: Option<f64>,
}

/// What an output should be, and what its errors are measured by.
struct Want {
    output: &'static str,
    value: ArrayD<f64>,
    scale: ArrayD<f64>,
}

/// An input in float64: as its file has it, or as the norm was given it.
type Widen = fn(&Loaded) -> ArrayD<f64>;

fn as_in_the_file(input: &Loaded) -> ArrayD<f64> {
    input.exact.clone().unwrap_or_else(|| as_given(input))
}

fn as_given(input: &Loaded) -> ArrayD<f64> {
    wide(&input.values)
}

impl Checked {
    pub(crate) fn passed(&self) -> bool {
        self.worst.as_ref().is_none_or(|worst| worst.relative <= TOLERANCE)
    }
}

/// Checks every output that is there. The arrays must be such as the library took.
pub(crate) fn check(apply: &Apply, arrays: &apply::Arrays, outputs: &Outputs<ArrayD<f32>>) -> Vec<Checked> {
    let apply::Arrays { x, weight, bias, running_mean, running_var } = arrays;
    let inputs = [Some(x), weight.as_ref(), bias.as_ref(), running_mean.as_ref(), running_var.as_ref()];
    let want = |widen| outputs_wanted(apply, arrays, widen);
    compare(&inputs, want, |output| apply::output(outputs, output))
}

/// Checks every gradient that is there. The arrays must be such as the library took.
pub(crate) fn check_gradients(grad: &Grad, arrays: &grad::Arrays, gradients: &Gradients<ArrayD<f32>>) -> Vec<Checked> {
    let grad::Arrays { x, grad_output, weight, running_mean, running_var } = arrays;
    let inputs = [Some(x), Some(grad_output), weight.as_ref(), running_mean.as_ref(), running_var.as_ref()];
    let want = |widen| gradients_wanted(grad, arrays, widen);
    compare(&inputs, want, |output| grad::output(gradients, output))
}

/// Holds what there is against what is wanted by the values in the files, and where these were rounded tells what that has
/// cost.
fn compare<'a>(
    inputs: &[Option<&Loaded>],
    want: impl Fn(Widen) -> Vec<Want>,
    got: impl Fn(&str) -> Option<&'a ArrayD<f32>>,
) -> Vec<Checked> {
    let rounded = inputs.iter().flatten().any(|input| input.exact.is_some());
    let given = if rounded { want(as_given) } else { Vec::new() };
    let of_given = |output: &str| given.iter().find(|want| want.output == output);
    want(as_in_the_file)
        .iter()
        .filter_map(|Want { output, value, scale }| {
            let worst = reference::largest_error(got(output)?.view(), value.view(), scale.view());
            let by_conversion = of_given(output).zip(worst.as_ref()).map(|(given, worst)| {
                let at = |array: &ArrayD<f64>| array.get(worst.index.as_slice()).copied().unwrap_or(f64::NAN);
                off(at(&given.value), worst.want, at(scale))
            });
            Some(Checked { output, worst, by_conversion })
        })
        .collect()
}

fn outputs_wanted(apply: &Apply, arrays: &apply::Arrays, widen: Widen) -> Vec<Want> {
    let x = widen(&arrays.x);
    let Forward { y, mean, variance, rstd, scale, .. } = forward(apply, arrays, x.view(), widen);
    let mut wanted = vec![Want { output: "y", value: y, scale }];
    if let Some(mean) = &mean {
        let scale = ArrayD::from_elem(mean.raw_dim(), largest(&x));
        wanted.push(Want { output: "mean", value: mean.clone(), scale });
    }
    wanted.push(Want { output: "rstd", value: rstd.clone(), scale: rstd });
    // An empty batch leaves the running statistics as they are.
    if let Some((mean, variance)) = mean.zip(variance).filter(|_| apply.tracks() && !x.is_empty()) {
        let variance = match apply.estimator() {
            Estimator::Biased => variance,
            Estimator::Unbiased => {
                let count = x.len().checked_div(variance.len()).unwrap_or(0);
                reference::unbiased(variance.view(), count)
            }
        };
        // A mean's error goes by the values it is the mean of, which may cancel; a variance's terms do not.
        let running = [
            ("running_mean", &arrays.running_mean, &mean, largest(&x)),
            ("running_var", &arrays.running_var, &variance, 0.0),
        ];
        for (output, old, batch, terms) in running {
            if let Some(old) = old {
                let take = f64::from(apply.momentum());
                let keep = 1.0 - take;
                let old = widen(old);
                let value = reference::update_running(old.view(), batch.view(), keep, take);
                let mut scale = old.mapv(|value| (keep * value).abs());
                scale.zip_mut_with(batch, |scale, value| *scale = scale.max((take * value.abs().max(terms)).abs()));
                wanted.push(Want { output, value, scale });
            }
        }
    }
    wanted
}

fn gradients_wanted(grad: &Grad, arrays: &grad::Arrays, widen: Widen) -> Vec<Want> {
    let Some(want) = backward(grad, arrays, widen) else { return Vec::new() };
    vec![
        Want { output: "grad_input", value: want.dx, scale: want.dx_scale },
        Want { output: "grad_weight", value: want.dweight, scale: want.dweight_scale },
        Want { output: "grad_bias", value: want.dbias, scale: want.dbias_scale },
    ]
}

/// The distance over the scale, as in [`Deviation::relative`].
fn off(got: f64, want: f64, scale: f64) -> f64 {
    if got == want || got.is_nan() && want.is_nan() {
        return 0.0;
    }
    let off = (got - want).abs() / scale;
    if off.is_nan() { f64::INFINITY } else { off }
}

/// The largest finite magnitude.
fn largest(x: &ArrayD<f64>) -> f64 {
    x.iter().map(|value| value.abs()).filter(|value| value.is_finite()).fold(0.0, f64::max)
}

/// The norm in float64.
fn forward(apply: &Apply, arrays: &apply::Arrays, x: ArrayViewD<'_, f64>, widen: Widen) -> Forward {
    let [weight, bias, mean, var] = [&arrays.weight, &arrays.bias, &arrays.running_mean, &arrays.running_var]
        .map(|array| array.as_ref().map(widen));
    let weight = weight.as_ref().map(|weight| weight.view());
    let bias = bias.as_ref().map(|bias| bias.view());
    let eps = f64::from(apply.eps());
    let offset = f64::from(apply.given.weight_offset());
    let norm = &apply.norm;
    let channels = from_front(norm.channel_axis(), x.ndim());
    let axes: Vec<usize> = norm.axes().iter().map(|&axis| from_front(axis, x.ndim())).collect();
    match norm.name {
        NormName::Mvn => reference::mean_variance_norm(x, &axes, eps),
        NormName::Lp => reference::lp_norm(x, &axes, norm.p(), eps),
        NormName::Layer => reference::layer_norm(x, norm.normalized(), weight, bias, eps),
        NormName::Rms => reference::rms_norm(x, norm.normalized(), weight, bias, eps, offset),
        NormName::Group => reference::group_norm(x, channels, norm.groups(), weight, bias, eps),
        NormName::Instance => reference::instance_norm(x, channels, weight, bias, eps),
        NormName::Batch => match (norm.train, &mean, &var) {
            (false, Some(mean), Some(var)) => {
                reference::batch_norm_eval(x, channels, mean.view(), var.view(), weight, bias, eps)
            }
            _ => reference::batch_norm_train(x, channels, weight, bias, eps),
        },
    }
}

/// Its gradients in float64, where it has some.
fn backward(grad: &Grad, arrays: &grad::Arrays, widen: Widen) -> Option<Backward> {
    let (x, dy) = (widen(&arrays.x), widen(&arrays.grad_output));
    let (x, dy) = (x.view(), dy.view());
    let [weight, mean, var] =
        [&arrays.weight, &arrays.running_mean, &arrays.running_var].map(|array| array.as_ref().map(widen));
    let weight = weight.as_ref().map(|weight| weight.view());
    let eps = f64::from(grad.eps());
    let offset = f64::from(grad.given.weight_offset());
    let norm = &grad.norm;
    let channels = from_front(norm.channel_axis(), x.ndim());
    Some(match norm.name {
        NormName::Mvn | NormName::Lp => return None,
        NormName::Layer => reference::layer_norm_backward(x, dy, norm.normalized(), weight, eps),
        NormName::Rms => reference::rms_norm_backward(x, dy, norm.normalized(), weight, eps, offset),
        NormName::Group => reference::group_norm_backward(x, dy, channels, norm.groups(), weight, eps),
        NormName::Instance => reference::instance_norm_backward(x, dy, channels, weight, eps),
        NormName::Batch => match (norm.train, &mean, &var) {
            (false, Some(mean), Some(var)) => {
                reference::batch_norm_eval_backward(x, dy, channels, mean.view(), var.view(), weight, eps)
            }
            _ => reference::batch_norm_train_backward(x, dy, channels, weight, eps),
        },
    })
}
