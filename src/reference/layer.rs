//! Layer normalization.

use ndarray::ArrayViewD;

use super::backward::{Statistics, check_dy, gradients};
use super::{Backward, Forward, along, axes_except, check_normalized, last_axes, scale_and_shift, standardize};

/// Layer normalization (Ba, Kiros & Hinton, *Layer Normalization*, 2016) over the last
/// `normalized_ndim` axes.
///
/// For each index of the leading axes, with mean and (population) variance taken over the last
/// `normalized_ndim` axes:
///
/// ```text
/// y = (x - mean) / sqrt(variance + eps) * weight + bias
/// ```
///
/// `weight` and `bias` have the shape of the normalized axes; left out, they are 1 and 0. The
/// statistics have the shape of `x` with the normalized axes as 1. The statistics of an empty
/// group are NaN.
///
/// # Panics
///
/// If `normalized_ndim` is not in `1..=x.ndim()`, or `weight` or `bias` does not have the shape of
/// the normalized axes.
///
/// # Example
///
/// ```
/// use wgpu_norm::ndarray::array;
/// use wgpu_norm::reference;
///
/// let x = array![[1.0, 3.0], [10.0, 30.0]].into_dyn();
/// let out = reference::layer_norm(x.view(), 1, None, None, 0.0);
/// assert_eq!(out.mean, Some(array![[2.0], [20.0]].into_dyn()));
/// assert_eq!(out.y, array![[-1.0, 1.0], [-1.0, 1.0]].into_dyn());
/// ```
pub fn layer_norm(
    x: ArrayViewD<'_, f64>,
    normalized_ndim: usize,
    weight: Option<ArrayViewD<'_, f64>>,
    bias: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Forward {
    let axes = last_axes(x.ndim(), normalized_ndim);
    layer_norm_over_axes(x, &axes, weight, bias, eps)
}

/// [`layer_norm`] over `axes`, counted from the first, in any order.
///
/// `weight` and `bias` have the lengths of these axes, in the order of `x`. The statistics have the shape of `x` with these axes
/// as 1.
///
/// # Panics
///
/// If `axes` is empty or names an axis twice or one that `x` does not have, or `weight` or `bias` does not have the lengths of
/// the axes.
pub fn layer_norm_over_axes(
    x: ArrayViewD<'_, f64>,
    axes: &[usize],
    weight: Option<ArrayViewD<'_, f64>>,
    bias: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Forward {
    let arrays = [("weight", weight.as_ref()), ("bias", bias.as_ref())];
    let axes = check_normalized(&x, axes, &arrays);
    let [weight, bias] = [weight, bias].map(|array| array.map(|array| along(array, x.ndim(), &axes)));
    let s = standardize(x, &axes, eps);
    let (y, scale) = scale_and_shift(s.xhat, weight, bias, &axes);
    Forward { y, mean: Some(s.mean), variance: Some(s.variance), rstd: s.rstd, scale }
}

/// The gradients of [`layer_norm`], by the formulas at [`Backward`].
///
/// `dweight` and `dbias` have the shape of the normalized axes, and sum over the leading ones.
///
/// # Panics
///
/// If `normalized_ndim` is not in `1..=x.ndim()`, `dy` does not have the shape of `x`, or `weight` does not
/// have the shape of the normalized axes.
pub fn layer_norm_backward(
    x: ArrayViewD<'_, f64>,
    dy: ArrayViewD<'_, f64>,
    normalized_ndim: usize,
    weight: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Backward {
    let axes = last_axes(x.ndim(), normalized_ndim);
    layer_norm_over_axes_backward(x, dy, &axes, weight, eps)
}

/// The gradients of [`layer_norm_over_axes`], by the formulas at [`Backward`].
///
/// `dweight` and `dbias` have the lengths of `axes`, in the order of `x`, and sum over the others.
///
/// # Panics
///
/// As [`layer_norm_over_axes`], and if `dy` does not have the shape of `x`.
pub fn layer_norm_over_axes_backward(
    x: ArrayViewD<'_, f64>,
    dy: ArrayViewD<'_, f64>,
    axes: &[usize],
    weight: Option<ArrayViewD<'_, f64>>,
    eps: f64,
) -> Backward {
    let axes = check_normalized(&x, axes, &[("weight", weight.as_ref())]);
    check_dy(&x, &dy);
    let others = axes_except(x.ndim(), &axes);
    let weight = weight.map(|weight| along(weight, x.ndim(), &axes));
    let s = standardize(x, &axes, eps);
    gradients(dy, s.xhat.view(), s.rstd.view(), weight, Statistics::MeanAndVariance, &axes, &others)
}
