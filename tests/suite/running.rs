//! BatchNorm's running statistics, batch after batch, against the oracle's.

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::reference;
use wgpu_norm::{BatchNorm, Inputs, Momentum, VarianceEstimator};

use crate::support::{Data, close, engines};

/// Three batches; the running statistics of each go into the next.
fn follow(shape: &[usize], axis: usize, momentum: Option<f64>, onnx: bool, estimator: VarianceEstimator, mean: f32) {
    for (label, gpu) in engines() {
        let channels = shape[axis];
        let mut data = Data::new(3);
        let mut norm = BatchNorm::new(shape, axis as isize).unwrap().running_variance(estimator);
        norm = match momentum {
            None => norm.momentum(Momentum::cumulative()),
            Some(take) if onnx => norm.momentum(Momentum::onnx(1.0 - take as f32)),
            Some(take) => norm.momentum(take as f32),
        };
        let mut running_mean = data.normal(&[channels], mean, 1.0);
        let mut running_var = data.normal(&[channels], 2.0, 0.2);
        for batch in 0..3u32 {
            let x = data.normal(shape, mean, 1.0 + batch as f32);
            let inputs = Inputs::new(x.view()).running_mean(running_mean.view()).running_var(running_var.view());
            let out = gpu.run_array_blocking(&norm, inputs.num_batches_tracked(batch)).unwrap();
            assert_eq!(out.num_batches_tracked, Some(batch + 1));

            let take = momentum.unwrap_or(1.0 / f64::from(batch + 1));
            let want = reference::batch_norm_train(x.mapv(f64::from).view(), axis, None, None, 1e-5);
            let count = x.len() / channels;
            let variance = match estimator {
                VarianceEstimator::Biased => want.variance.unwrap(),
                VarianceEstimator::Unbiased => reference::unbiased(want.variance.unwrap().view(), count),
            };
            let check = |name: &str, old: &ArrayD<f32>, batch: &ArrayD<f64>, got: &Option<ArrayD<f32>>| {
                let old = old.mapv(f64::from);
                let want = reference::update_running(old.view(), batch.view(), 1.0 - take, take);
                let scale = ArrayD::from_shape_fn(want.raw_dim(), |at| old[&at].abs().max(batch[&at].abs()));
                close(
                    &format!("{name} {label} {shape:?} {momentum:?} {estimator:?}"),
                    got.as_ref().unwrap(),
                    &want,
                    &scale,
                );
            };
            check("running_mean", &running_mean, &want.mean.unwrap(), &out.running_mean);
            check("running_var", &running_var, &variance, &out.running_var);
            (running_mean, running_var) = (out.running_mean.unwrap(), out.running_var.unwrap());
        }
    }
}

#[test]
fn every_rule_and_layout() {
    for (shape, axis) in
        [(vec![4, 3, 50], 1), (vec![4, 50, 3], 2), (vec![2_000, 5], 1), (vec![1, 6, 40], 1), (vec![9, 1], 1)]
    {
        for estimator in [VarianceEstimator::Biased, VarianceEstimator::Unbiased] {
            for momentum in [Some(0.1), Some(0.0), Some(1.0), None] {
                follow(&shape, axis, momentum, false, estimator, 0.5);
            }
            follow(&shape, axis, Some(0.25), true, estimator, 1e6);
        }
    }
}

#[test]
fn one_value_a_channel_is_taken_as_it_is() {
    for estimator in [VarianceEstimator::Biased, VarianceEstimator::Unbiased] {
        follow(&[1, 7], 1, Some(0.1), false, estimator, 3.0);
    }
}
