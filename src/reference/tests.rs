use ndarray::{ArrayD, IxDyn, array};

use super::*;

fn example() -> ArrayD<f64> {
    array![[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]].into_dyn()
}

/// Values without any pattern that a wrong axis could fit.
pub(super) fn scattered(shape: &[usize]) -> ArrayD<f64> {
    let mut state = 1_u32;
    ArrayD::from_shape_simple_fn(shape, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    })
}

pub(super) fn vector(values: &[f64]) -> ArrayD<f64> {
    ArrayD::from_shape_vec(IxDyn(&[values.len()]), values.to_vec()).unwrap()
}

#[track_caller]
pub(super) fn assert_close(got: &ArrayD<f64>, want: &ArrayD<f64>) {
    assert_eq!(got.shape(), want.shape());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= 1e-14 * w.abs().max(1.0), "{got} is not {want}");
    }
}

#[test]
fn batch_of_the_worked_example() {
    let out = batch_norm_train(
        example().view(),
        2,
        Some(vector(&[2.0, 3.0]).view()),
        Some(vector(&[10.0, 20.0]).view()),
        0.0,
    );
    assert_eq!(out.mean.unwrap(), vector(&[4.0, 5.0]));
    assert_eq!(out.variance.unwrap(), vector(&[5.0, 5.0]));
    let r = 1.0 / 5.0_f64.sqrt();
    assert_close(&out.rstd, &vector(&[r, r]));
    let (p, q) = (2.0 * r, 3.0 * r);
    let y = array![
        [[10.0 - 3.0 * p, 20.0 - 3.0 * q], [10.0 - p, 20.0 - q]],
        [[10.0 + p, 20.0 + q], [10.0 + 3.0 * p, 20.0 + 3.0 * q]]
    ];
    assert_close(&out.y, &y.into_dyn());
}

#[test]
fn layer_of_the_worked_example() {
    let out = layer_norm(example().view(), 1, None, None, 0.0);
    assert_eq!(out.mean.unwrap(), array![[[1.5], [3.5]], [[5.5], [7.5]]].into_dyn());
    assert_eq!(out.variance.unwrap(), ArrayD::from_elem(&[2, 2, 1][..], 0.25));
    assert_eq!(out.rstd, ArrayD::from_elem(&[2, 2, 1][..], 2.0));
    assert_eq!(out.y.iter().copied().collect::<Vec<_>>(), [-1.0, 1.0].repeat(4));

    let out = layer_norm(example().view(), 2, None, None, 0.0);
    assert_eq!(out.mean.unwrap(), array![[[2.5]], [[6.5]]].into_dyn());
    assert_eq!(out.variance.unwrap(), array![[[1.25]], [[1.25]]].into_dyn());

    let out = layer_norm(example().view(), 3, None, None, 0.0);
    assert_eq!(out.mean.unwrap(), array![[[4.5]]].into_dyn());
    assert_eq!(out.variance.unwrap(), array![[[5.25]]].into_dyn());
}

#[test]
fn layer_over_axes_by_hand() {
    // Along axis 1 the elements are 2 apart, along axes 0 and 2 together 4 and 1: [1, 2, 5, 6] and [3, 4, 7, 8].
    let weight = array![1.0, 10.0].into_dyn();
    let bias = array![0.5, -1.0].into_dyn();
    let out = layer_norm_over_axes(example().view(), &[1], Some(weight.view()), Some(bias.view()), 0.0);
    assert_eq!(out.mean.unwrap(), array![[[2.0, 3.0]], [[6.0, 7.0]]].into_dyn());
    assert_eq!(out.variance.unwrap(), ArrayD::from_elem(&[2, 1, 2][..], 1.0));
    assert_eq!(out.y, array![[[-0.5, -0.5], [9.0, 9.0]], [[-0.5, -0.5], [9.0, 9.0]]].into_dyn());

    let weight = array![[1.0, 2.0], [3.0, 4.0]].into_dyn();
    let out = layer_norm_over_axes(example().view(), &[2, 0], Some(weight.view()), None, 0.0);
    assert_eq!(out.mean.unwrap(), array![[[3.5], [5.5]]].into_dyn());
    assert_eq!(out.variance.unwrap(), array![[[4.25], [4.25]]].into_dyn());
    let rstd = 1.0 / 4.25f64.sqrt();
    let y = array![[[-2.5, -3.0], [-2.5, -3.0]], [[4.5, 10.0], [4.5, 10.0]]].into_dyn();
    assert_close(&out.y, &(y * rstd));

    let out = rms_norm_over_axes(example().view(), &[0], Some(array![1.0, -1.0].into_dyn().view()), None, 0.0, 1.0);
    // The mean squares are 13, 20, 29 and 40; the weight of the second sample is 0.
    let rstd = array![[[13.0, 20.0], [29.0, 40.0]]].mapv(|square: f64| 1.0 / square.sqrt()).into_dyn();
    assert_close(&out.rstd, &rstd);
    let y = array![[[2.0, 4.0], [6.0, 8.0]], [[0.0, 0.0], [0.0, 0.0]]].into_dyn();
    assert_close(&out.y, &(y * rstd));
}

