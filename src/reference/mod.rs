//! The norms in plain float64, to check other implementations against.
//!
//! Every function here is the textbook definition over plain array axes: take the mean over the
//! axes of a group, take the mean squared distance from it over the same axes, subtract, divide,
//! scale, shift. The norms differ only in which axes make up a group.
//!
//! Sums are compensated: whatever the size of a group, the error of its mean is a few units in the
//! last place of the mean magnitude, and so is that of its variance. What is left is the rounding of
//! the mean itself, which puts an error of about `1e-16 * |mean| / std` into the normalized values.
//!
//! | function | its gradients | a group is | paper |
//! |---|---|---|---|
//! | [`layer_norm`] | [`layer_norm_backward`] | the last axes, for each index of the others | Ba et al. 2016 |
//! | [`layer_norm_over_axes`] | [`layer_norm_over_axes_backward`] | any axes, for each index of the others | as for `layer_norm` |
//! | [`rms_norm`] | [`rms_norm_backward`] | as for `layer_norm` | Zhang & Sennrich 2019 |
//! | [`rms_norm_over_axes`] | [`rms_norm_over_axes_backward`] | as for `layer_norm_over_axes` | as for `rms_norm` |
//! | [`group_norm`] | [`group_norm_backward`] | some channels of one sample | Wu & He 2018 |
//! | [`instance_norm`] | [`instance_norm_backward`] | one channel of one sample | Ulyanov et al. 2016 |
//! | [`batch_norm_train`] | [`batch_norm_train_backward`] | one channel | Ioffe & Szegedy 2015 |
//! | [`batch_norm_eval`] | [`batch_norm_eval_backward`] | one channel | as for `batch_norm_train` |
//! | [`mean_variance_norm`], [`lp_norm`] | | any axes | the operators of ONNX |
//! | [`modulated`], of any of them | [`modulated_backward`] | as for the norm | Perez et al. 2017 |
//! | [`added`], of any of them | those of the norm | as for the norm | |
//! | [`activated`], of any of them | [`activated_backward`] | as for the norm | |
//! | `norm(z)` of `z = x + residual` | `norm_backward` of `z`, see below | as for `norm` | |
//!
//! Every gradient is one formula, given at [`Backward`]; the norms differ in the group and in what they
//! take from it.
//!
//! A residual needs no function of its own: add it, and call the norm on the sum `z`. Going back, `x` and
//! `residual` have the same gradient, which is `dx` of the norm at `z` plus the gradient that comes in for
//! `z` itself where it is used again, as the next residual; errors are measured against `dx_scale` plus the
//! magnitude of what is added.
//!
//! The code favours being easy to believe over being fast: it makes several passes and keeps
//! whole intermediate arrays (three to four times the input at the peak, and for gradients about
//! six).
//!
//! # Panics
//!
//! The functions assert that the shapes they are given fit together and panic with a message if
//! they do not. Nothing else panics: empty arrays and non-finite values are taken as they come.
//!
//! # Example
//!
//! ```
//! use wgpu_norm::ndarray::array;
//! use wgpu_norm::reference;
//!
//! let x = array![[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]].into_dyn();
//! let out = reference::batch_norm_train(x.view(), 2, None, None, 0.0);
//! assert_eq!(out.mean, Some(array![4.0, 5.0].into_dyn()));
//! assert_eq!(out.variance, Some(array![5.0, 5.0].into_dyn()));
//!
//! // How far is a float32 result from it?
//! let got = out.y.mapv(|v| v as f32);
//! let worst = reference::largest_error(got.view(), out.y.view(), out.scale.view()).unwrap();
//! assert!(worst.relative < 1e-7);
//! ```

mod activation;
mod backward;
#[cfg(test)]
mod backward_tests;
mod batch;
mod group;
mod instance;
mod layer;
mod lp;
mod modulation;
mod mvn;
mod rms;
#[cfg(test)]
mod tests;

pub(crate) use activation::largest_slope;
pub use activation::{activated, activated_backward};
pub use backward::{Backward, Bounded};
pub use batch::{
    batch_norm_eval, batch_norm_eval_backward, batch_norm_train, batch_norm_train_backward, unbiased, update_running,
};
pub use group::{group_norm, group_norm_backward};
pub use instance::{instance_norm, instance_norm_backward};
pub use layer::{layer_norm, layer_norm_backward, layer_norm_over_axes, layer_norm_over_axes_backward};
pub use lp::lp_norm;
pub use modulation::{Gated, added, gated, gated_backward, modulated, modulated_backward};
pub use mvn::mean_variance_norm;
pub use rms::{rms_norm, rms_norm_backward, rms_norm_over_axes, rms_norm_over_axes_backward};

