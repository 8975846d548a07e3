//! `--check`: the same norm in float64 on the CPU, and how far the GPU is from it.

use ndarray::{ArrayD, ArrayViewD};
use wgpu_norm::Outputs;
pub(crate) use wgpu_norm::reference::TOLERANCE;
use wgpu_norm::reference::{self, Deviation, Forward};

use crate::apply::Arrays;
use crate::cli::{Apply, Estimator, NormName};
use crate::kind::{from_front, wide};

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

fn compare(output: &'static str, got: &ArrayD<f32>, want: ArrayViewD<'_, f64>, scale: ArrayViewD<'_, f64>) -> Checked {
    Checked { output, worst: reference::largest_error(got.view(), want, scale) }
}

/// The largest finite magnitude.
fn largest(x: &ArrayD<f64>) -> f64 {
    x.iter().map(|value| value.abs()).filter(|value| value.is_finite()).fold(0.0, f64::max)
}

/// The norm in float64.
fn forward(apply: &Apply, arrays: &Arrays, x: ArrayViewD<'_, f64>) -> Forward {
    let weight = arrays.weight.as_ref().map(wide);
    let bias = arrays.bias.as_ref().map(wide);
    let weight = weight.as_ref().map(|weight| weight.view());
    let bias = bias.as_ref().map(|bias| bias.view());
    let eps = f64::from(apply.eps());
    let channels = from_front(apply.norm.channel_axis(), x.ndim());
    let normalized = apply.norm.normalized_shape.as_ref().map_or(1, |lengths| lengths.0.len());
    let axes: Vec<usize> = apply.norm.axes().iter().map(|&axis| from_front(axis, x.ndim())).collect();
    match apply.norm.name {
        NormName::Mvn => reference::mean_variance_norm(x, &axes, eps),
        NormName::Lp => reference::lp_norm(x, &axes, apply.norm.p(), eps),
        NormName::Layer => reference::layer_norm(x, normalized, weight, bias, eps),
        NormName::Rms => reference::rms_norm(x, normalized, weight, bias, eps, f64::from(apply.weight_offset())),
        NormName::Group => reference::group_norm(x, channels, apply.norm.groups(), weight, bias, eps),
        NormName::Instance => reference::instance_norm(x, channels, weight, bias, eps),
        NormName::Batch => match (apply.norm.train, &arrays.running_mean, &arrays.running_var) {
            (false, Some(mean), Some(var)) => {
                reference::batch_norm_eval(x, channels, wide(mean).view(), wide(var).view(), weight, bias, eps)
            }
            _ => reference::batch_norm_train(x, channels, weight, bias, eps),
        },
    }
}
