//! The textbook in f32 on one core, as one would write it with ndarray: two passes for the statistics, one for `y`; of the
//! gradients one for the sums and one for `dx`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use wgpu_norm::DEFAULT_EPS;
use wgpu_norm::ndarray::{
    Array1, ArrayD, ArrayView, ArrayView1, ArrayView2, ArrayView3, ArrayView4, ArrayViewMut1, ArrayViewMut2,
    ArrayViewMut3, ArrayViewMut4, Axis, Dimension, Zip,
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
            statistics: Vec::new(),
            gradients: tensors.dy.as_ref().map(|dy| Gradients {
                dy: dy.clone(),
                dx: ArrayD::zeros(case.shape),
                dweight: Array1::zeros(case.channels()),
                dbias: Array1::zeros(case.channels()),
            }),
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
    /// Mean and rstd of each group, in the order of `x`.
    statistics: Vec<(f32, f32)>,
    gradients: Option<Gradients>,
}

struct Gradients {
    dy: ArrayD<f32>,
    dx: ArrayD<f32>,
    dweight: Array1<f32>,
    dbias: Array1<f32>,
}

impl Call for Textbook {
    fn results(&mut self) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
        self.call()?;
        let Some(Gradients { dx, dweight, dbias, .. }) = &self.gradients else {
            return Ok(vec![self.y.iter().copied().collect()]);
        };
        let mut results = vec![dx.iter().copied().collect(), dweight.to_vec()];
        results.extend(self.case.has_bias().then(|| dbias.to_vec()));
        Ok(results)
    }

    fn run(&mut self, calls: u32) -> Result<f64, Box<dyn Error>> {
        let start = Instant::now();
        for _ in 0..calls {
            self.call()?;
            black_box((&mut self.y, &mut self.gradients));
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

impl Textbook {
    fn call(&mut self) -> Result<(), Box<dyn Error>> {
        self.forward()?;
        self.backward()
    }

    fn forward(&mut self) -> Result<(), Box<dyn Error>> {
        let kind = self.case.kind;
        let Shapes { rows, images, groups, order, per_channel } = Shapes::of(&self.case);
        let saved = &mut self.statistics;
        saved.clear();
        let (x, y) = (black_box(&self.x).view(), self.y.view_mut());
        let (w, b) = (self.weight.view(), self.bias.view());
        match kind {
            Kind::Layer => layer(x.into_shape_with_order(rows)?, y.into_shape_with_order(rows)?, w, b, saved),
            Kind::Rms => rms(x.into_shape_with_order(rows)?, y.into_shape_with_order(rows)?, w, saved),
            Kind::Group | Kind::Instance => {
                let (x, y) = (x.into_shape_with_order(groups)?, y.into_shape_with_order(groups)?);
                let (w, b) = (w.into_shape_with_order(per_channel)?, b.into_shape_with_order(per_channel)?);
                group(x.permuted_axes(order), y.permuted_axes(order), w, b, saved);
            }
            Kind::BatchTrain | Kind::BatchEval => {
                let statistics = (kind == Kind::BatchEval).then_some((&self.running_mean, &self.running_var));
                let (mean, var) = if self.case.channels_last() {
                    batch_last(x.into_shape_with_order(rows)?, y.into_shape_with_order(rows)?, w, b, statistics)
                } else {
                    batch_first(x.into_shape_with_order(images)?, y.into_shape_with_order(images)?, w, b, statistics)
                };
                saved.extend(mean.iter().zip(&var).map(|(&mean, &var)| (mean, rstd(var))));
                if kind == Kind::BatchTrain {
                    self.running_mean.zip_mut_with(&mean, |r, &m| *r = (1.0 - TAKEN) * *r + TAKEN * m);
                    self.running_var.zip_mut_with(&var, |r, &v| *r = (1.0 - TAKEN) * *r + TAKEN * v);
                }
            }
        }
        Ok(())
    }

    fn backward(&mut self) -> Result<(), Box<dyn Error>> {
        let Some(Gradients { dy, dx, dweight, dbias }) = &mut self.gradients else {
            return Ok(());
        };
        let kind = self.case.kind;
        let Shapes { rows, images, groups, order, per_channel } = Shapes::of(&self.case);
        dweight.fill(0.0);
        dbias.fill(0.0);
        let (x, dy, dx) = (black_box(&self.x).view(), black_box(&*dy).view(), dx.view_mut());
        let (w, dweight, dbias) = (self.weight.view(), dweight.view_mut(), dbias.view_mut());
        let saved = &self.statistics;
        match kind {
            Kind::Layer | Kind::Rms => {
                let (x, dy) = (x.into_shape_with_order(rows)?, dy.into_shape_with_order(rows)?);
                let dx = dx.into_shape_with_order(rows)?;
                if kind == Kind::Layer {
                    layer_backward(x, dy, w, saved, dx, dweight, dbias);
                } else {
                    rms_backward(x, dy, w, saved, dx, dweight);
                }
            }
            Kind::Group | Kind::Instance => {
                let (x, dy) = (x.into_shape_with_order(groups)?, dy.into_shape_with_order(groups)?);
                let (dx, w) = (dx.into_shape_with_order(groups)?, w.into_shape_with_order(per_channel)?);
                let [x, dy] = [x, dy].map(|array| array.permuted_axes(order));
                let [dweight, dbias] = [dweight, dbias].map(|array| array.into_shape_with_order(per_channel));
                group_backward(x, dy, w, saved, dx.permuted_axes(order), dweight?, dbias?);
            }
            Kind::BatchTrain | Kind::BatchEval => {
                let trains = kind == Kind::BatchTrain;
                if self.case.channels_last() {
                    let (x, dy) = (x.into_shape_with_order(rows)?, dy.into_shape_with_order(rows)?);
                    batch_last_backward(x, dy, w, saved, trains, dx.into_shape_with_order(rows)?, (dweight, dbias));
                } else {
                    let (x, dy) = (x.into_shape_with_order(images)?, dy.into_shape_with_order(images)?);
                    batch_first_backward(x, dy, w, saved, trains, dx.into_shape_with_order(images)?, (dweight, dbias));
                }
            }
        }
        Ok(())
    }
}

/// The shapes that `x` is viewed in.
struct Shapes {
    rows: [usize; 2],
    /// With channels first.
    images: [usize; 3],
    /// As it is in memory, and the order that makes it sample, group, channel, position.
    groups: [usize; 4],
    order: [usize; 4],
    /// Of weight and bias, beside the groups of a sample.
    per_channel: [usize; 3],
}

impl Shapes {
    fn of(case: &Case) -> Self {
        let (samples, channels) = (case.shape[0], case.channels());
        let all: usize = case.shape.iter().product();
        let positions = all / samples / channels;
        let count = if case.kind == Kind::Group { GROUPS } else { channels };
        let members = channels / count;
        let (groups, order) = if case.channels_last() {
            ([samples, positions, count, members], [0, 2, 3, 1])
        } else {
            ([samples, count, members, positions], [0, 1, 2, 3])
        };
        Self {
            rows: [all / channels, channels],
            images: [samples, channels, positions],
            groups,
            order,
            per_channel: [count, members, 1],
        }
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

fn layer(
    x: ArrayView2<'_, f32>,
    mut y: ArrayViewMut2<'_, f32>,
    w: ArrayView1<'_, f32>,
    b: ArrayView1<'_, f32>,
    saved: &mut Vec<(f32, f32)>,
) {
    Zip::from(x.rows()).and(y.rows_mut()).for_each(|x, y| {
        let (mean, var) = moments(&x);
        let rstd = rstd(var);
        saved.push((mean, rstd));
        Zip::from(y).and(x).and(w).and(b).for_each(|y, &x, &w, &b| *y = (x - mean) * rstd * w + b);
    });
}

fn layer_backward(
    x: ArrayView2<'_, f32>,
    dy: ArrayView2<'_, f32>,
    w: ArrayView1<'_, f32>,
    saved: &[(f32, f32)],
    mut dx: ArrayViewMut2<'_, f32>,
    mut dweight: ArrayViewMut1<'_, f32>,
    mut dbias: ArrayViewMut1<'_, f32>,
) {
    let count = x.ncols() as f32;
    for (((x, dy), dx), &(mean, rstd)) in x.rows().into_iter().zip(dy.rows()).zip(dx.rows_mut()).zip(saved) {
        let (mut sum, mut products) = (0.0, 0.0);
        Zip::from(x).and(dy).and(w).and(&mut dweight).and(&mut dbias).for_each(|&x, &dy, &w, dweight, dbias| {
            let xhat = (x - mean) * rstd;
            sum += dy * w;
            products += dy * w * xhat;
            *dweight += dy * xhat;
            *dbias += dy;
        });
        let (g, gx) = (sum / count, products / count);
        Zip::from(dx).and(x).and(dy).and(w).for_each(|dx, &x, &dy, &w| {
            *dx = rstd * (dy * w - g - (x - mean) * rstd * gx);
        });
    }
}

fn rms(x: ArrayView2<'_, f32>, mut y: ArrayViewMut2<'_, f32>, w: ArrayView1<'_, f32>, saved: &mut Vec<(f32, f32)>) {
    Zip::from(x.rows()).and(y.rows_mut()).for_each(|x, y| {
        let rstd = rstd(x.fold(0.0, |sum, &x| sum + x * x) / x.len() as f32);
        saved.push((0.0, rstd));
        Zip::from(y).and(x).and(w).for_each(|y, &x, &w| *y = x * rstd * w);
    });
}

fn rms_backward(
    x: ArrayView2<'_, f32>,
    dy: ArrayView2<'_, f32>,
    w: ArrayView1<'_, f32>,
    saved: &[(f32, f32)],
    mut dx: ArrayViewMut2<'_, f32>,
    mut dweight: ArrayViewMut1<'_, f32>,
) {
    let count = x.ncols() as f32;
    for (((x, dy), dx), &(_, rstd)) in x.rows().into_iter().zip(dy.rows()).zip(dx.rows_mut()).zip(saved) {
        let mut products = 0.0;
        Zip::from(x).and(dy).and(w).and(&mut dweight).for_each(|&x, &dy, &w, dweight| {
            products += dy * w * (x * rstd);
            *dweight += dy * (x * rstd);
        });
        let gx = products / count;
        Zip::from(dx).and(x).and(dy).and(w).for_each(|dx, &x, &dy, &w| *dx = rstd * (dy * w - x * rstd * gx));
    }
}

/// Axes: sample, group, channel, position; of weight and bias group, channel and one position.
fn group(
    x: ArrayView4<'_, f32>,
    mut y: ArrayViewMut4<'_, f32>,
    weight: ArrayView3<'_, f32>,
    bias: ArrayView3<'_, f32>,
    saved: &mut Vec<(f32, f32)>,
) {
    for (x, mut y) in x.outer_iter().zip(y.outer_iter_mut()) {
        let groups = x.outer_iter().zip(y.outer_iter_mut()).zip(weight.outer_iter().zip(bias.outer_iter()));
        for ((x, y), (w, b)) in groups {
            let (mean, var) = moments(&x);
            let rstd = rstd(var);
            saved.push((mean, rstd));
            Zip::from(y)
                .and(x)
                .and_broadcast(w)
                .and_broadcast(b)
                .for_each(|y, &x, &w, &b| *y = (x - mean) * rstd * w + b);
        }
    }
}

/// Axes as those of `group`.
fn group_backward(
    x: ArrayView4<'_, f32>,
    dy: ArrayView4<'_, f32>,
    weight: ArrayView3<'_, f32>,
    saved: &[(f32, f32)],
    mut dx: ArrayViewMut4<'_, f32>,
    mut dweight: ArrayViewMut3<'_, f32>,
    mut dbias: ArrayViewMut3<'_, f32>,
) {
    let mut saved = saved.iter();
    for ((x, dy), mut dx) in x.outer_iter().zip(dy.outer_iter()).zip(dx.outer_iter_mut()) {
        let gradients = dweight.outer_iter_mut().zip(dbias.outer_iter_mut());
        let groups = x.outer_iter().zip(dy.outer_iter()).zip(dx.outer_iter_mut()).zip(weight.outer_iter());
        for (((((x, dy), dx), w), (mut dweight, mut dbias)), &(mean, rstd)) in groups.zip(gradients).zip(&mut saved) {
            let count = x.len() as f32;
            let (mut g, mut gx) = (0.0, 0.0);
            let parameters = w.iter().zip(dweight.iter_mut()).zip(dbias.iter_mut());
            for ((x, dy), ((w, dweight), dbias)) in x.outer_iter().zip(dy.outer_iter()).zip(parameters) {
                let (sum, products) = gradient_sums(x, dy, mean, rstd);
                *dweight += products;
                *dbias += sum;
                g += w * sum / count;
                gx += w * products / count;
            }
            Zip::from(dx).and(x).and(dy).and_broadcast(w).for_each(|dx, &x, &dy, &w| {
                *dx = rstd * (dy * w - g - (x - mean) * rstd * gx);
            });
        }
    }
}

/// The sums of `dy` and of `dy * xhat`.
fn gradient_sums<D: Dimension>(
    x: ArrayView<'_, f32, D>,
    dy: ArrayView<'_, f32, D>,
    mean: f32,
    rstd: f32,
) -> (f32, f32) {
    Zip::from(x).and(dy).fold((0.0, 0.0), |(sum, products), &x, &dy| (sum + dy, products + dy * ((x - mean) * rstd)))
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

/// The gradients of weight and bias.
type Parameters<'a> = (ArrayViewMut1<'a, f32>, ArrayViewMut1<'a, f32>);

/// With statistics that were given there is nothing to subtract.
fn batch_last_backward(
    x: ArrayView2<'_, f32>,
    dy: ArrayView2<'_, f32>,
    w: ArrayView1<'_, f32>,
    saved: &[(f32, f32)],
    trains: bool,
    mut dx: ArrayViewMut2<'_, f32>,
    (mut dweight, mut dbias): Parameters<'_>,
) {
    let (mean, rstd): (Vec<f32>, Vec<f32>) = saved.iter().copied().unzip();
    let (mean, rstd) = (Array1::from(mean), Array1::from(rstd));
    for (x, dy) in x.rows().into_iter().zip(dy.rows()) {
        Zip::from(&mut dweight).and(&mut dbias).and(x).and(dy).and(&mean).and(&rstd).for_each(
            |dweight, dbias, &x, &dy, &mean, &rstd| {
                *dweight += dy * ((x - mean) * rstd);
                *dbias += dy;
            },
        );
    }
    let scale = &w * &rstd;
    if !trains {
        for (dy, dx) in dy.rows().into_iter().zip(dx.rows_mut()) {
            Zip::from(dx).and(dy).and(&scale).for_each(|dx, &dy, &scale| *dx = scale * dy);
        }
        return;
    }
    let rows = x.nrows() as f32;
    let (g, gx) = (&dbias / rows, &dweight / rows * &rstd);
    for ((x, dy), mut dx) in x.rows().into_iter().zip(dy.rows()).zip(dx.rows_mut()) {
        Zip::from(&mut dx).and(x).and(&mean).and(&g).and(&gx).for_each(|dx, &x, &m, &g, &gx| *dx = g + (x - m) * gx);
        Zip::from(dx).and(dy).and(&scale).for_each(|dx, &dy, &scale| *dx = scale * (dy - *dx));
    }
}

/// The same as `batch_last` of each index of the middle axis.
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

fn batch_first_backward(
    x: ArrayView3<'_, f32>,
    dy: ArrayView3<'_, f32>,
    w: ArrayView1<'_, f32>,
    saved: &[(f32, f32)],
    trains: bool,
    mut dx: ArrayViewMut3<'_, f32>,
    (mut dweight, mut dbias): Parameters<'_>,
) {
    let channels = x.axis_iter(Axis(1)).zip(dy.axis_iter(Axis(1))).zip(dx.axis_iter_mut(Axis(1)));
    for (c, (((x, dy), dx), &(mean, rstd))) in channels.zip(saved).enumerate() {
        let (sum, products) = gradient_sums(x, dy, mean, rstd);
        (dweight[c], dbias[c]) = (products, sum);
        let scale = w[c] * rstd;
        if trains {
            let count = x.len() as f32;
            let (g, gx) = (sum / count, products / count * rstd);
            Zip::from(dx).and(x).and(dy).for_each(|dx, &x, &dy| *dx = scale * (dy - g - (x - mean) * gx));
        } else {
            Zip::from(dx).and(dy).for_each(|dx, &dy| *dx = scale * dy);
        }
    }
}
