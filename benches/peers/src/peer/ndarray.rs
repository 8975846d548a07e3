//! The textbook in f32 on one core, as one would write it with ndarray: two passes for the statistics, one for `y`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use wgpu_norm::DEFAULT_EPS;
use wgpu_norm::ndarray::{
    Array1, ArrayD, ArrayView, ArrayView1, ArrayView2, ArrayView3, ArrayView4, ArrayViewMut2, ArrayViewMut3,
    ArrayViewMut4, Axis, Dimension, Zip,
};

use super::{Call, Peer, locked_version};
use crate::case::{Case, GROUPS, Kind, MOMENTUM};
use crate::data::Tensors;

const TAKEN: f32 = MOMENTUM as f32;

pub struct Ndarray;

impl Peer for Ndarray {
    fn about(&self) -> String {
        format!("{} on one core of the CPU", locked_version("ndarray"))
    }

    fn prepare(&mut self, case: &Case, tensors: &Tensors) -> Result<Box<dyn Call + '_>, Box<dyn Error>> {
        let vector = |values: &Vec<f32>| Array1::from_vec(values.clone());
        Ok(Box::new(Textbook {
            case: *case,
            x: tensors.x.clone(),
            y: ArrayD::zeros(case.shape),
            weight: vector(&tensors.weight),
            bias: vector(&tensors.bias),
            running_mean: vector(&tensors.running_mean),
            running_var: vector(&tensors.running_var),
        }))
    }
}

struct Textbook {
    case: Case,
    x: ArrayD<f32>,
    y: ArrayD<f32>,
    weight: Array1<f32>,
    bias: Array1<f32>,
    running_mean: Array1<f32>,
    running_var: Array1<f32>,
}

impl Call for Textbook {
    fn result(&mut self) -> Result<Vec<f32>, Box<dyn Error>> {
        self.forward()?;
        Ok(self.y.iter().copied().collect())
    }