#[test]
#[should_panic(expected = "must name some axes, each once")]
fn axes_are_named_once() {
    layer_norm_over_axes(example().view(), &[1, 1], None, None, 1e-5);
}

#[test]
fn weight_and_bias_of_layer_norm_are_per_element() {
    let weight = array![[1.0, 2.0], [3.0, 4.0]].into_dyn();
    let bias = array![[0.5, -0.5], [0.25, 0.0]].into_dyn();
    let plain = layer_norm(example().view(), 2, None, None, 1e-3);
    let out = layer_norm(example().view(), 2, Some(weight.view()), Some(bias.view()), 1e-3);
    assert_close(&out.y, &(&plain.y * &weight + &bias));
}

#[test]
fn rms_is_of_the_values_themselves() {
    let x = array![[3.0, 4.0], [6.0, 8.0]].into_dyn();
    let out = rms_norm(x.view(), 1, None, None, 0.0, 1.0);
    let first = 1.0 / 12.5_f64.sqrt();
    assert_close(&out.rstd, &array![[first], [first / 2.0]].into_dyn());
    let row = [3.0 * first, 4.0 * first];
    assert_close(&out.y, &array![row, row].into_dyn());
    assert!(out.mean.is_none() && out.variance.is_none());

    let weight = vector(&[0.5, -1.0]);
    let bias = vector(&[1.0, 2.0]);
    let out = rms_norm(x.view(), 1, Some(weight.view()), Some(bias.view()), 0.0, 1.0);
    let row = [1.5 * 3.0 * first + 1.0, 2.0];
    assert_close(&out.y, &array![row, row].into_dyn());
}

#[test]
fn group_norm_with_the_channels_in_the_middle() {
    // Channels along axis 1: the groups of sample 0 are {1, 2} and {3, 4}.
    let out = group_norm(example().view(), 1, 2, None, None, 0.0);
    assert_eq!(out.mean.unwrap(), array![[1.5, 3.5], [5.5, 7.5]].into_dyn());
    assert_eq!(out.variance.unwrap(), ArrayD::from_elem(&[2, 2][..], 0.25));
    assert_eq!(out.rstd, ArrayD::from_elem(&[2, 2][..], 2.0));
    assert_eq!(out.y.iter().copied().collect::<Vec<_>>(), [-1.0, 1.0].repeat(4));
}

#[test]
fn groups_are_runs_of_neighbouring_channels() {
    let x = scattered(&[2, 3, 6, 5]);
    let weight = scattered(&[6]);
    let bias = scattered(&[6]) - 0.5;
    let out = group_norm(x.view(), 2, 2, Some(weight.view()), Some(bias.view()), 1e-5);
    for n in 0..2 {
        for c in 0..6 {
            let of_group = (0..3).flat_map(|i| (0..5).map(move |j| (i, j)));
            let of_group = of_group.flat_map(|(i, j)| {
                let first = c / 3 * 3;
                (first..first + 3).map(move |c| [n, i, c, j])
            });
            let values: Vec<f64> = of_group.map(|i| x[&i[..]]).collect();
            let mean = values.iter().sum::<f64>() / 45.0;
            let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 45.0;
            assert!((out.mean.as_ref().unwrap()[[n, c / 3]] - mean).abs() < 1e-14);
            let xhat = (x[[n, 1, c, 2]] - mean) / (variance + 1e-5).sqrt();
            let y = xhat * weight[[c]] + bias[[c]];
            assert!((out.y[[n, 1, c, 2]] - y).abs() < 1e-13);
        }
    }
}

