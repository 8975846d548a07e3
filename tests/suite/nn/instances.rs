//! Instance norms that keep running statistics, by PyTorch's definition of them.
//!
//! PyTorch normalizes `[N, C, ..]` as a batch norm of the `N * C` channels of `[1, N * C, ..]`, whose running statistics are
//! `N` copies of the layer's, and averages the copies after it. In evaluation it is a batch norm of `C` channels.

use wgpu_norm::ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};
use wgpu_norm::nn::{GradOutput, InstanceNormLayer, InstanceNormOptions, RunningStatistics};
use wgpu_norm::reference;
use wgpu_norm::{Activation, Backward, Gpu, Inputs, InstanceNorm, VarianceEstimator};

use crate::nn::{buffer, read, room, submit, write};
use crate::support::{Data, close, gpu, gpus};

pub fn running(layer: &InstanceNormLayer) -> RunningStatistics {
    layer.running_statistics_blocking().unwrap().unwrap()
}

/// A row of channels.
fn channels(values: &[f32]) -> ArrayD<f32> {
    ArrayD::from_shape_vec(IxDyn(&[values.len()]), values.to_vec()).unwrap()
}

/// The largest magnitude of both, for each channel.
fn scale(one: &ArrayD<f64>, other: &ArrayD<f64>) -> ArrayD<f64> {
    let most = one.iter().chain(other).fold(0.0f64, |most, v| most.max(v.abs()));
    one.mapv(|_| most)
}

/// Two samples, of means 2 and 7 and unbiased variances 2 and 8, biased 1 and 4.
#[test]
fn by_hand() {
    let x = [1.0, 3.0, 5.0, 9.0];
    for (_, gpu) in gpus() {
        for (options, var) in [
            (InstanceNormOptions::pytorch(1).dims(1), 0.9 + 0.1 * 5.0),
            (InstanceNormOptions::new(1).channels_first(), 0.9 + 0.1 * 2.5f32),
        ] {
            let mut layer = InstanceNormLayer::new_blocking(gpu, options.track_running_stats(true).eps(0.0)).unwrap();
            assert_eq!(layer.run_blocking(&[2, 1, 2], &x).unwrap(), [-1.0, 1.0, -1.0, 1.0]);
            let seen = running(&layer);
            assert!((seen.mean[0] - 0.45).abs() < 1e-7 && (seen.var[0] - var).abs() < 1e-6, "{seen:?}");
            // PyTorch does not count the batches of this norm.
            assert_eq!(seen.num_batches_tracked, 0);
            layer.eval();
            let y = layer.run_blocking(&[2, 1, 2], &x).unwrap();
            let want = x.map(|x| (x - 0.45) / var.sqrt());
            assert!(y.iter().zip(want).all(|(y, want)| (y - want).abs() < 1e-5), "{y:?} {want:?}");
            assert_eq!(running(&layer), seen);
        }
    }
}

/// Three batches of training, then evaluation, there and back, with every layout, estimator and momentum.
fn follow(
    gpu: &Gpu,
    label: &str,
    shape: &[usize],
    axis: usize,
    mean: f32,
    [momentum, unbiased]: [f32; 2],
    activation: Option<Activation>,
) {
    let what = format!("{shape:?} {axis} {mean} {momentum} {unbiased} {activation:?} {label}");
    let then = |out: reference::Forward| match activation {
        Some(activation) => reference::activated(out, activation),
        None => out,
    };
    let count = shape[axis];
    let mut data = Data::new(7);
    let estimator = if unbiased > 0.0 { VarianceEstimator::Unbiased } else { VarianceEstimator::Biased };
    let options = InstanceNormOptions::new(count).channel_axis(axis as isize).affine(true);
    let options = options.track_running_stats(true).momentum(momentum).running_variance(estimator);
    let options = options.activation(activation);
    let mut layer = InstanceNormLayer::new_blocking(gpu, options).unwrap();
    let (weight, bias) = (data.normal(&[count], 1.0, 0.3), data.normal(&[count], 0.0, 0.5));
    write(gpu, layer.weight().unwrap(), &weight);
    write(gpu, layer.bias().unwrap(), &bias);
    let (weight, bias) = (weight.mapv(f64::from), bias.mapv(f64::from));
    let (w, b, eps) = (Some(weight.view()), Some(bias.view()), f64::from(1e-5f32));
    let (keep, take) = (1.0 - f64::from(momentum), f64::from(momentum));
    for batch in 0..3u8 {
        let (x, before) = (data.normal(shape, mean, 1.0 + f32::from(batch)), running(&layer));
        let y = layer.run_array_blocking(x.view()).unwrap();
        let x = x.mapv(f64::from);
        let want = then(reference::instance_norm(x.view(), axis, w.clone(), b.clone(), eps));
        close(&format!("y of {what}"), &y, &want.y, &want.scale);
        let (variance, instances) = (want.variance.unwrap(), want.rstd.len());
        let variance = match estimator {
            VarianceEstimator::Biased => variance,
            VarianceEstimator::Unbiased => reference::unbiased(variance.view(), x.len() / instances),
        };
        let after = running(&layer);
        for (name, before, seen, got) in [
            ("running_mean", before.mean, want.mean.unwrap(), after.mean),
            ("running_var", before.var, variance, after.var),
        ] {
            let (before, average) = (channels(&before).mapv(f64::from), seen.mean_axis(Axis(0)).unwrap());
            let want = reference::update_running(before.view(), average.view(), keep, take);
            close(&format!("{name} of {what}"), &channels(&got), &want, &scale(&before, &seen));
        }
    }

    layer.eval();
    let (x, dy) = (data.normal(shape, mean, 1.0), data.normal(shape, 0.3, 1.0));
    let statistics = running(&layer);
    let (y, dx) = (layer.run_array_blocking(x.view()), layer.run_backward_array_blocking(dy.view(), x.view()));
    let (running_mean, running_var) = (channels(&statistics.mean), channels(&statistics.var));
    let spec = InstanceNorm::new(shape, axis as isize).unwrap().eval();
    let given = Inputs::new(x.view()).running_mean(running_mean.view()).running_var(running_var.view());
    let out = gpu.run_array_blocking(&spec, given.clone()).unwrap();
    let gradients = gpu.run_backward_array_blocking(&spec, Backward::new(), given.grad_output(dy.view())).unwrap();
    let [x, dy, mean, var] = [x, dy, running_mean, running_var].map(|values| values.mapv(f64::from));
    let (mean, var) = (mean.view(), var.view());
    let bare = reference::batch_norm_eval(x.view(), axis, mean.clone(), var.clone(), w.clone(), b, eps);
    let want = then(bare.clone());
    close(&format!("y, evaluated, of {what}"), &y.unwrap(), &want.y, &want.scale);
    let back = |dy: ArrayViewD<'_, f64>| {
        reference::batch_norm_eval_backward(x.view(), dy, axis, mean.clone(), var.clone(), w.clone(), eps)
    };
    let want = match activation {
        Some(activation) => reference::activated_backward(&bare, dy.view(), activation, back),
        None => back(dy.view()),
    };
    close(&format!("dx, evaluated, of {what}"), &dx.unwrap(), &want.dx, &want.dx_scale);
    let got = layer.gradients_blocking().unwrap();
    close(&what, &channels(&got.weight.unwrap()), &want.dweight, &want.dweight_scale);
    close(&what, &channels(&got.bias.unwrap()), &want.dbias, &want.dbias_scale);
    let want = reference::batch_norm_eval(x.view(), axis, mean.clone(), var.clone(), None, None, eps);
    close(&format!("y of the specification of {what}"), &out.y, &want.y, &want.scale);
    let want = reference::batch_norm_eval_backward(x.view(), dy.view(), axis, mean, var, None, eps);
    close(&format!("dx of the specification of {what}"), &gradients.input.unwrap(), &want.dx, &want.dx_scale);
}

