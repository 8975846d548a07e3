//! Batch normalization.

use ndarray::{ArrayD, ArrayViewD};

use super::backward::{Statistics, check_dy, gradients};
use super::{
    Backward, Forward, axes_except, check_channels, drop_axes, per_channel, rstd, scale_and_shift, standardize,
};

/// Batch normalization with the statistics of the batch (Ioffe & Szegedy, *Batch Normalization:
/// Accelerating Deep Network Training by Reducing Internal Covariate Shift*, 2015).
///
/// `channel_axis` has the `C` channels. For each channel, with mean and (population) variance
/// taken over all the other axes:
///
/// ```text
/// y = (x - mean) / sqrt(variance + eps) * weight[channel] + bias[channel]
/// ```
///
/// `weight` and `bias` have shape `(C)`; left out, they are 1 and 0. The statistics have shape
/// `(C)`, and are NaN for an empty group. For the running statistics see [`update_running`] and
/// [`unbiased`].
///
/// # Panics
///
/// If `channel_axis` is not an axis of `x`, or `weight` or `bias` does not have shape `(C)`.
pub fn batch_norm_train(
    x: ArrayViewD<'_, f64>,
    channel_axis: usize,
    weight: Option<ArrayViewD<'_, f64>>,
    bias: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Forward {
    let vectors = [("weight", weight.as_ref()), ("bias", bias.as_ref())];
    check_channels(&x, channel_axis, &vectors);
    let ndim = x.ndim();
    let axes = axes_except(ndim, &[channel_axis]);
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

/// Batch normalization with given statistics, as at inference (Ioffe & Szegedy 2015).
///
/// `channel_axis` has the `C` channels. For each channel:
///
/// ```text
/// y = (x - running_mean[channel]) / sqrt(running_var[channel] + eps) * weight[channel]
///     + bias[channel]
/// ```
///
/// All four vectors have shape `(C)`; `weight` and `bias`, left out, are 1 and 0. `rstd` has shape
/// `(C)`; there is no mean and no variance, as none is taken from `x`. The
/// [scale](Forward::scale) is over the whole channel.
///
/// # Panics
///
/// If `channel_axis` is not an axis of `x`, or one of the vectors does not have shape `(C)`.
pub fn batch_norm_eval(
    x: ArrayViewD<'_, f64>,
    channel_axis: usize,
    running_mean: ArrayViewD<'_, f64>,
    running_var: ArrayViewD<'_, f64>,
    weight: Option<ArrayViewD<'_, f64>>,
    bias: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Forward {
    let vectors = [
        ("running mean", Some(&running_mean)),
        ("running variance", Some(&running_var)),
        ("weight", weight.as_ref()),
        ("bias", bias.as_ref()),
    ];
    check_channels(&x, channel_axis, &vectors);
    let ndim = x.ndim();
    let axes = axes_except(ndim, &[channel_axis]);
    let rstd = running_var.mapv(|v| rstd(v, eps));
    let centred = &x - &per_channel(running_mean, ndim, channel_axis);
    let xhat = centred * per_channel(rstd.view(), ndim, channel_axis);
    let weight = weight.map(|w| per_channel(w, ndim, channel_axis));
    let bias = bias.map(|b| per_channel(b, ndim, channel_axis));
    let (y, scale) = scale_and_shift(xhat, weight, bias, &axes);
    Forward { y, mean: None, variance: None, rstd, scale }
}

/// The gradients of [`batch_norm_train`], by the formulas at [`Backward`].
///
/// `dweight` and `dbias` have shape `(C)`, and sum over the batch and the positions. The running
/// statistics have no part in them.
///
/// # Panics
///
/// If `channel_axis` is not an axis of `x`, `dy` does not have the shape of `x`, or `weight` does not have
/// shape `(C)`.
pub fn batch_norm_train_backward(
    x: ArrayViewD<'_, f64>,
    dy: ArrayViewD<'_, f64>,
    channel_axis: usize,
    weight: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Backward {
    check_channels(&x, channel_axis, &[("weight", weight.as_ref())]);
    check_dy(&x, &dy);
    let ndim = x.ndim();
    let axes = axes_except(ndim, &[channel_axis]);
    let s = standardize(x, &axes, eps);
    let weight = weight.map(|w| per_channel(w, ndim, channel_axis));
    gradients(dy, s.xhat.view(), s.rstd.view(), weight, Statistics::MeanAndVariance, &axes, &axes)
}

/// The gradients of [`batch_norm_eval`], the running statistics being constants: by the formulas at
/// [`Backward`] with `dx = rstd * g`.
///
/// `dweight` and `dbias` have shape `(C)`, and sum over the batch and the positions. The
/// [scale](Backward::dx_scale) of `dx` is over the whole channel.
///
/// # Panics
///
/// If `channel_axis` is not an axis of `x`, `dy` does not have the shape of `x`, or one of the vectors does
/// not have shape `(C)`.
pub fn batch_norm_eval_backward(
    x: ArrayViewD<'_, f64>,
    dy: ArrayViewD<'_, f64>,
    channel_axis: usize,
    running_mean: ArrayViewD<'_, f64>,
    running_var: ArrayViewD<'_, f64>,
    weight: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Backward {
    let vectors =
        [("running mean", Some(&running_mean)), ("running variance", Some(&running_var)), ("weight", weight.as_ref())];
    check_channels(&x, channel_axis, &vectors);
    check_dy(&x, &dy);
    let ndim = x.ndim();
    let axes = axes_except(ndim, &[channel_axis]);
    let rstd = running_var.mapv(|v| rstd(v, eps));
    let rstd = per_channel(rstd.view(), ndim, channel_axis);
    let xhat = (&x - &per_channel(running_mean, ndim, channel_axis)) * &rstd;
    let weight = weight.map(|w| per_channel(w, ndim, channel_axis));
    gradients(dy, xhat.view(), rstd, weight, Statistics::Given, &axes, &axes)
}

/// The running statistic after a batch: `keep * running + take * batch`, element by element.
///
/// With PyTorch's `momentum`, `keep` is `1 - momentum` and `take` is `momentum`; with TensorFlow's,
/// it is the other way round. For the plain average of all batches, `take` is `1 / n` for the
/// `n`-th batch, counted from 1.
///
/// # Panics
///
/// If the shapes differ.
pub fn update_running(running: ArrayViewD<'_, f64>, batch: ArrayViewD<'_, f64>, keep: f64, take: f64) -> ArrayD<f64> {
    assert_eq!(running.shape(), batch.shape(), "running and batch differ in shape");
    running.mapv(|r| keep * r) + batch.mapv(|b| take * b)
}

/// The unbiased estimate of a variance from the population variance of `count` values:
/// `variance * count / (count - 1)`, and the variance as it is for a `count` of 1 or 0.
///
/// For [`batch_norm_train`], `count` is the number of elements in a channel: `x.len() / C`.
pub fn unbiased(variance: ArrayViewD<'_, f64>, count: usize) -> ArrayD<f64> {
    if count < 2 {
        return variance.to_owned();
    }
    variance.mapv(|v| v * count as f64 / (count - 1) as f64)
}
