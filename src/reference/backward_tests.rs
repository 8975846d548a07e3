use ndarray::{ArrayD, IxDyn, array};

use super::tests::{assert_close, scattered, vector};
use super::*;

/// A norm by its arguments: normalized axes; or a channel axis, and for groups their count.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Layer(usize),
    LayerOver(&'static [usize]),
    Rms(usize, f64),
    RmsOver(&'static [usize], f64),
    Group(usize, usize),
    Instance(usize),
    BatchTrain(usize),
    BatchEval(usize),
}

use Kind::*;

/// Large enough beside the variance of [`scattered`], 1/12, to be missed if it were left out.
const EPS: f64 = 1e-2;

impl Kind {
    fn forward(self, x: &ArrayD<f64>, w: Option<&ArrayD<f64>>, b: Option<&ArrayD<f64>>) -> ArrayD<f64> {
        let (shape, x) = (x.shape(), x.view());
        let (w, b) = (w.map(|w| w.view()), b.map(|b| b.view()));
        let out = match self {
            Layer(ndim) => layer_norm(x, ndim, w, b, EPS),
            LayerOver(axes) => layer_norm_over_axes(x, axes, w, b, EPS),
            Rms(ndim, offset) => rms_norm(x, ndim, w, b, EPS, offset),
            RmsOver(axes, offset) => rms_norm_over_axes(x, axes, w, b, EPS, offset),
            Group(axis, groups) => group_norm(x, axis, groups, w, b, EPS),
            Instance(axis) => instance_norm(x, axis, w, b, EPS),
            BatchTrain(axis) => batch_norm_train(x, axis, w, b, EPS),
            BatchEval(axis) => {
                let [mean, var] = self.running(shape);
                batch_norm_eval(x, axis, mean.view(), var.view(), w, b, EPS)
            }
        };
        out.y
    }

    fn backward(self, x: &ArrayD<f64>, dy: &ArrayD<f64>, w: Option<&ArrayD<f64>>) -> Backward {
        let (shape, x, dy, w) = (x.shape(), x.view(), dy.view(), w.map(|w| w.view()));
        match self {
            Layer(ndim) => layer_norm_backward(x, dy, ndim, w, EPS),
            LayerOver(axes) => layer_norm_over_axes_backward(x, dy, axes, w, EPS),
            Rms(ndim, offset) => rms_norm_backward(x, dy, ndim, w, EPS, offset),
            RmsOver(axes, offset) => rms_norm_over_axes_backward(x, dy, axes, w, EPS, offset),
            Group(axis, groups) => group_norm_backward(x, dy, axis, groups, w, EPS),
            Instance(axis) => instance_norm_backward(x, dy, axis, w, EPS),
            BatchTrain(axis) => batch_norm_train_backward(x, dy, axis, w, EPS),
            BatchEval(axis) => {
                let [mean, var] = self.running(shape);
                batch_norm_eval_backward(x, dy, axis, mean.view(), var.view(), w, EPS)
            }
        }
    }

    fn parameter_shape(self, shape: &[usize]) -> Vec<usize> {
        match self {
            Layer(ndim) | Rms(ndim, _) => shape[shape.len() - ndim..].to_vec(),
            LayerOver(axes) | RmsOver(axes, _) => {
                (0..shape.len()).filter(|axis| axes.contains(axis)).map(|axis| shape[axis]).collect()
            }
            Group(axis, _) | Instance(axis) | BatchTrain(axis) | BatchEval(axis) => vec![shape[axis]],
        }
    }

    /// Some mean and variance that are not those of the batch.
    fn running(self, shape: &[usize]) -> [ArrayD<f64>; 2] {
        let v = scattered(&self.parameter_shape(shape));
        [&v - 0.25, v + 0.125]
    }

    /// The weight that multiplies by 1.
    fn weight_of_one(self, shape: &[usize]) -> ArrayD<f64> {
        let offset = if let Rms(_, offset) | RmsOver(_, offset) = self { offset } else { 0.0 };
        ArrayD::from_elem(self.parameter_shape(shape), 1.0 - offset)
    }
}

/// Every norm in several layouts: channels first, last, between, and without a batch.
fn norms() -> Vec<(Kind, &'static [usize])> {
    vec![
        (Layer(1), &[7]),
        (Layer(1), &[3, 5]),
        (Layer(2), &[2, 3, 4]),
        (Layer(3), &[2, 3, 4]),
        (Layer(2), &[2, 2, 3, 1]),
        (LayerOver(&[1]), &[2, 4, 3]),
        (LayerOver(&[3, 1]), &[2, 3, 2, 4]),
        (RmsOver(&[0, 2], 0.5), &[2, 3, 4]),
        (Rms(1, 0.0), &[3, 5]),
        (Rms(1, 1.0), &[2, 2, 4]),
        (Rms(2, 1.0), &[2, 3, 4]),
        (Rms(3, 0.5), &[2, 3, 2]),
        (Group(1, 2), &[2, 4, 3]),
        (Group(1, 3), &[3, 6]),
        (Group(2, 3), &[2, 2, 6, 2]),
        (Group(3, 2), &[2, 3, 2, 4]),
        (Group(0, 2), &[4, 3, 2]),
        (Group(0, 1), &[5]),
        (Instance(1), &[2, 3, 4]),
        (Instance(2), &[2, 3, 2, 2]),
        (Instance(3), &[2, 3, 2, 2]),
        (Instance(0), &[3, 5]),
        (BatchTrain(0), &[3, 5]),
        (BatchTrain(1), &[5, 3]),
        (BatchTrain(1), &[3, 4, 2]),
        (BatchTrain(2), &[2, 2, 3, 2]),
        (BatchTrain(3), &[2, 3, 2, 4]),
        (BatchEval(0), &[3, 5]),
        (BatchEval(1), &[5, 3]),
        (BatchEval(1), &[2, 3, 4]),
        (BatchEval(3), &[2, 3, 2, 4]),
    ]
}

fn dy_of(shape: &[usize]) -> ArrayD<f64> {
    scattered(shape).mapv(|v| (37.0 * v).sin())
}

/// The derivative of `loss` by each element of `at`, by central differences.
fn differences(at: &ArrayD<f64>, loss: impl Fn(&ArrayD<f64>) -> f64) -> ArrayD<f64> {
    const STEP: f64 = 1e-5;
    let mut slope = ArrayD::zeros(at.raw_dim());
    for (index, slope) in slope.indexed_iter_mut() {
        let moved = |by: f64| {
            let mut moved = at.clone();
            moved[&index] += by;
            loss(&moved)
        };
        *slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
    }
    slope
}

#[track_caller]
fn assert_slope(what: &str, got: &ArrayD<f64>, want: &ArrayD<f64>, scale: &ArrayD<f64>) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    assert_eq!(got.shape(), scale.shape(), "{what}");
    for ((g, w), s) in got.iter().zip(want).zip(scale) {
        assert!((g - w).abs() <= 1e-8 * s + 1e-9, "{what}: {g} is not {w}, at a scale of {s}");
    }
}

