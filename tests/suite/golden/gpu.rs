//! The GPU against what PyTorch computes in float64.

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::{Backward, BatchNorm, Momentum, Norm, VarianceEstimator};

use crate::golden::{Case, cases};
use crate::support::{close, engines, largest};

fn norm(case: &Case) -> Box<dyn Norm> {
    let (shape, eps) = (case.x.shape(), case.eps as f32);
    if case.training != Some(true) || case.running_mean.is_none() {
        return case.kind().norm(shape, eps, None).unwrap();
    }
    let momentum = case.momentum.map_or(Momentum::cumulative(), |take| Momentum::exponential(take as f32));
    let unbiased = case.estimator.as_deref() == Some("unbiased");
    let estimator = if unbiased { VarianceEstimator::Unbiased } else { VarianceEstimator::Biased };
    let norm = BatchNorm::new(shape, case.channel_axis.unwrap()).unwrap().eps(eps);
    Box::new(norm.momentum(momentum).running_variance(estimator))
}

/// The largest magnitude of what is added to make an element of `y`, in the whole tensor.
fn scale(case: &Case) -> f64 {
    let bias = case.bias.as_ref().map_or(0.0, largest);
    case.y.iter().fold(bias, |most, y| y.abs().max(most))
}

#[test]
fn golden_files() {
    for case in cases() {
        for (label, gpu) in engines() {
            let norm = norm(&case);
            let what = |tensor: &str| format!("{tensor} of {} {label}", case.name);
            let mut inputs = case.parameters().map(|array| array.view()).beside(case.x.view());
            let training = case.norm != "batch" || case.training == Some(true);
            if training {
                inputs = inputs.with_rstd();
                inputs = if case.mean.is_some() { inputs.with_mean() } else { inputs };
            }
            if let (true, Some(_), Some(batches)) = (training, &case.running_mean, case.num_batches_tracked) {
                inputs = inputs.num_batches_tracked(batches as u32);
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
        for (label, gpu) in engines() {
            let given = case.parameters().going_back(case.kind(), None);
            let inputs = given.map(|array| array.view()).beside(case.x.view()).grad_output(dy.view());
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