#[test]
fn norms_that_coincide() {
    let x = scattered(&[3, 4, 5, 2]);
    let (w, b) = (scattered(&[4]), scattered(&[4]) - 0.5);
    let (w, b) = (Some(w.view()), Some(b.view()));
    // One channel for each group.
    let instance = instance_norm(x.view(), 1, w.clone(), b.clone(), 1e-5);
    let group = group_norm(x.view(), 1, 4, w.clone(), b.clone(), 1e-5);
    assert_close(&instance.y, &group.y);
    assert_close(&instance.scale, &group.scale);
    assert_close(&instance.rstd, &group.rstd);
    // One group of all channels.
    let group = group_norm(x.view(), 1, 1, None, None, 1e-5);
    let layer = layer_norm(x.view(), 3, None, None, 1e-5);
    assert_close(&group.y, &layer.y);
    assert_eq!(group.rstd.shape(), [3, 1]);
    // A batch of one sample.
    let one = x.slice_axis(Axis(0), (..1).into());
    let batch = batch_norm_train(one.view(), 1, w.clone(), b.clone(), 1e-5);
    let instance = instance_norm(one.view(), 1, w.clone(), b.clone(), 1e-5);
    assert_close(&batch.y, &instance.y);
    assert_close(&batch.scale, &instance.scale);
    // The batch's own statistics, given.
    let batch = batch_norm_train(x.view(), 1, w.clone(), b.clone(), 1e-5);
    let (mean, var) = (batch.mean.unwrap(), batch.variance.unwrap());
    let eval = batch_norm_eval(x.view(), 1, mean.view(), var.view(), w, b, 1e-5);
    assert_close(&batch.y, &eval.y);
    assert_close(&batch.scale, &eval.scale);
    assert_close(&batch.rstd, &eval.rstd);
}

#[test]
fn any_layout_of_the_input_gives_the_same() {
    let x = scattered(&[3, 4, 5, 2]);
    let last = x.view().permuted_axes(IxDyn(&[0, 2, 3, 1]));
    let (w, b) = (scattered(&[4]), scattered(&[4]) - 0.5);
    let first = group_norm(x.view(), 1, 2, Some(w.view()), Some(b.view()), 1e-5);
    let out = group_norm(last.view(), 3, 2, Some(w.view()), Some(b.view()), 1e-5);
    assert_close(&out.y, &first.y.view().permuted_axes(IxDyn(&[0, 2, 3, 1])).to_owned());
    let copied = last.as_standard_layout().to_owned();
    let out = batch_norm_train(last.view(), 3, Some(w.view()), None, 1e-5);
    assert_close(&out.y, &batch_norm_train(copied.view(), 3, Some(w.view()), None, 1e-5).y);
}

#[test]
fn unbatched_is_a_batch_of_one() {
    let x = scattered(&[4, 3, 5]);
    let batched = x.view().insert_axis(Axis(0));
    let w = scattered(&[4]);
    let one = group_norm(x.view(), 0, 2, Some(w.view()), None, 1e-5);
    let many = group_norm(batched.view(), 1, 2, Some(w.view()), None, 1e-5);
    assert_eq!(one.rstd.shape(), [1, 2]);
    assert_eq!(one.rstd, many.rstd);
    assert_eq!(one.mean, many.mean);
    assert_eq!(one.y.shape(), [4, 3, 5]);
    assert_eq!(one.y, many.y.index_axis(Axis(0), 0));
    assert_eq!(one.scale, many.scale.index_axis(Axis(0), 0));

    let one = instance_norm(x.view(), 0, Some(w.view()), None, 1e-5);
    let many = instance_norm(batched, 1, Some(w.view()), None, 1e-5);
    assert_eq!(one.rstd.shape(), [1, 4]);
    assert_eq!(one.variance, many.variance);
    assert_eq!(one.y, many.y.index_axis(Axis(0), 0));
}

#[test]
fn only_a_batch_and_channels() {
    let x = array![[1.0, 3.0, 5.0, 5.0], [2.0, 2.0, 0.0, 8.0]].into_dyn();
    let group = group_norm(x.view(), 1, 2, None, None, 1e-5);
    assert_eq!(group.mean.unwrap(), array![[2.0, 5.0], [2.0, 4.0]].into_dyn());
    assert_eq!(group.variance.unwrap(), array![[1.0, 0.0], [0.0, 16.0]].into_dyn());
    // Every value is its own group.
    let instance = instance_norm(x.view(), 1, None, None, 1e-5);
    assert_eq!(instance.mean.unwrap(), x);
    assert_eq!(instance.y, ArrayD::<f64>::zeros(&[2, 4][..]));
}