#[test]
fn gradients_are_the_slopes_of_the_forward_pass() {
    for (kind, shape) in norms() {
        let x = scattered(shape);
        let dy = dy_of(shape);
        let of_parameter = scattered(&kind.parameter_shape(shape));
        let bias = &of_parameter - 0.5;
        for weight in [None, Some(of_parameter.mapv(|v| 2.0 * v - 0.75))] {
            let what = |of: &str| format!("{of} of {kind:?} {shape:?}, weight {}", weight.is_some());
            let out = kind.backward(&x, &dy, weight.as_ref());

            let loss =
                |x: &ArrayD<f64>, w: Option<&ArrayD<f64>>, b: &ArrayD<f64>| (kind.forward(x, w, Some(b)) * &dy).sum();
            let dx = differences(&x, |x| loss(x, weight.as_ref(), &bias));
            assert_slope(&what("dx"), &out.dx, &dx, &out.dx_scale);
            let given = weight.clone().unwrap_or_else(|| kind.weight_of_one(shape));
            let dweight = differences(&given, |w| loss(&x, Some(w), &bias));
            assert_slope(&what("dweight"), &out.dweight, &dweight, &out.dweight_scale);
            let dbias = differences(&bias, |b| loss(&x, weight.as_ref(), b));
            assert_slope(&what("dbias"), &out.dbias, &dbias, &out.dbias_scale);
        }
    }
}

