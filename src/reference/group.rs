//! Group normalization.

use ndarray::{ArrayD, ArrayViewD, Axis, Slice};

use super::backward::{Statistics, check_dy, gradients};
use super::{Backward, Forward, axes_except, check_channels, drop_axes, per_channel, scale_and_shift, standardize};

/// Group normalization (Wu & He, *Group Normalization*, 2018).
///
/// Axis 0 is the batch and `channel_axis` has the `C` channels, which are cut into `num_groups`
/// runs of `C / num_groups` neighbours. For each sample and each run, with mean and (population)
/// variance taken over its channels and all the other axes:
///
/// ```text
/// y = (x - mean) / sqrt(variance + eps) * weight[channel] + bias[channel]
/// ```
///
/// `weight` and `bias` have shape `(C)`; left out, they are 1 and 0. The statistics have shape
/// `(N, num_groups)`, and are NaN for an empty group. `channel_axis == 0` means that `x` is a
/// single sample without a batch axis: `N` is 1.
///
/// # Panics
///
/// If `channel_axis` is not an axis of `x`, `num_groups` is 0 or does not divide `C`, or `weight`
/// or `bias` does not have shape `(C)`.
pub fn group_norm(
    x: ArrayViewD<'_, f64>,
    channel_axis: usize,
    num_groups: usize,
    weight: Option<ArrayViewD<'_, f64>>,
    bias: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Forward {
    let vectors = [("weight", weight.as_ref()), ("bias", bias.as_ref())];
    let channels = check_channels(&x, channel_axis, &vectors);
    check_groups(channels, num_groups);
    if channel_axis == 0 {
        let mut out = group_norm(x.insert_axis(Axis(0)), 1, num_groups, weight, bias, eps);
        out.y = drop_axes(out.y, &[0]);
        out.scale = drop_axes(out.scale, &[0]);
        return out;
    }

    let axes = axes_except(x.ndim(), &[0]);
    let stats_shape = [x.len_of(Axis(0)), num_groups];
    let mut y = ArrayD::zeros(x.shape());
    let mut scale = ArrayD::zeros(x.shape());
    let mut mean = ArrayD::zeros(&stats_shape[..]);
    let mut variance = mean.clone();
    let mut rstd = mean.clone();
    let size = channels / num_groups;
    for g in 0..num_groups {
        let run = Slice::from(g * size..(g + 1) * size);
        let part = x.slice_axis(Axis(channel_axis), run);
        let of_run = |v: &ArrayViewD<'_, f64>| v.slice_axis(Axis(0), run).to_owned();
        let weight = weight.as_ref().map(of_run);
        let bias = bias.as_ref().map(of_run);

        let s = standardize(part, &axes, eps);
        let (part_y, part_scale) = scale_and_shift(
            s.xhat,
            weight.as_ref().map(|w| per_channel(w.view(), x.ndim(), channel_axis)),
            bias.as_ref().map(|b| per_channel(b.view(), x.ndim(), channel_axis)),
            &axes,
        );

        y.slice_axis_mut(Axis(channel_axis), run).assign(&part_y);
        scale.slice_axis_mut(Axis(channel_axis), run).assign(&part_scale);
        mean.index_axis_mut(Axis(1), g).assign(&drop_axes(s.mean, &axes));
        variance.index_axis_mut(Axis(1), g).assign(&drop_axes(s.variance, &axes));
        rstd.index_axis_mut(Axis(1), g).assign(&drop_axes(s.rstd, &axes));
    }
    Forward { y, mean: Some(mean), variance: Some(variance), rstd, scale }
}

/// The gradients of [`group_norm`], by the formulas at [`Backward`].
///
/// `dweight` and `dbias` have shape `(C)`, and sum over the batch and the positions.
///
/// # Panics
///
/// If `channel_axis` is not an axis of `x`, `num_groups` is 0 or does not divide `C`, `dy` does not have the
/// shape of `x`, or `weight` does not have shape `(C)`.
pub fn group_norm_backward(
    x: ArrayViewD<'_, f64>,
    dy: ArrayViewD<'_, f64>,
    channel_axis: usize,
    num_groups: usize,
    weight: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Backward {
    let channels = check_channels(&x, channel_axis, &[("weight", weight.as_ref())]);
    check_groups(channels, num_groups);
    check_dy(&x, &dy);
    if channel_axis == 0 {
        let (x, dy) = (x.insert_axis(Axis(0)), dy.insert_axis(Axis(0)));
        return group_norm_backward(x, dy, 1, num_groups, weight, eps).without_batch_axis();
    }

    let axes = axes_except(x.ndim(), &[0]);
    let all_but_channels = axes_except(x.ndim(), &[channel_axis]);
    let of_x = ArrayD::zeros(x.shape());
    let of_channels = ArrayD::zeros(&[channels][..]);
    let mut out = Backward {
        dx: of_x.clone(),
        dweight: of_channels.clone(),
        dbias: of_channels.clone(),
        dx_scale: of_x,
        dweight_scale: of_channels.clone(),
        dbias_scale: of_channels,
        dscale: None,
        dshift: None,
        dadded: None,
    };
    let size = channels / num_groups;
    for g in 0..num_groups {
        let run = Slice::from(g * size..(g + 1) * size);
        let s = standardize(x.slice_axis(Axis(channel_axis), run), &axes, eps);
        let weight = weight.as_ref().map(|w| w.slice_axis(Axis(0), run).to_owned());
        let part = gradients(
            dy.slice_axis(Axis(channel_axis), run),
            s.xhat.view(),
            s.rstd.view(),
            weight.as_ref().map(|w| per_channel(w.view(), x.ndim(), channel_axis)),
            Statistics::MeanAndVariance,
            &axes,
            &all_but_channels,
        );

        out.dx.slice_axis_mut(Axis(channel_axis), run).assign(&part.dx);
        out.dx_scale.slice_axis_mut(Axis(channel_axis), run).assign(&part.dx_scale);
        out.dweight.slice_axis_mut(Axis(0), run).assign(&part.dweight);
        out.dweight_scale.slice_axis_mut(Axis(0), run).assign(&part.dweight_scale);
        out.dbias.slice_axis_mut(Axis(0), run).assign(&part.dbias);
        out.dbias_scale.slice_axis_mut(Axis(0), run).assign(&part.dbias_scale);
    }
    out
}

/// Checks that the channels can be cut into so many groups.
fn check_groups(channels: usize, num_groups: usize) {
    assert!(
        num_groups > 0 && channels.is_multiple_of(num_groups),
        "{channels} channels cannot be cut into {num_groups} groups"
    );
}
