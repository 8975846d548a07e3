//! Root mean square normalization.

use ndarray::ArrayViewD;

use super::{Forward, check_normalized, last_axes, mean_over, rstd, scale_and_shift};

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
    let arrays = [("weight", weight.as_ref()), ("bias", bias.as_ref())];
    check_normalized(&x, normalized_ndim, &arrays);
    let axes = last_axes(x.ndim(), normalized_ndim);
    let mean_square = mean_over(x.mapv(|v| v * v).view(), &axes);
    let rstd = mean_square.mapv(|m| rstd(m, eps));
    let xhat = &x * &rstd;
    let gain = weight.map(|w| w.mapv(|w| weight_offset + w));
    let (y, scale) = scale_and_shift(xhat, gain.as_ref().map(|g| g.view()), bias, &axes);
    Forward { y, mean: None, variance: None, rstd, scale }
}