#[test]
fn gradients_are_linear_in_dy() {
    for (kind, shape) in norms() {
        let x = scattered(shape);
        let (one, other) = (dy_of(shape), scattered(shape) - 0.5);
        let weight = scattered(&kind.parameter_shape(shape));
        let of = |dy: &ArrayD<f64>| kind.backward(&x, dy, Some(&weight));
        let both = of(&(2.0 * &one - 3.0 * &other));
        let (one, other) = (of(&one), of(&other));
        for (got, one, other) in [
            (both.dx, one.dx, other.dx),
            (both.dweight, one.dweight, other.dweight),
            (both.dbias, one.dbias, other.dbias),
        ] {
            let want = 2.0 * one - 3.0 * other;
            assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-13), "{kind:?} {shape:?}");
        }
    }
}

#[test]
fn gradients_by_hand() {
    // rstd^2 is 3/2, and the means of g and g * xhat are 1/3 and -rstd/3.
    let x = array![[-1.0, 0.0, 1.0], [10.0, 20.0, 30.0]].into_dyn();
    let dy = array![[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]].into_dyn();
    let r = 1.5_f64.sqrt();
    let out = layer_norm_backward(x.view(), dy.view(), 1, None, 0.0);
    assert_close(&out.dx, &array![[r / 6.0, -r / 3.0, r / 6.0], [0.0, 0.0, 0.0]].into_dyn());
    assert_close(&out.dweight, &vector(&[-r, 0.0, 0.0]));
    assert_close(&out.dbias, &vector(&[1.0, 0.0, 0.0]));

    // rstd^2 is 2/25, and the mean of g * xhat is 3/2 rstd.
    let x = array![[3.0, 4.0]].into_dyn();
    let dy = array![[1.0, 0.0]].into_dyn();
    let r = 0.08_f64.sqrt();
    let out = rms_norm_backward(x.view(), dy.view(), 1, None, 0.0, 1.0);
    assert_close(&out.dx, &array![[0.64 * r, -0.48 * r]].into_dyn());
    assert_close(&out.dweight, &vector(&[3.0 * r, 0.0]));
    // The offset belongs to the factor.
    let zero = vector(&[0.0, 0.0]);
    let zero_centred = rms_norm_backward(x.view(), dy.view(), 1, Some(zero.view()), 0.0, 1.0);
    assert_eq!(zero_centred.dx, out.dx);
    assert_eq!(zero_centred.dweight, out.dweight);

    // Given statistics are constants.
    let x = array![[1.0, 5.0], [3.0, 7.0]].into_dyn();
    let dy = array![[1.0, 0.5], [-2.0, 0.25]].into_dyn();
    let (mean, var) = (vector(&[1.0, 6.0]), vector(&[4.0, 0.25]));
    let weight = vector(&[3.0, -1.0]);
    let out = batch_norm_eval_backward(x.view(), dy.view(), 1, mean.view(), var.view(), Some(weight.view()), 0.0);
    assert_eq!(out.dx, array![[1.5, -1.0], [-3.0, -0.5]].into_dyn());
    assert_eq!(out.dweight, vector(&[-2.0, -0.5]));
    assert_eq!(out.dbias, vector(&[-1.0, 0.75]));
}

