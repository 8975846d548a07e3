//! Root mean square normalization.

use ndarray::{ArrayD, ArrayViewD};

use super::backward::{Statistics, check_dy, gradients};
use super::{Backward, Forward, along, axes_except, check_normalized, last_axes, mean_over, rstd, scale_and_shift};

/// Root mean square layer normalization (Zhang & Sennrich, *Root Mean Square Layer Normalization*,
/// 2019) over the last `normalized_ndim` axes.
///
/// For each index of the leading axes, with the mean taken over the last `normalized_ndim` axes:
///
/// ```text
/// y = x / sqrt(mean(x^2) + eps) * (weight_offset + weight) + bias
/// ```
///
/// `weight` and `bias` have the shape of the normalized axes. Without a weight its whole factor is
/// 1, whatever `weight_offset` is; without a bias nothing is added. `weight_offset` is 0 in the
/// paper; 1 suits weights that are stored as their distance from 1.
///
/// `rstd` has the shape of `x` with the normalized axes as 1, and is NaN for an empty group. There
/// is no mean and no variance.
///
/// # Panics
///
/// If `normalized_ndim` is not in `1..=x.ndim()`, or `weight` or `bias` does not have the shape of
/// the normalized axes.
pub fn rms_norm(
    x: ArrayViewD<'_, f64>,
    normalized_ndim: usize,
    weight: Option<ArrayViewD<'_, f64>>,
    bias: Option<ArrayViewD<'_, f64>>,
    eps: f64,
    weight_offset: f64,
) -> Forward {
    let axes = last_axes(x.ndim(), normalized_ndim);
    rms_norm_over_axes(x, &axes, weight, bias, eps, weight_offset)
}

/// [`rms_norm`] over `axes`, counted from the first, in any order.
///
/// `weight` and `bias` have the lengths of these axes, in the order of `x`. `rstd` has the shape of `x` with these axes as 1.
///
/// # Panics
///
/// If `axes` is empty or names an axis twice or one that `x` does not have, or `weight` or `bias` does not have the lengths of
/// the axes.
pub fn rms_norm_over_axes(
    x: ArrayViewD<'_, f64>,
    axes: &[usize],
    weight: Option<ArrayViewD<'_, f64>>,
    bias: Option<ArrayViewD<'_, f64>>,
    eps: f64,
    weight_offset: f64,
) -> Forward {
    let arrays = [("weight", weight.as_ref()), ("bias", bias.as_ref())];
    let axes = check_normalized(&x, axes, &arrays);
    let ndim = x.ndim();
    let (xhat, rstd) = unit_mean_square(x, &axes, eps);
    let gain = weight.map(|w| w.mapv(|w| weight_offset + w));
    let gain = gain.as_ref().map(|g| along(g.view(), ndim, &axes));
    let bias = bias.map(|bias| along(bias, ndim, &axes));
    let (y, scale) = scale_and_shift(xhat, gain, bias, &axes);
    Forward { y, mean: None, variance: None, rstd, scale }
}

/// The gradients of [`rms_norm`], by the formulas at [`Backward`] without `mean(g)`.
///
/// `dweight` and `dbias` have the shape of the normalized axes, and sum over the leading ones.
///
/// # Panics
///
/// If `normalized_ndim` is not in `1..=x.ndim()`, `dy` does not have the shape of `x`, or `weight` does not
/// have the shape of the normalized axes.
pub fn rms_norm_backward(
    x: ArrayViewD<'_, f64>,
    dy: ArrayViewD<'_, f64>,
    normalized_ndim: usize,
    weight: Option<ArrayViewD<'_, f64>>,
    eps: f64,
    weight_offset: f64,
) -> Backward {
    let axes = last_axes(x.ndim(), normalized_ndim);
    rms_norm_over_axes_backward(x, dy, &axes, weight, eps, weight_offset)
}

/// The gradients of [`rms_norm_over_axes`], by the formulas at [`Backward`] without `mean(g)`.
///
/// `dweight` and `dbias` have the lengths of `axes`, in the order of `x`, and sum over the others.
///
/// # Panics
///
/// As [`rms_norm_over_axes`], and if `dy` does not have the shape of `x`.
pub fn rms_norm_over_axes_backward(
    x: ArrayViewD<'_, f64>,
    dy: ArrayViewD<'_, f64>,
    axes: &[usize],
    weight: Option<ArrayViewD<'_, f64>>,
    eps: f64,
    weight_offset: f64,
) -> Backward {
    let axes = check_normalized(&x, axes, &[("weight", weight.as_ref())]);
    check_dy(&x, &dy);
    let ndim = x.ndim();
    let others = axes_except(ndim, &axes);
    let (xhat, rstd) = unit_mean_square(x, &axes, eps);
    let gain = weight.map(|w| w.mapv(|w| weight_offset + w));
    let gain = gain.as_ref().map(|g| along(g.view(), ndim, &axes));
    gradients(dy, xhat.view(), rstd.view(), gain, Statistics::MeanSquare, &axes, &others)
}

/// `xhat = x / sqrt(mean(x^2) + eps)`, and the factor, the mean being taken over `axes`.
fn unit_mean_square(x: ArrayViewD<'_, f64>, axes: &[usize], eps: f64) -> (ArrayD<f64>, ArrayD<f64>) {
    let mean_square = mean_over(x.mapv(|v| v * v).view(), axes);
    let rstd = mean_square.mapv(|m| rstd(m, eps));
    (&x * &rstd, rstd)
}
