//! L1 and L2 normalization.

use ndarray::{ArrayViewD, Axis};

use super::{Forward, check_axes, scale_and_shift, sum_over};

/// L1 or L2 normalization (PyTorch's `functional.normalize`, ONNX's `LpNormalization`) over `axes`, counted from the first.
///
/// For each index of the other axes, with the sum taken over `axes`:
///
/// ```text
/// norm = sum(|x|^p)^(1/p)
/// y = x / max(norm, eps)
/// ```
///
/// There is no mean and no variance; `rstd` is the factor `1 / max(norm, eps)`, in the shape of `x` with `axes` as 1, and NaN
/// for an empty group. Where norm and `eps` are both 0, the factor is 0 and so is `y`, as ONNX has it. A NaN makes its whole
/// group NaN.
///
/// # Panics
///
/// If `p` is not 1 or 2, or `axes` names an axis that `x` does not have.
pub fn lp_norm(x: ArrayViewD<'_, f64>, axes: &[usize], p: u32, eps: f64) -> Forward {
    assert!(p == 1 || p == 2, "p is {p}, and must be 1 or 2");
    check_axes(&x, axes);
    let powers = x.mapv(|v| if p == 1 { v.abs() } else { v * v });
    let sum = sum_over(powers.view(), axes);
    let norm = if p == 1 { sum } else { sum.mapv(f64::sqrt) };
    let empty = axes.iter().any(|&axis| x.len_of(Axis(axis)) == 0);
    let factor = norm.mapv(|n| match if n < eps { eps } else { n } {
        _ if empty => f64::NAN,
        0.0 => 0.0,
        // f64::max would have turned NaN into eps.
        divisor => 1.0 / divisor,
    });
    let (y, scale) = scale_and_shift(&x * &factor, None, None, axes);
    Forward { y, mean: None, variance: None, rstd: factor, scale }
}