    fn run(&mut self, calls: u32) -> Result<f64, Box<dyn Error>> {
        let start = Instant::now();
        for _ in 0..calls {
            self.forward()?;
            black_box(&mut self.y);
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

impl Textbook {
    fn forward(&mut self) -> Result<(), Box<dyn Error>> {
        let Case { kind, shape, .. } = self.case;
        let (channels, last) = (self.case.channels(), self.case.channels_last());
        let positions = self.x.len() / shape[0] / channels;
        let rows = [self.x.len() / channels, channels];
        let (x, y) = (black_box(&self.x).view(), self.y.view_mut());
        let (w, b) = (self.weight.view(), self.bias.view());
        match kind {
            Kind::Layer => layer(x.into_shape_with_order(rows)?, y.into_shape_with_order(rows)?, w, b),
            Kind::Rms => rms(x.into_shape_with_order(rows)?, y.into_shape_with_order(rows)?, w),
            Kind::Group | Kind::Instance => {
                let groups = if kind == Kind::Group { GROUPS } else { channels };
                let shape = if last {
                    [shape[0], positions, groups, channels / groups]
                } else {
                    [shape[0], groups, channels / groups, positions]
                };
                let (x, y) = (x.into_shape_with_order(shape)?, y.into_shape_with_order(shape)?);
                // As sample, group, channel, position, wherever they are in memory.
                let order = if last { [0, 2, 3, 1] } else { [0, 1, 2, 3] };
                let per_channel = (groups, channels / groups, 1);
                let w = w.into_shape_with_order(per_channel)?;
                group(x.permuted_axes(order), y.permuted_axes(order), w, b.into_shape_with_order(per_channel)?);
            }
            Kind::BatchTrain | Kind::BatchEval => {
                let statistics = (kind == Kind::BatchEval).then_some((&self.running_mean, &self.running_var));
                let (mean, var) = if last {
                    batch_last(x.into_shape_with_order(rows)?, y.into_shape_with_order(rows)?, w, b, statistics)
                } else {
                    let images = [shape[0], channels, positions];
                    batch_first(x.into_shape_with_order(images)?, y.into_shape_with_order(images)?, w, b, statistics)
                };
                if kind == Kind::BatchTrain {
                    self.running_mean.zip_mut_with(&mean, |r, &m| *r = (1.0 - TAKEN) * *r + TAKEN * m);
                    self.running_var.zip_mut_with(&var, |r, &v| *r = (1.0 - TAKEN) * *r + TAKEN * v);
                }
            }
        }
        Ok(())
    }
}

fn rstd(var: f32) -> f32 {
    1.0 / (var + DEFAULT_EPS).sqrt()
}

fn moments<D: Dimension>(x: &ArrayView<'_, f32, D>) -> (f32, f32) {
    let count = x.len() as f32;
    let mean = x.sum() / count;
    (mean, x.fold(0.0, |sum, &x| sum + (x - mean) * (x - mean)) / count)
}

fn layer(x: ArrayView2<'_, f32>, mut y: ArrayViewMut2<'_, f32>, w: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) {
    Zip::from(x.rows()).and(y.rows_mut()).for_each(|x, y| {
        let (mean, var) = moments(&x);
        let rstd = rstd(var);
        Zip::from(y).and(x).and(w).and(b).for_each(|y, &x, &w, &b| *y = (x - mean) * rstd * w + b);
    });
}

fn rms(x: ArrayView2<'_, f32>, mut y: ArrayViewMut2<'_, f32>, w: ArrayView1<'_, f32>) {
    Zip::from(x.rows()).and(y.rows_mut()).for_each(|x, y| {
        let rstd = rstd(x.fold(0.0, |sum, &x| sum + x * x) / x.len() as f32);
        Zip::from(y).and(x).and(w).for_each(|y, &x, &w| *y = x * rstd * w);
    });
}

/// Axes: sample, group, channel, position; of weight and bias group, channel and one position.
fn group(
    x: ArrayView4<'_, f32>,
    mut y: ArrayViewMut4<'_, f32>,
    weight: ArrayView3<'_, f32>,
    bias: ArrayView3<'_, f32>,
) {
    for (x, mut y) in x.outer_iter().zip(y.outer_iter_mut()) {
        let groups = x.outer_iter().zip(y.outer_iter_mut()).zip(weight.outer_iter().zip(bias.outer_iter()));
        for ((x, y), (w, b)) in groups {
            let (mean, var) = moments(&x);
            let rstd = rstd(var);
            Zip::from(y)
                .and(x)
                .and_broadcast(w)
                .and_broadcast(b)
                .for_each(|y, &x, &w, &b| *y = (x - mean) * rstd * w + b);
        }
    }
}

type Statistics<'a> = (&'a Array1<f32>, &'a Array1<f32>);

/// Mean and variance of each column of `x` unless given, `y` by them.
fn batch_last(
    x: ArrayView2<'_, f32>,
    mut y: ArrayViewMut2<'_, f32>,
    w: ArrayView1<'_, f32>,
    b: ArrayView1<'_, f32>,
    statistics: Option<Statistics<'_>>,
) -> (Array1<f32>, Array1<f32>) {
    let (mean, var) = match statistics {
        Some((mean, var)) => (mean.clone(), var.clone()),
        None => {
            let rows = x.nrows() as f32;
            let mean = x.sum_axis(Axis(0)) / rows;
            let mut squares = Array1::zeros(x.ncols());
            for row in x.rows() {
                Zip::from(&mut squares).and(row).and(&mean).for_each(|s, &x, &m| *s += (x - m) * (x - m));
            }
            (mean, squares / rows)
        }
    };
    let scale = var.mapv(rstd) * w;
    for (x, y) in x.rows().into_iter().zip(y.rows_mut()) {
        Zip::from(y).and(x).and(&mean).and(&scale).and(b).for_each(|y, &x, &m, &s, &b| *y = (x - m) * s + b);
    }
    (mean, var)
}

/// The same of each index of the middle axis.
fn batch_first(
    x: ArrayView3<'_, f32>,
    mut y: ArrayViewMut3<'_, f32>,
    w: ArrayView1<'_, f32>,
    b: ArrayView1<'_, f32>,
    statistics: Option<Statistics<'_>>,
) -> (Array1<f32>, Array1<f32>) {
    let (mut means, mut vars) = (Array1::zeros(w.len()), Array1::zeros(w.len()));
    for (c, (x, y)) in x.axis_iter(Axis(1)).zip(y.axis_iter_mut(Axis(1))).enumerate() {
        let (mean, var) = statistics.map_or_else(|| moments(&x), |(mean, var)| (mean[c], var[c]));
        (means[c], vars[c]) = (mean, var);
        let (scale, bias) = (rstd(var) * w[c], b[c]);
        Zip::from(y).and(x).for_each(|y, &x| *y = (x - mean) * scale + bias);
    }
    (means, vars)
}
