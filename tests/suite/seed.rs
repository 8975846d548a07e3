//! The three norms that this library began with, as classes of a few lines of plain `ndarray`, against the GPU.
//!
//! Channels are the last axis, and variances are divided by n. The library's defaults are those of these classes.

use approx::assert_abs_diff_eq;
use wgpu_norm::ndarray::{Array1, ArrayD, ArrayViewMut, Axis, Dimension, array};
use wgpu_norm::{Inputs, Outputs};

use crate::support::{Data, gpu};

const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;
/// Of results around 1, on the GPU in f32.
const TOLERANCE: f64 = 1e-5;

/// Statistics of each channel, over all other axes.
struct BatchNorm {
    weight: Array1<f64>,
    bias: Array1<f64>,
    running_mean: Array1<f64>,
    running_var: Array1<f64>,
}

impl BatchNorm {
    fn new(channels: usize) -> Self {
        Self {
            weight: Array1::ones(channels),
            bias: Array1::zeros(channels),
            running_mean: Array1::zeros(channels),
            running_var: Array1::ones(channels),
        }
    }

    fn train(&mut self, x: &ArrayD<f64>) -> ArrayD<f64> {
        let last = Axis(x.ndim() - 1);
        let mean: Array1<f64> = x.axis_iter(last).map(|channel| channel.mean().unwrap()).collect();
        let var: Array1<f64> = x.axis_iter(last).map(|channel| channel.var(0.0)).collect();
        self.running_mean = (1.0 - MOMENTUM) * &self.running_mean + MOMENTUM * &mean;
        self.running_var = (1.0 - MOMENTUM) * &self.running_var + MOMENTUM * &var;
        self.normalize(x, &mean, &var)
    }

    fn eval(&self, x: &ArrayD<f64>) -> ArrayD<f64> {
        self.normalize(x, &self.running_mean, &self.running_var)
    }

    fn normalize(&self, x: &ArrayD<f64>, mean: &Array1<f64>, var: &Array1<f64>) -> ArrayD<f64> {
        (x - mean) / (var + EPS).sqrt() * &self.weight + &self.bias
    }
}

/// Statistics of each row: the last axis.
struct LayerNorm {
    weight: Array1<f64>,
    bias: Array1<f64>,
}

impl LayerNorm {
    fn forward(&self, x: &ArrayD<f64>) -> ArrayD<f64> {
        let mut y = x.clone();
        for row in y.rows_mut() {
            standardize(row);
        }
        y * &self.weight + &self.bias
    }
}

/// Statistics of each sample and group of neighbouring channels, over all positions.
struct GroupNorm {
    weight: Array1<f64>,
    bias: Array1<f64>,
    groups: usize,
}

impl GroupNorm {
    fn new(weight: Array1<f64>, bias: Array1<f64>) -> Self {
        Self { weight, bias, groups: 32 }
    }

    fn forward(&self, x: &ArrayD<f64>) -> ArrayD<f64> {
        let (samples, channels) = (x.shape()[0], self.weight.len());
        let positions = x.len() / (samples * channels);
        let split = (samples, positions, self.groups, channels / self.groups);
        let mut y = x.to_shape(split).unwrap().into_owned();
        for mut sample in y.outer_iter_mut() {
            for group in sample.axis_iter_mut(Axis(1)) {
                standardize(group);
            }
        }
        y.into_shape_with_order(x.raw_dim()).unwrap() * &self.weight + &self.bias
    }
}

fn standardize<D: Dimension>(mut group: ArrayViewMut<'_, f64, D>) {
    let (mean, var) = (group.mean().unwrap(), group.var(0.0));
    group.mapv_inplace(|v| (v - mean) / (var + EPS).sqrt());
}

// The same on the GPU.

fn single(array: &Array1<f64>) -> ArrayD<f32> {
    array.mapv(|v| v as f32).into_dyn()
}

fn double(array: &ArrayD<f32>) -> ArrayD<f64> {
    array.mapv(f64::from)
}

fn on_gpu(
    norm: &dyn wgpu_norm::Norm,
    x: &ArrayD<f32>,
    weight: &Array1<f64>,
    bias: &Array1<f64>,
    running: Option<(&Array1<f64>, &Array1<f64>)>,
) -> Outputs<ArrayD<f32>> {
    let (weight, bias) = (single(weight), single(bias));
    let running = running.map(|(mean, var)| (single(mean), single(var)));
    let mut inputs = Inputs::new(x.view()).weight(weight.view()).bias(bias.view());
    if let Some((mean, var)) = &running {
        inputs = inputs.running_mean(mean.view()).running_var(var.view());
    }
    gpu().run_array_blocking(norm, inputs).unwrap()
}

/// A tensor of each rank, with the weight and bias of its 64 channels.
fn tensors() -> impl Iterator<Item = (ArrayD<f32>, Array1<f64>, Array1<f64>)> {
    let mut data = Data::new(1);
    [&[9, 64][..], &[3, 10, 64], &[2, 7, 5, 64]].into_iter().map(move |shape| {
        let mut channels = |mean| double(&data.normal(&[64], mean, 0.5)).into_dimensionality().unwrap();
        let (weight, bias) = (channels(1.0), channels(0.0));
        (data.normal(shape, 3.0, 2.0), weight, bias)
    })
}