#[test]
fn empty_arrays() {
    let nans = |out: &Forward, shape: &[usize]| {
        assert_eq!(out.rstd.shape(), shape);
        assert!(out.rstd.iter().all(|v| v.is_nan()));
        for stat in [&out.mean, &out.variance].into_iter().flatten() {
            assert_eq!(stat.shape(), shape);
            assert!(stat.iter().all(|v| v.is_nan()));
        }
    };
    for shape in [[0, 4, 3], [2, 4, 0], [2, 0, 3], [0, 0, 0]] {
        let x = ArrayD::<f64>::zeros(&shape[..]);
        let [n, c, l] = shape;
        let channels = ArrayD::ones(&[c][..]);
        let some = || Some(channels.view());
        let last = ArrayD::ones(&[l][..]);

        let out = layer_norm(x.view(), 1, Some(last.view()), None, 1e-5);
        nans(&out, &[n, c, 1]);
        assert_eq!(out.y.shape(), shape);
        let out = layer_norm(x.view(), 3, None, None, 1e-5);
        nans(&out, &[1, 1, 1]);
        let out = rms_norm(x.view(), 1, Some(last.view()), Some(last.view()), 1e-5, 0.0);
        nans(&out, &[n, c, 1]);
        let out = group_norm(x.view(), 1, 2, some(), some(), 1e-5);
        nans(&out, &[n, 2]);
        assert_eq!(out.scale.shape(), shape);
        let out = group_norm(x.view(), 0, 1, None, None, 1e-5);
        nans(&out, &[1, 1]);
        let out = instance_norm(x.view(), 1, some(), some(), 1e-5);
        nans(&out, &[n, c]);
        let out = batch_norm_train(x.view(), 1, some(), some(), 1e-5);
        nans(&out, &[c]);
        assert_eq!(out.y.shape(), shape);
        let out = batch_norm_eval(x.view(), 1, channels.view(), channels.view(), some(), some(), 0.0);
        assert_eq!(out.rstd, channels);
        assert_eq!(out.y.shape(), shape);
        assert_eq!(largest_error(x.mapv(|v| v as f32).view(), out.y.view(), out.scale.view()), None);
    }
}

#[test]
fn statistics_are_accurate() {
    // 1e16 swallows every 1 of a plain float64 sum.
    let mut x = ArrayD::<f64>::ones(&[2001][..]);
    x[0] = 1e16;
    x[2000] = -1e16;
    assert_eq!(mean_over(x.view(), &[0])[0], 1999.0 / 2001.0);

    let x = scattered(&[1000, 64]).mapv(|v| f64::from(v as f32 * 2.0 + 1e6));
    let out = batch_norm_train(x.view(), 1, None, None, 0.0);
    let near = batch_norm_train((&x - 1e6).view(), 1, None, None, 0.0);
    let (variance, want) = (out.variance.unwrap(), near.variance.unwrap());
    assert!(variance.iter().zip(&want).all(|(v, w)| (v - w).abs() < 1e-15 * 1e3 * w));
}

#[test]
fn non_finite_values_stay_in_their_group() {
    let mut x = example();
    x[[0, 0, 0]] = f64::INFINITY;
    x[[1, 0, 0]] = f64::NAN;
    let out = layer_norm(x.view(), 1, None, None, 0.0);
    assert_eq!(out.mean.as_ref().unwrap()[[0, 0, 0]], f64::INFINITY);
    let shown: Vec<bool> = out.y.iter().map(|v| v.is_nan()).collect();
    assert_eq!(shown, [true, true, false, false, true, true, false, false]);
    let scale: Vec<f64> = out.scale.iter().copied().collect();
    assert_eq!(scale, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);

    // Given statistics: the infinity stays where it is, and does not hide its channel's scale.
    let (zero, one) = (vector(&[0.0, 0.0]), vector(&[1.0, 1.0]));
    let out = batch_norm_eval(x.view(), 2, zero.view(), one.view(), None, None, 0.0);
    assert_eq!(out.y[[0, 0, 0]], f64::INFINITY);
    assert_eq!(out.scale[[0, 0, 0]], 7.0);
    assert_eq!(out.scale[[0, 0, 1]], 8.0);
}