#[test]
fn gradients_of_norms_that_coincide() {
    let shape = [3, 4, 5, 2];
    let (x, dy, w) = (scattered(&shape), dy_of(&shape), scattered(&[4]));
    let w = Some(&w);
    let same = |one: Backward, other: Backward| {
        assert_close(&one.dx, &other.dx);
        assert_close(&one.dx_scale, &other.dx_scale);
        assert_close(&one.dweight, &other.dweight);
        assert_close(&one.dweight_scale, &other.dweight_scale);
        assert_close(&one.dbias, &other.dbias);
        assert_close(&one.dbias_scale, &other.dbias_scale);
    };
    // One channel for each group.
    same(Instance(1).backward(&x, &dy, w), Group(1, 4).backward(&x, &dy, w));
    // One group of all channels.
    let (group, layer) = (Group(1, 1).backward(&x, &dy, None), Layer(3).backward(&x, &dy, None));
    assert_close(&group.dx, &layer.dx);
    assert_close(&group.dx_scale, &layer.dx_scale);
    assert_close(&group.dbias, &layer.dbias.sum_axis(Axis(2)).sum_axis(Axis(1)));
    // A batch of one sample.
    let first = |a: &ArrayD<f64>| a.slice_axis(Axis(0), (..1).into()).to_owned();
    let (one, one_dy) = (first(&x), first(&dy));
    same(BatchTrain(1).backward(&one, &one_dy, w), Instance(1).backward(&one, &one_dy, w));
    // That sample without a batch axis.
    let batched = |mut out: Backward| {
        out.dx = out.dx.insert_axis(Axis(0));
        out.dx_scale = out.dx_scale.insert_axis(Axis(0));
        out
    };
    let sample = |a: &ArrayD<f64>| a.index_axis(Axis(0), 0).to_owned();
    let (alone, alone_dy) = (sample(&x), sample(&dy));
    same(batched(Instance(0).backward(&alone, &alone_dy, w)), Instance(1).backward(&one, &one_dy, w));
    same(batched(Group(0, 2).backward(&alone, &alone_dy, w)), Group(1, 2).backward(&one, &one_dy, w));
    // The channels moved last, in memory as they were.
    let to_last = |a: &ArrayD<f64>| a.clone().permuted_axes(IxDyn(&[0, 2, 3, 1]));
    let (last, last_dy) = (to_last(&x), to_last(&dy));
    for (of_first, of_last) in [
        (Group(1, 2), Group(3, 2)),
        (Instance(1), Instance(3)),
        (BatchTrain(1), BatchTrain(3)),
        (BatchEval(1), BatchEval(3)),
    ] {
        let mut first = of_first.backward(&x, &dy, w);
        (first.dx, first.dx_scale) = (to_last(&first.dx), to_last(&first.dx_scale));
        same(first, of_last.backward(&last, &last_dy, w));
    }
}

#[test]
fn gradients_of_empty_arrays() {
    for shape in [[0, 4, 3], [2, 4, 0], [2, 0, 3], [0, 0, 0]] {
        let x = ArrayD::<f64>::zeros(&shape[..]);
        for kind in [
            Layer(1),
            Layer(3),
            Rms(2, 1.0),
            Group(1, 2),
            Group(0, 1),
            Instance(1),
            Instance(0),
            BatchTrain(1),
            BatchTrain(2),
            BatchEval(1),
            BatchEval(0),
        ] {
            let parameter_shape = kind.parameter_shape(&shape);
            let weight = scattered(&parameter_shape);
            for weight in [None, Some(&weight)] {
                let out = kind.backward(&x, &x, weight);
                assert_eq!(out.dx.shape(), shape, "{kind:?}");
                assert_eq!(out.dx_scale.shape(), shape, "{kind:?}");
                for sums in [out.dweight, out.dbias, out.dweight_scale, out.dbias_scale] {
                    assert_eq!(sums, ArrayD::<f64>::zeros(&parameter_shape[..]), "{kind:?} {shape:?}");
                }
            }
        }
    }
}

#[test]
fn gradients_far_from_zero() {
    // The shift is exact, so that only the roundings of the mean differ.
    let x = scattered(&[40, 6]);
    let dy = dy_of(&[40, 6]);
    let far = &x + f64::from(1 << 20);
    for kind in [Layer(1), Layer(2), Group(1, 2), Group(0, 8), BatchTrain(1), BatchTrain(0)] {
        let (near, far) = (kind.backward(&x, &dy, None), kind.backward(&far, &dy, None));
        for (near, far) in [(near.dx, far.dx), (near.dweight, far.dweight)] {
            let largest = |a: &ArrayD<f64>| a.iter().fold(0.0_f64, |l, v| l.max(v.abs()));
            let off = largest(&(&near - &far)) / largest(&near);
            assert!(off < 1e-9, "{kind:?} is off by {off:e}");
        }
    }
}

