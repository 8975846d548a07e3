//! Instance normalization.

use ndarray::{ArrayViewD, Axis};

use super::backward::{Statistics, check_dy, gradients};
use super::{Backward, Forward, axes_except, check_channels, drop_axes, per_channel, scale_and_shift, standardize};

/// Instance normalization (Ulyanov, Vedaldi & Lempitsky, *Instance Normalization: The Missing
/// Ingredient for Fast Stylization*, 2016).
///
/// Axis 0 is the batch and `channel_axis` has the `C` channels. For each sample and each channel,
/// with mean and (population) variance taken over all the other axes:
///
/// ```text
/// y = (x - mean) / sqrt(variance + eps) * weight[channel] + bias[channel]
/// ```
///
/// `weight` and `bias` have shape `(C)`; left out, they are 1 and 0. The statistics have shape
/// `(N, C)`, and are NaN for an empty group. `channel_axis == 0` means that `x` is a single sample
/// without a batch axis: `N` is 1.
///
/// # Panics
///
/// If `channel_axis` is not an axis of `x`, or `weight` or `bias` does not have shape `(C)`.
pub fn instance_norm(
    x: ArrayViewD<'_, f64>,
    channel_axis: usize,
    weight: Option<ArrayViewD<'_, f64>>,
    bias: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Forward {
    let vectors = [("weight", weight.as_ref()), ("bias", bias.as_ref())];
    check_channels(&x, channel_axis, &vectors);
    if channel_axis == 0 {
        let mut out = instance_norm(x.insert_axis(Axis(0)), 1, weight, bias, eps);
        out.y = drop_axes(out.y, &[0]);
        out.scale = drop_axes(out.scale, &[0]);
        return out;
    }

    let ndim = x.ndim();
    let axes = axes_except(ndim, &[0, channel_axis]);
    let s = standardize(x, &axes, eps);
    let weight = weight.map(|w| per_channel(w, ndim, channel_axis));
    let bias = bias.map(|b| per_channel(b, ndim, channel_axis));
    let (y, scale) = scale_and_shift(s.xhat, weight, bias, &axes);
    Forward {
        y,
        mean: Some(drop_axes(s.mean, &axes)),
        variance: Some(drop_axes(s.variance, &axes)),
        rstd: drop_axes(s.rstd, &axes),
        scale,
    }
}

/// The gradients of [`instance_norm`], by the formulas at [`Backward`].
///
/// `dweight` and `dbias` have shape `(C)`, and sum over the batch and the positions.
///
/// # Panics
///
/// If `channel_axis` is not an axis of `x`, `dy` does not have the shape of `x`, or `weight` does not have
/// shape `(C)`.
pub fn instance_norm_backward(
    x: ArrayViewD<'_, f64>,
    dy: ArrayViewD<'_, f64>,
    channel_axis: usize,
    weight: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Backward {
    check_channels(&x, channel_axis, &[("weight", weight.as_ref())]);
    check_dy(&x, &dy);
    if channel_axis == 0 {
        let (x, dy) = (x.insert_axis(Axis(0)), dy.insert_axis(Axis(0)));
        return instance_norm_backward(x, dy, 1, weight, eps).without_batch_axis();
    }

    let ndim = x.ndim();
    let axes = axes_except(ndim, &[0, channel_axis]);
    let all_but_channels = axes_except(ndim, &[channel_axis]);
    let s = standardize(x, &axes, eps);
    let weight = weight.map(|w| per_channel(w, ndim, channel_axis));
    let statistics = Statistics::MeanAndVariance;
    gradients(dy, s.xhat.view(), s.rstd.view(), weight, statistics, &axes, &all_but_channels)
}
