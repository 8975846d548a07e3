//! The GPU against what PyTorch computes in float64.

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::{
    Backward, BatchNorm, GroupNorm, Inputs, InstanceNorm, LayerNorm, Momentum, Norm, RmsNorm, VarianceEstimator,
};

use crate::golden::{Case, cases};
use crate::support::{close, gpus, largest};

fn norm(case: &Case) -> Box<dyn Norm> {
    let (shape, eps) = (case.x.shape(), case.eps as f32);
    let axis = || case.channel_axis.unwrap();
    let normalized = || case.normalized_shape.clone().unwrap();
    match case.norm.as_str() {
        "layer" => Box::new(LayerNorm::new(shape, &normalized()).unwrap().eps(eps)),
        "rms" => {
            let offset = case.weight_offset.unwrap_or(0.0) as f32;
            Box::new(RmsNorm::new(shape, &normalized()).unwrap().eps(eps).weight_offset(offset))
        }
        "group" => Box::new(GroupNorm::new(shape, case.num_groups.unwrap(), axis()).unwrap().eps(eps)),
        "instance" => Box::new(InstanceNorm::new(shape, axis()).unwrap().eps(eps)),
        "batch" => {
            let norm = BatchNorm::new(shape, axis()).unwrap().eps(eps);
            if case.training != Some(true) {
                return Box::new(norm.eval());
            }
            if case.running_mean.is_none() {
                return Box::new(norm.without_tracking());
            }
            let momentum = case.momentum.map_or(Momentum::cumulative(), |take| Momentum::exponential(take as f32));
            let unbiased = case.estimator.as_deref() == Some("unbiased");
            let estimator = if unbiased { VarianceEstimator::Unbiased } else { VarianceEstimator::Biased };
            Box::new(norm.momentum(momentum).running_variance(estimator))
        }
        other => panic!("{}: no norm {other}", case.name),
    }
}

/// The largest magnitude of what is added to make an element of `y`, in the whole tensor.
fn scale(case: &Case) -> f64 {
    let bias = case.bias.as_ref().map_or(0.0, largest);
    case.y.iter().fold(bias, |most, y| y.abs().max(most))
}

#[test]
fn golden_files() {
    for case in cases() {
        for (label, gpu) in gpus() {
            let norm = norm(&case);
            let what = |tensor: &str| format!("{tensor} of {} {label}", case.name);
            let mut inputs = Inputs::new(case.x.view());
            let training = case.norm != "batch" || case.training == Some(true);
            if training {
                inputs = inputs.with_rstd();
                inputs = if case.mean.is_some() { inputs.with_mean() } else { inputs };
            }
            if let Some(weight) = &case.weight {
                inputs = inputs.weight(weight.view());
            }
            if let Some(bias) = &case.bias {
                inputs = inputs.bias(bias.view());
            }
            if let (Some(mean), Some(var)) = (&case.running_mean, &case.running_var) {
                inputs = inputs.running_mean(mean.view()).running_var(var.view());
                if let (true, Some(batches)) = (training, case.num_batches_tracked) {
                    inputs = inputs.num_batches_tracked(batches as u32);
                }
            }
            let out = gpu.run_array_blocking(norm.as_ref(), inputs).unwrap_or_else(|e| panic!("{}: {e}", case.name));
            let uniform = |like: &ArrayD<f64>, scale: f64| ArrayD::from_elem(like.raw_dim(), scale);
            close(&what("y"), &out.y, &case.y, &uniform(&case.y, scale(&case)));
            if let Some(mean) = &out.mean {
                let want = case.mean.as_ref().unwrap();
                close(
                    &what("mean"),
                    mean,
                    &want.to_shape(mean.raw_dim()).unwrap().to_owned(),
                    &uniform(&mean.mapv(f64::from), largest(&case.x)),
                );
            }
            if let Some(rstd) = &out.rstd {
                let want = case.rstd.to_shape(rstd.raw_dim()).unwrap().to_owned();
                close(&what("rstd"), rstd, &want, &want);
            }
            for (name, got, want) in [
                ("running_mean", &out.running_mean, &case.running_mean_out),
                ("running_var", &out.running_var, &case.running_var_out),
            ] {
                if let (Some(got), Some(want)) = (got, want) {
                    let most = want.iter().fold(largest(&case.x), |most, v| v.abs().max(most));
                    close(&what(name), got, want, &uniform(want, most));
                }
            }
        }
    }
}

#[test]
fn golden_gradients() {
    let mut checked = 0;
    for case in cases() {
        let Some(dy) = &case.grad_output else { continue };
        let scales = crate::golden::oracle::backward(&case, dy);
        for (label, gpu) in gpus() {
            let mut inputs = Inputs::new(case.x.view()).grad_output(dy.view());
            if let Some(weight) = &case.weight {
                inputs = inputs.weight(weight.view());
            }
            if case.training == Some(false) {
                let (mean, var) = (case.running_mean.as_ref().unwrap(), case.running_var.as_ref().unwrap());
                inputs = inputs.running_mean(mean.view()).running_var(var.view());
            }
            let out = gpu.run_backward_array_blocking(norm(&case).as_ref(), Backward::new(), inputs).unwrap();
            for (name, got, want, scale) in [
                ("grad_input", out.input, &case.grad_input, &scales.dx_scale),
                ("grad_weight", out.weight, &case.grad_weight, &scales.dweight_scale),
                ("grad_bias", out.bias, &case.grad_bias, &scales.dbias_scale),
            ] {
                let what = format!("{name} of {} {label}", case.name);
                close(&what, &got.unwrap(), want.as_ref().unwrap(), scale);
            }
        }
        checked += 1;
    }
    assert!(checked > 20, "only {checked} cases with gradients");
}