use ndarray::{ArrayD, ArrayView1, ArrayViewD, Axis, Zip};

use crate::element::Element;

/// The largest `|error| / scale` that the library promises of its results, but for errors of less than the smallest normal
/// f32.
pub const TOLERANCE: f64 = 4e-6;

/// What a norm gives back.
///
/// The shape of the statistics differs from norm to norm; see the function.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct Forward {
    /// The normalized array, in the shape of `x`.
    pub y: ArrayD<f64>,
    /// The mean of each group. `None` where the norm takes none from `x`: [`rms_norm`] and
    /// [`batch_norm_eval`].
    pub mean: Option<ArrayD<f64>>,
    /// The population variance (divided by the count, not the count less one) of each group.
    /// `None` where `mean` is.
    pub variance: Option<ArrayD<f64>>,
    /// What each group was multiplied by: `1 / sqrt(variance + eps)`, or the like.
    pub rstd: ArrayD<f64>,
    /// For each element of `y`, the size of the terms that were added up to make the values of its
    /// group: with `y = xhat * weight + bias`, the largest finite `|xhat * weight|` or `|bias|`
    /// anywhere in the group, and 0 where there is none. In the shape of `y`.
    ///
    /// A rounding error should be measured against this rather than against `y`, which can be
    /// arbitrarily close to zero when the terms cancel. Non-finite terms are left out, so that an
    /// infinity does not hide the errors of its neighbours.
    pub scale: ArrayD<f64>,
}

/// The element that differs most from what was wanted, as found by [`largest_error`].
#[derive(Debug, Clone, PartialEq)]
pub struct Deviation {
    /// `|got - want|`; infinite if one of them is NaN.
    pub absolute: f64,
    /// `|got - want| / scale`, after the smallest normal f32 (1.2e-38) is taken from the error: adapters may flush what is
    /// smaller. Infinite if there is an error and `scale` is 0, or if one of them is NaN.
    pub relative: f64,
    /// Where the element is: one index for each axis.
    pub index: Vec<usize>,
    /// The value that was checked.
    pub got: f64,
    /// The value it should have been.
    pub want: f64,
}

/// Finds the element of `got` with the largest [`relative`](Deviation::relative) distance from
/// `want`, the first of them if there are several. `None` if the arrays are empty.
///
/// All three arrays have the same shape; `scale` is usually [`Forward::scale`]. A NaN counts as
/// equal to a NaN, and an infinity to one of the same sign, or to a number that is too large for an f32;
/// a NaN against anything else is infinitely far off.
///
/// # Panics
///
/// If the shapes differ.
pub fn largest_error(
    got: ArrayViewD<'_, f32>,
    want: ArrayViewD<'_, f64>,
    scale: ArrayViewD<'_, f64>,
) -> Option<Deviation> {
    largest_error_of(Element::F32, got, want, scale)
}

/// [`largest_error`] of what was stored as `element`: from the error half a unit in the last place of the wanted value is taken, which
/// is what one rounding may do, and an infinity is right where a value within [`TOLERANCE`]` * scale` rounds to it. Of f32, whose
/// rounding the tolerance covers, nothing is taken.
///
/// # Panics
///
/// If the shapes differ.
pub fn largest_error_of(
    element: Element,
    got: ArrayViewD<'_, f32>,
    want: ArrayViewD<'_, f64>,
    scale: ArrayViewD<'_, f64>,
) -> Option<Deviation> {
    assert_eq!(got.shape(), want.shape(), "got and want differ in shape");
    assert_eq!(scale.shape(), want.shape(), "scale and want differ in shape");
    let mut worst: Option<(usize, Deviation)> = None;
    for (position, ((&got, &want), &scale)) in got.iter().zip(&want).zip(&scale).enumerate() {
        let got = f64::from(got);
        let (absolute, relative) = distance(element, got, want, scale);
        if worst.as_ref().is_none_or(|(_, w)| relative > w.relative) {
            let index = Vec::new();
            worst = Some((position, Deviation { absolute, relative, index, got, want }));
        }
    }
    worst.map(|(position, deviation)| Deviation { index: index_of(position, got.shape()), ..deviation })
}

