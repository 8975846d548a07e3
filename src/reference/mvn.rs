//! Mean-variance normalization.

use ndarray::ArrayViewD;

use super::{Forward, check_axes, mean_over, scale_and_shift};

/// Mean-variance normalization (ONNX's `MeanVarianceNormalization`) over `axes`, counted from the first.
///
/// For each index of the other axes, with mean and (population) variance taken over `axes`:
///
/// ```text
/// y = (x - mean) / (sqrt(variance) + eps)
/// ```
///
/// The statistics have the shape of `x` with `axes` as 1; `rstd` is `1 / (sqrt(variance) + eps)`. The statistics of an
/// empty group are NaN.
///
/// # Panics
///
/// If `axes` names an axis that `x` does not have.
pub fn mean_variance_norm(x: ArrayViewD<'_, f64>, axes: &[usize], eps: f64) -> Forward {
    check_axes(&x, axes);
    let mean = mean_over(x.view(), axes);
    let centred = &x - &mean;
    let variance = mean_over(centred.mapv(|d| d * d).view(), axes);
    let rstd = variance.mapv(|v| 1.0 / (v.sqrt() + eps));
    let (y, scale) = scale_and_shift(centred * &rstd, None, None, axes);
    Forward { y, mean: Some(mean), variance: Some(variance), rstd, scale }
}