#[test]
fn scales_of_gradients_are_of_their_terms() {
    // xhat is sqrt(15) for the first and -1 / sqrt(15) for the others.
    let mut x = ArrayD::zeros(&[1, 16][..]);
    x[[0, 0]] = 1.0;
    let dy = ArrayD::ones(&[1, 16][..]);
    let out = layer_norm_backward(x.view(), dy.view(), 1, None, 0.0);
    let rstd = 16.0 / 15.0_f64.sqrt();
    assert!(out.dx.iter().all(|v| v.abs() < 1e-14));
    // The mean of |g * xhat| is sqrt(15) / 8, and 15 / 8 is more than |g|.
    assert_close(&out.dx_scale, &ArrayD::from_elem(&[1, 16][..], rstd * 15.0 / 8.0));
    // Given, the same statistics add nothing up; what is largest in the channel counts.
    let (mean, var) = (vector(&[1.0 / 16.0]), vector(&[15.0 / 256.0]));
    let dy = x.mapv(|v| if v > 0.0 { -2.0 } else { 1.0 });
    let (x, dy) = (x.permuted_axes(IxDyn(&[1, 0])), dy.permuted_axes(IxDyn(&[1, 0])));
    let out = batch_norm_eval_backward(x.view(), dy.view(), 1, mean.view(), var.view(), None, 0.0);
    assert_close(&out.dx_scale, &ArrayD::from_elem(&[16, 1][..], 2.0 * rstd));

    // The terms of a sum count by their size, not by what they cancel to.
    let x = array![[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]].into_dyn();
    let dy = array![[2.0, 3.0, 0.0], [-2.0, 0.0, 4.0]].into_dyn();
    let out = layer_norm_backward(x.view(), dy.view(), 1, None, 0.0);
    let r = 1.5_f64.sqrt();
    assert_close(&out.dweight, &vector(&[0.0, 0.0, 4.0 * r]));
    assert_close(&out.dweight_scale, &vector(&[4.0 * r, 3.0 * r, 4.0 * r]));
    assert_close(&out.dbias, &vector(&[0.0, 3.0, 4.0]));
    assert_close(&out.dbias_scale, &vector(&[4.0, 3.0, 4.0]));
    // The groups each have their own: the first 3 * rstd, against 2/3 of rstd^3.
    assert_close(&out.dx_scale, &array![[3.0 * r, 3.0 * r, 3.0 * r], [4.0 * r, 4.0 * r, 4.0 * r]].into_dyn());
}

#[test]
fn non_finite_gradients_stay_in_their_group() {
    let shape = [3, 4];
    let (x, dy) = (scattered(&shape), dy_of(&shape));
    let plain = Layer(1).backward(&x, &dy, None);
    let mut broken = x.clone();
    broken[[0, 1]] = f64::INFINITY;
    let mut broken_dy = dy.clone();
    broken_dy[[2, 3]] = f64::NAN;
    let out = Layer(1).backward(&broken, &broken_dy, None);
    let row = |a: &ArrayD<f64>, i: usize| a.index_axis(Axis(0), i).to_owned();
    assert!([0, 2].iter().all(|&i| row(&out.dx, i).iter().all(|v| v.is_nan())));
    assert_eq!(row(&out.dx, 1), row(&plain.dx, 1));
    assert_eq!(row(&out.dx_scale, 1), row(&plain.dx_scale, 1));
    assert!(out.dx_scale.iter().all(|v| v.is_finite()));
    assert!(out.dweight.iter().all(|v| v.is_nan()));
    assert_eq!(out.dbias.iter().map(|v| v.is_nan()).collect::<Vec<_>>(), [false, false, false, true]);

    // Given statistics: the infinity stays where it is, and does not hide its channel's scale.
    let mut broken = dy.clone();
    broken[[0, 0]] = f64::INFINITY;
    let (plain, out) = (BatchEval(1).backward(&x, &dy, None), BatchEval(1).backward(&x, &broken, None));
    assert_eq!(out.dx[[0, 0]], f64::INFINITY);
    assert_eq!(out.dx[[1, 0]], plain.dx[[1, 0]]);
    assert!(out.dx_scale[[0, 0]].is_finite() && out.dx_scale[[0, 0]] > 0.0);
}

#[test]
#[should_panic(expected = "dy must have the shape of x")]
fn dy_must_have_the_shape_of_x() {
    Layer(1).backward(&scattered(&[2, 3]), &scattered(&[1, 3]), None);
}