#[test]
fn batch_norm() {
    for (x, weight, bias) in tensors() {
        let mut class = BatchNorm { weight, bias, ..BatchNorm::new(64) };
        let norm = wgpu_norm::BatchNorm::channels_last(x.shape()).unwrap();
        // Two steps of training, then eval.
        for x in [&x, &(&x * 3.0)] {
            let running = (class.running_mean.clone(), class.running_var.clone());
            let out = on_gpu(&norm, x, &class.weight, &class.bias, Some((&running.0, &running.1)));
            assert_abs_diff_eq!(double(&out.y), class.train(&double(x)), epsilon = TOLERANCE);
            let mean = class.running_mean.clone().into_dyn();
            assert_abs_diff_eq!(double(&out.running_mean.unwrap()), mean, epsilon = TOLERANCE);
            let var = class.running_var.clone().into_dyn();
            assert_abs_diff_eq!(double(&out.running_var.unwrap()), var, epsilon = TOLERANCE);
        }
        let running = Some((&class.running_mean, &class.running_var));
        let out = on_gpu(&norm.eval(), &x, &class.weight, &class.bias, running);
        assert_abs_diff_eq!(double(&out.y), class.eval(&double(&x)), epsilon = TOLERANCE);
    }
}

#[test]
fn layer_norm() {
    for (x, weight, bias) in tensors() {
        let class = LayerNorm { weight, bias };
        let norm = wgpu_norm::LayerNorm::new(x.shape(), &[64]).unwrap();
        let out = on_gpu(&norm, &x, &class.weight, &class.bias, None);
        assert_abs_diff_eq!(double(&out.y), class.forward(&double(&x)), epsilon = TOLERANCE);
    }
}

#[test]
fn group_norm() {
    for (x, weight, bias) in tensors() {
        let class = GroupNorm::new(weight, bias);
        let groups = wgpu_norm::GroupNorm::DEFAULT_NUM_GROUPS;
        assert_eq!(groups, class.groups);
        let norm = wgpu_norm::GroupNorm::channels_last(x.shape(), groups).unwrap();
        let out = on_gpu(&norm, &x, &class.weight, &class.bias, None);
        assert_abs_diff_eq!(double(&out.y), class.forward(&double(&x)), epsilon = TOLERANCE);
    }
}

/// Small enough to follow by hand.
#[test]
fn worked_example() {
    let x = array![[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]].into_dyn();
    let inputs = || Inputs::new(x.view()).with_mean().with_rstd();
    let variance = |out: &Outputs<ArrayD<f32>>| double(out.rstd.as_ref().unwrap()).powi(-2) - EPS;

    // A mean and a variance for each channel.
    let norm = wgpu_norm::BatchNorm::channels_last(&[4, 2]).unwrap();
    let (zeros, ones) = (array![0.0, 0.0].into_dyn(), array![1.0, 1.0].into_dyn());
    let inputs_and_running = inputs().running_mean(zeros.view()).running_var(ones.view());
    let batch = gpu().run_array_blocking(&norm, inputs_and_running).unwrap();
    assert_abs_diff_eq!(variance(&batch), array![5.0, 5.0].into_dyn(), epsilon = TOLERANCE);
    assert_eq!(batch.mean, Some(array![4.0, 5.0].into_dyn()));
    // 0.9 * 0 + 0.1 * 4 and 0.1 * 5; 0.9 * 1 + 0.1 * 5.
    assert_abs_diff_eq!(batch.running_mean.unwrap(), array![0.4, 0.5].into_dyn(), epsilon = 1e-6);
    assert_abs_diff_eq!(batch.running_var.unwrap(), array![1.4, 1.4].into_dyn(), epsilon = 1e-6);
    let outer = 3.0 / (5.0 + EPS).sqrt();
    let column = [-outer, -outer / 3.0, outer / 3.0, outer];
    let y = ArrayD::from_shape_fn(x.raw_dim(), |at| column[at[0]]);
    assert_abs_diff_eq!(double(&batch.y), y, epsilon = TOLERANCE);

    // A mean and a variance for each row.
    let layer = gpu().run_array_blocking(&wgpu_norm::LayerNorm::new(&[4, 2], &[2]).unwrap(), inputs()).unwrap();
    assert_abs_diff_eq!(variance(&layer), ArrayD::from_elem(vec![4, 1], 0.25), epsilon = TOLERANCE);
    assert_eq!(layer.mean, Some(array![[1.5], [3.5], [5.5], [7.5]].into_dyn()));
    let side = 0.5 / (0.25 + EPS).sqrt();
    let y = ArrayD::from_shape_fn(x.raw_dim(), |at| [-side, side][at[1]]);
    assert_abs_diff_eq!(double(&layer.y), y, epsilon = TOLERANCE);
}