#[test]
fn against_the_oracle() {
    for (label, gpu) in gpus() {
        for (shape, axis) in [(vec![4, 3, 50], 1), (vec![5, 40, 3], 2), (vec![3, 20, 6], 0), (vec![70, 5, 4], 1)] {
            follow(gpu, label, &shape, axis, 0.5, [0.1, 1.0], None);
            follow(gpu, label, &shape, axis, 1e6, [0.25, 0.0], None);
        }
        follow(gpu, label, &[2, 2, 9000], 1, 1.0, [1.0, 1.0], Some(Activation::Silu));
        follow(gpu, label, &[2, 2, 3], 1, 1.0, [0.0, 1.0], None);
        // One value each: its variance is 0.
        follow(gpu, label, &[6, 3, 1], 1, 1.0, [0.1, 1.0], None);
    }
}

/// In one's own pass, and so that what is bound once follows as often as it is recorded.
#[test]
fn bound_once() {
    let gpu = gpu();
    let options = || InstanceNormOptions::pytorch(3).affine(true).track_running_stats(true);
    let layer = InstanceNormLayer::new_blocking(gpu, options()).unwrap();
    let shape = [4, 3, 50];
    let values = Data::new(3).normal(&shape, 2.0, 1.5);
    let grad_output = Data::new(4).normal(&shape, 0.3, 1.0);
    let (x, dy) = (buffer(gpu, &values), buffer(gpu, &grad_output));
    let (y, dx) = (room(gpu, values.len()), room(gpu, values.len()));
    submit(gpu, |pass| {
        for _ in 0..3 {
            let saved = layer.forward(pass, &shape, &x, &y).unwrap();
            layer.backward(pass, &saved, GradOutput::new(&dy).grad_input(&dx)).unwrap();
        }
    });
    let twin = InstanceNormLayer::new_blocking(gpu, options()).unwrap();
    let want = [(); 3].map(|()| twin.run_array_blocking(values.view()).unwrap());
    assert_eq!(running(&layer), running(&twin));
    assert_eq!(read(gpu, &y, &shape), want[0]);
    let [x64, dy64] = [&values, &grad_output].map(|values| values.mapv(f64::from));
    let want = reference::instance_norm_backward(x64.view(), dy64.view(), 1, None, f64::from(1e-5f32));
    close("dx", &read(gpu, &dx, &shape), &want.dx, &want.dx_scale);

    // Nothing at all leaves them as they are.
    layer.run_blocking(&[0, 3, 50], &[0.0; 0]).unwrap();
    layer.run_blocking(&[4, 3, 0], &[0.0; 0]).unwrap();
    assert_eq!(running(&layer), running(&twin));
}

#[test]
fn one_sample_alone() {
    let options = InstanceNormOptions::pytorch(3).dims(2).track_running_stats(true);
    let [one, batch] = [(); 2].map(|()| InstanceNormLayer::new_blocking(gpu(), options.clone()).unwrap());
    let x: Vec<f32> = Data::new(3).normal(&[3, 4, 5], 2.0, 1.5).iter().copied().collect();
    assert_eq!(one.run_blocking(&[3, 4, 5], &x).unwrap(), batch.run_blocking(&[1, 3, 4, 5], &x).unwrap());
    assert_eq!(running(&one), running(&batch));
}