/// `|got - want|`, as it is and over `scale`; never NaN.
fn distance(element: Element, got: f64, want: f64, scale: f64) -> (f64, f64) {
    let beyond = want.abs() + TOLERANCE * scale >= element.overflow();
    let overflows = element != Element::F32 && beyond && got == f64::INFINITY.copysign(want);
    if overflows || got == f64::from(want as f32) || (got.is_nan() && want.is_nan()) {
        return (0.0, 0.0);
    }
    let or_infinite = |v: f64| if v.is_nan() { f64::INFINITY } else { v };
    let absolute = or_infinite((got - want).abs());
    let more = absolute - element.rounding(want) - f64::from(f32::MIN_POSITIVE);
    (absolute, if more > 0.0 { or_infinite(more / scale) } else { 0.0 })
}

/// The index of the element at `position` when the elements are counted in logical order.
fn index_of(mut position: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (i, &length) in index.iter_mut().zip(shape).rev() {
        *i = position % length;
        position /= length;
    }
    index
}

/// The last `count` of `ndim` axes.
fn last_axes(ndim: usize, count: usize) -> Vec<usize> {
    assert!((1..=ndim).contains(&count), "{count} normalized axes of an array with {ndim} axes");
    (ndim - count..ndim).collect()
}

/// All of `ndim` axes but those in `kept`.
fn axes_except(ndim: usize, kept: &[usize]) -> Vec<usize> {
    (0..ndim).filter(|axis| !kept.contains(axis)).collect()
}

/// The sum of one line of elements, with the rounding error of every addition carried along.
fn compensated_sum(lane: ArrayView1<'_, f64>) -> f64 {
    let (mut sum, mut lost) = (0.0, 0.0);
    for &v in lane {
        // Knuth's two-sum: `total + error` is exactly `sum + v`.
        let total = sum + v;
        let part = total - sum;
        lost += (sum - (total - part)) + (v - part);
        sum = total;
    }
    // For an infinite sum `lost` is NaN, and means nothing.
    if sum.is_finite() { sum + lost } else { sum }
}

/// Reduces one axis after the other to length 1, each of its lines by `reduce`.
fn reduce_over(x: ArrayViewD<'_, f64>, axes: &[usize], reduce: impl Fn(ArrayView1<'_, f64>) -> f64) -> ArrayD<f64> {
    let mut reduced: Option<ArrayD<f64>> = None;
    for &axis in axes {
        let axis = Axis(axis);
        let current = reduced.as_ref().map_or(x.view(), |r| r.view());
        // A line of one element is its own sum and its own maximum.
        if current.len_of(axis) != 1 {
            reduced = Some(current.map_axis(axis, &reduce).insert_axis(axis));
        }
    }
    reduced.unwrap_or_else(|| x.to_owned())
}

/// The sum over `axes`, which are kept with length 1.
fn sum_over(x: ArrayViewD<'_, f64>, axes: &[usize]) -> ArrayD<f64> {
    reduce_over(x, axes, compensated_sum)
}

/// The mean over `axes`, which are kept with length 1. NaN over no elements.
fn mean_over(x: ArrayViewD<'_, f64>, axes: &[usize]) -> ArrayD<f64> {
    let count: usize = axes.iter().map(|&axis| x.len_of(Axis(axis))).product();
    let mut mean = sum_over(x, axes);
    mean.mapv_inplace(|sum| sum / count as f64);
    mean
}

/// The maximum of non-negative values over `axes`, which are kept with length 1. 0 over no
/// elements.
fn max_over(x: ArrayViewD<'_, f64>, axes: &[usize]) -> ArrayD<f64> {
    reduce_over(x, axes, |lane| lane.iter().copied().fold(0.0, f64::max))
}

/// The magnitude, where it has one to measure errors against: 0 for NaN and the infinities.
fn finite_size(v: f64) -> f64 {
    if v.is_finite() { v.abs() } else { 0.0 }
}

/// An array brought to mean 0 and variance (about) 1 over some axes, and how. The statistics keep
/// those axes with length 1.
struct Standardized {
    xhat: ArrayD<f64>,
    mean: ArrayD<f64>,
    variance: ArrayD<f64>,
    rstd: ArrayD<f64>,
}