#[test]
fn scale_is_of_the_terms_not_of_their_sum() {
    let x = array![[-1.0, 1.0], [10.0, 30.0]].into_dyn();
    let weight = vector(&[1.0, 3.0]);
    let bias = vector(&[-5.0, -3.0]);
    let out = layer_norm(x.view(), 1, Some(weight.view()), Some(bias.view()), 0.0);
    assert_eq!(out.y[[0, 1]], 0.0);
    assert_eq!(out.scale, ArrayD::from_elem(&[2, 2][..], 5.0));
    let out = layer_norm(x.view(), 1, Some(weight.view()), None, 0.0);
    assert_eq!(out.scale, ArrayD::from_elem(&[2, 2][..], 3.0));
    // A bias counts only in its own channel, a group only in its own sample.
    let bias = vector(&[100.0, 0.0]);
    let out = batch_norm_train(x.view(), 1, None, Some(bias.view()), 0.0);
    assert_close(&out.scale, &array![[100.0, 1.0], [100.0, 1.0]].into_dyn());
    let out = rms_norm(x.view(), 1, None, None, 0.0, 0.0);
    let second = 30.0 / 500.0_f64.sqrt();
    assert_close(&out.scale, &array![[1.0, 1.0], [second, second]].into_dyn());
}

#[test]
fn running_statistics() {
    let (running, batch) = (vector(&[0.0, 1.0]), vector(&[4.0, 5.0]));
    let out = update_running(running.view(), batch.view(), 0.75, 0.25);
    assert_eq!(out, vector(&[1.0, 2.0]));
    assert_eq!(unbiased(batch.view(), 5), vector(&[5.0, 6.25]));
    assert_eq!(unbiased(batch.view(), 1), batch);
}

#[test]
fn largest_error_finds_the_worst() {
    let want = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].into_dyn();
    let scale = array![[1.0, 1.0, 1.0], [100.0, 100.0, 100.0]].into_dyn();
    let mut got = want.mapv(|v| v as f32);
    let worst = largest_error(got.view(), want.view(), scale.view()).unwrap();
    assert_eq!((worst.relative, worst.index), (0.0, vec![0, 0]));
    got[[0, 2]] = 3.5;
    got[[1, 1]] = 10.0;
    let worst = largest_error(got.view(), want.view(), scale.view()).unwrap();
    let expected = Deviation { absolute: 0.5, relative: 0.5, index: vec![0, 2], got: 3.5, want: 3.0 };
    assert_eq!(worst, expected);
    // The index is the logical one, whatever the layout.
    let worst = largest_error(got.t(), want.t(), scale.t()).unwrap();
    assert_eq!(worst.index, [2, 0]);
}

#[test]
fn largest_error_of_special_values() {
    let error = |got: f32, want: f64, scale: f64| {
        let got = ArrayD::from_elem(&[1][..], got);
        let worst = largest_error(got.view(), vector(&[want]).view(), vector(&[scale]).view());
        worst.unwrap().relative
    };
    let infinity = f64::INFINITY;
    assert_eq!(error(f32::NAN, f64::NAN, 1.0), 0.0);
    assert_eq!(error(f32::INFINITY, infinity, 0.0), 0.0);
    assert_eq!(error(0.0, -0.0, 0.0), 0.0);
    assert_eq!(error(f32::INFINITY, -infinity, 1.0), infinity);
    assert_eq!(error(f32::INFINITY, 1.0, infinity), infinity);
    assert_eq!(error(f32::NAN, 1.0, 1.0), infinity);
    assert_eq!(error(1.0, f64::NAN, 1.0), infinity);
    assert_eq!(error(1.0, 0.0, 0.0), infinity);
    // As f32 rounds them.
    assert_eq!(error(f32::INFINITY, 1e39, 1e39), 0.0);
    assert_eq!(error(f32::INFINITY, 3e38, 3e38), infinity);
    assert_eq!(error(0.0, 1e-38, 1e-38), 0.0);
    assert_ne!(error(0.0, 3e-38, 1e-38), 0.0);
}

#[test]
#[should_panic(expected = "10 channels cannot be cut into 3 groups")]
fn groups_must_divide_the_channels() {
    group_norm(scattered(&[2, 10]).view(), 1, 3, None, None, 1e-5);
}

#[test]
#[should_panic(expected = "weight must have the normalized shape")]
fn weight_must_have_the_normalized_shape() {
    layer_norm(scattered(&[2, 10]).view(), 1, Some(vector(&[1.0]).view()), None, 1e-5);
}
