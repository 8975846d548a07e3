//! `--check`: the same norm in float64 on the CPU, and how far the GPU is from it.

use ndarray::{ArrayD, ArrayViewD};
pub(crate) use wgpu_norm::reference::TOLERANCE;
use wgpu_norm::reference::{self, Backward, Deviation, Forward};
use wgpu_norm::{Gradients, Outputs};

use crate::apply::Arrays;
use crate::cli::{Apply, Estimator, Grad, NormName};
use crate::grad;
use wgpu_norm::sample::{from_front, wide};

/// How far one output is off at most.
pub(crate) struct Checked {
    pub(crate) output: &'static str,
    /// None if the output is empty.
    pub(crate) worst: Option<Deviation>,
}

impl Checked {
    pub(crate) fn passed(&self) -> bool {
        self.worst.as_ref().is_none_or(|worst| worst.relative <= TOLERANCE)
    }
}

/// Checks every output that is there. The arrays must be such as the library took.
pub(crate) fn check(apply: &Apply, arrays: &Arrays, outputs: &Outputs<ArrayD<f32>>) -> Vec<Checked> {
    let x = wide(&arrays.x);
    let want = forward(apply, arrays, x.view());
    let mut checked = vec![compare("y", &outputs.y, want.y.view(), want.scale.view())];
    if let (Some(got), Some(mean)) = (&outputs.mean, &want.mean) {
        let scale = ArrayD::from_elem(mean.raw_dim(), largest(&x));
        checked.push(compare("mean", got, mean.view(), scale.view()));
    }
    if let Some(got) = &outputs.rstd {
        checked.push(compare("rstd", got, want.rstd.view(), want.rstd.view()));
    }
    // An empty batch leaves them as they are.
    if apply.tracks() && !x.is_empty() {
        let variance = want.variance.map(|variance| match apply.estimator() {
            Estimator::Biased => variance,
            Estimator::Unbiased => {
                let count = x.len().checked_div(variance.len()).unwrap_or(0);
                reference::unbiased(variance.view(), count)
            }
        });
        // A mean's error goes by the values it is the mean of, which may cancel; a variance's terms do not.
        let running = [
            ("running_mean", &outputs.running_mean, &arrays.running_mean, &want.mean, largest(&x)),
            ("running_var", &outputs.running_var, &arrays.running_var, &variance, 0.0),
        ];
        for (output, got, old, batch, terms) in running {
            if let (Some(got), Some(old), Some(batch)) = (got, old, batch) {
                let take = f64::from(apply.momentum());
                let keep = 1.0 - take;
                let old = wide(old);
                let want = reference::update_running(old.view(), batch.view(), keep, take);
                let mut scale = old.mapv(|value| (keep * value).abs());
                scale.zip_mut_with(batch, |scale, value| *scale = scale.max((take * value.abs().max(terms)).abs()));
                checked.push(compare(output, got, want.view(), scale.view()));
            }
        }
    }
    checked
}

/// Checks every gradient that is there. The arrays must be such as the library took.
pub(crate) fn check_gradients(grad: &Grad, arrays: &grad::Arrays, gradients: &Gradients<ArrayD<f32>>) -> Vec<Checked> {
    let Some(want) = backward(grad, arrays) else { return Vec::new() };
    let outputs = [
        ("grad_input", &gradients.input, &want.dx, &want.dx_scale),
        ("grad_weight", &gradients.weight, &want.dweight, &want.dweight_scale),
        ("grad_bias", &gradients.bias, &want.dbias, &want.dbias_scale),
    ];
    outputs
        .into_iter()
        .filter_map(|(output, got, want, scale)| Some(compare(output, got.as_ref()?, want.view(), scale.view())))
        .collect()
}

fn compare(output: &'static str, got: &ArrayD<f32>, want: ArrayViewD<'_, f64>, scale: ArrayViewD<'_, f64>) -> Checked {
    Checked { output, worst: reference::largest_error(got.view(), want, scale) }
}

/// The largest finite magnitude.
fn largest(x: &ArrayD<f64>) -> f64 {
    x.iter().map(|value| value.abs()).filter(|value| value.is_finite()).fold(0.0, f64::max)
}

/// The norm in float64.
fn forward(apply: &Apply, arrays: &Arrays, x: ArrayViewD<'_, f64>) -> Forward {
    let [weight, bias, mean, var] =
        [&arrays.weight, &arrays.bias, &arrays.running_mean, &arrays.running_var].map(|array| array.as_ref().map(wide));
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
fn backward(grad: &Grad, arrays: &grad::Arrays) -> Option<Backward> {
    let (x, dy) = (wide(&arrays.x), wide(&arrays.grad_output));
    let (x, dy) = (x.view(), dy.view());
    let [weight, mean, var] =
        [&arrays.weight, &arrays.running_mean, &arrays.running_var].map(|array| array.as_ref().map(wide));
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