/// `xhat = (x - mean) / sqrt(variance + eps)`, mean and variance being taken over `axes`.
fn standardize(x: ArrayViewD<'_, f64>, axes: &[usize], eps: f64) -> Standardized {
    let mean = mean_over(x.view(), axes);
    let centred = &x - &mean;
    let variance = mean_over(centred.mapv(|d| d * d).view(), axes);
    let rstd = variance.mapv(|v| rstd(v, eps));
    Standardized { xhat: centred * &rstd, mean, variance, rstd }
}

/// `1 / sqrt(variance + eps)`.
fn rstd(variance: f64, eps: f64) -> f64 {
    1.0 / (variance + eps).sqrt()
}

/// `y = xhat * weight + bias`, and the [scale](Forward::scale) of its terms over `axes`. Weight
/// and bias broadcast to the shape of `xhat`.
fn scale_and_shift(
    xhat: ArrayD<f64>,
    weight: Option<ArrayViewD<'_, f64>>,
    bias: Option<ArrayViewD<'_, f64>>,
    axes: &[usize],
) -> (ArrayD<f64>, ArrayD<f64>) {
    let mut y = xhat;
    if let Some(weight) = weight {
        y *= &weight;
    }
    let mut terms = y.mapv(finite_size);
    if let Some(bias) = bias {
        Zip::from(&mut terms).and_broadcast(&bias).for_each(|t, &b| *t = t.max(finite_size(b)));
        y += &bias;
    }
    let largest = max_over(terms.view(), axes);
    terms.assign(&largest);
    (y, terms)
}

/// A vector with one value for each channel as an array of `ndim` axes, all of length 1 but
/// `channel_axis`.
fn per_channel(v: ArrayViewD<'_, f64>, ndim: usize, channel_axis: usize) -> ArrayViewD<'_, f64> {
    along(v, ndim, &[channel_axis])
}

/// An array whose axes are `axes` of `ndim`, with the others of length 1 between them.
fn along<'a>(v: ArrayViewD<'a, f64>, ndim: usize, axes: &[usize]) -> ArrayViewD<'a, f64> {
    axes_except(ndim, axes).into_iter().fold(v, |v, axis| v.insert_axis(Axis(axis)))
}

/// Removes `axes`, in ascending order and each of length 1.
fn drop_axes(x: ArrayD<f64>, axes: &[usize]) -> ArrayD<f64> {
    let drop = |x: ArrayD<f64>, &axis: &usize| x.index_axis_move(Axis(axis), 0);
    axes.iter().rev().fold(x, drop)
}

/// The channel count, after checking that the axis exists and that every given per-channel vector
/// is one-dimensional and has one value for each channel.
fn check_channels(
    x: &ArrayViewD<'_, f64>,
    channel_axis: usize,
    vectors: &[(&str, Option<&ArrayViewD<'_, f64>>)],
) -> usize {
    assert!(channel_axis < x.ndim(), "channel axis {channel_axis} of an array with {} axes", x.ndim());
    let channels = x.len_of(Axis(channel_axis));
    for (name, vector) in vectors {
        if let Some(vector) = vector {
            assert_eq!(vector.shape(), &[channels], "{name} must have one value per channel");
        }
    }
    channels
}

/// Checks that the axes exist.
fn check_axes(x: &ArrayViewD<'_, f64>, axes: &[usize]) {
    for &axis in axes {
        assert!(axis < x.ndim(), "axis {axis} of an array with {} axes", x.ndim());
    }
}

/// Checks that the axes exist, each once, and that every given array has their lengths; gives the axes in ascending order.
fn check_normalized(
    x: &ArrayViewD<'_, f64>,
    axes: &[usize],
    arrays: &[(&str, Option<&ArrayViewD<'_, f64>>)],
) -> Vec<usize> {
    check_axes(x, axes);
    let ascending: Vec<usize> = (0..x.ndim()).filter(|axis| axes.contains(axis)).collect();
    assert!(ascending.len() == axes.len() && !axes.is_empty(), "{axes:?} must name some axes, each once");
    let normalized_shape: Vec<usize> = ascending.iter().map(|&axis| x.len_of(Axis(axis))).collect();
    for (name, array) in arrays {
        if let Some(array) = array {
            assert_eq!(array.shape(), normalized_shape, "{name} must have the normalized shape");
        }
    }
    ascending
}
