//! The gradients that the norms' backward passes share.

use ndarray::{ArrayD, ArrayViewD, Zip};

use super::{drop_axes, finite_size, max_over, mean_over, sum_over};

/// What a norm's backward pass gives back: the gradients of a loss `L`, from `dy`, its gradient with
/// respect to the norm's output.
///
/// With `xhat` what the norm makes of `x` before weight and bias, `weight` the whole factor (for
/// [`rms_norm_backward`](super::rms_norm_backward) with its offset), `g = dy * weight`, and `mean` taken
/// over the group:
///
/// ```text
/// dx      = rstd * (g - mean(g) - xhat * mean(g * xhat))
/// dweight = sum(dy * xhat)
/// dbias   = sum(dy)
/// ```
///
/// The last two sum over all elements that the parameter was applied to. A norm that subtracts no mean
/// of its own has no `mean(g)`, and one with given statistics has neither mean.
///
/// The scales are what a rounding error is to be measured against, as [`Forward::scale`](super::Forward::scale)
/// is for `y`: the gradients themselves can be arbitrarily close to zero when their terms cancel.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct Backward {
    /// `dL/dx`, in the shape of `x`.
    pub dx: ArrayD<f64>,
    /// `dL/dweight`, in the shape of the weight. Without a weight, what it would be for a factor of 1.
    pub dweight: ArrayD<f64>,
    /// `dL/dbias`, in the shape of the bias, which has no part in any gradient.
    pub dbias: ArrayD<f64>,
    /// For each element of `dx`, the size of the terms that were added up to make the values of its
    /// group: the larger of the largest `rstd * |g|` and `rstd * max(|xhat|) * mean(|g * xhat|)`, all
    /// of the group. With given statistics, which add nothing up, only the first. What is not finite is
    /// left out, and it is 0 where nothing is finite. In the shape of `dx`.
    pub dx_scale: ArrayD<f64>,
    /// `sum(|dy| * max(|xhat|))`, over the elements that `dweight` sums, the maximum being over the group
    /// of each: an `xhat` close to zero is a difference, with an error of the size of its neighbours'.
    /// What is not finite is left out of the maximum.
    pub dweight_scale: ArrayD<f64>,
    /// `sum(|dy|)`, over the elements that `dbias` sums.
    pub dbias_scale: ArrayD<f64>,
    /// The gradient of a scale after the norm, of [`modulated_backward`](super::modulated_backward) alone.
    pub dscale: Option<Bounded>,
    /// The gradient of a shift after the norm, likewise.
    pub dshift: Option<Bounded>,
    /// The gradient of what is [added](super::added) after the norm and before an activation, of
    /// [`activated_backward`](super::activated_backward) alone: without an activation it is `dy`.
    pub dadded: Option<Bounded>,
}

/// A gradient, and what its errors are measured against.
#[derive(Debug, Clone)]
pub struct Bounded {
    /// The gradient.
    pub value: ArrayD<f64>,
    /// The size of the terms that make it up, element by element.
    pub scale: ArrayD<f64>,
}

impl Backward {
    /// For a single sample: the gradients as they are without the axis of the batch it was made to be.
    pub(super) fn without_batch_axis(self) -> Self {
        Self { dx: drop_axes(self.dx, &[0]), dx_scale: drop_axes(self.dx_scale, &[0]), ..self }
    }
}

/// Which statistics the norm takes from `x`. The gradient of `x` flows through each of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Statistics {
    /// The mean and the variance.
    MeanAndVariance,
    /// The mean square.
    MeanSquare,
    /// None: they are given.
    Given,
}

/// The gradients, and their scales. `rstd` and `weight` broadcast to the shape of `xhat`; the groups are
/// over `group_axes`, and the parameters are shared along `shared_axes`, which are ascending.
pub(super) fn gradients(
    dy: ArrayViewD<'_, f64>,
    xhat: ArrayViewD<'_, f64>,
    rstd: ArrayViewD<'_, f64>,
    weight: Option<ArrayViewD<'_, f64>>,
    statistics: Statistics,
    group_axes: &[usize],
    shared_axes: &[usize],
) -> Backward {
    let g = match weight {
        Some(weight) => &dy * &weight,
        None => dy.to_owned(),
    };
    let (dx, dx_scale) = input_gradient(g, xhat.view(), rstd, statistics, group_axes);

    let products = &dy * &xhat;
    let largest_xhat = max_over(xhat.mapv(finite_size).view(), group_axes);
    let over_shared = |terms: ArrayViewD<'_, f64>| drop_axes(sum_over(terms, shared_axes), shared_axes);
    Backward {
        dx,
        dweight: over_shared(products.view()),
        dbias: over_shared(dy.view()),
        dx_scale,
        dweight_scale: over_shared((dy.mapv(f64::abs) * largest_xhat).view()),
        dbias_scale: over_shared(dy.mapv(f64::abs).view()),
        dscale: None,
        dshift: None,
        dadded: None,
    }
}

/// `dx` from the gradient `g` of `xhat`, and the [scale](Backward::dx_scale) of its terms over `axes`.
fn input_gradient(
    g: ArrayD<f64>,
    xhat: ArrayViewD<'_, f64>,
    rstd: ArrayViewD<'_, f64>,
    statistics: Statistics,
    axes: &[usize],
) -> (ArrayD<f64>, ArrayD<f64>) {
    // The scale of the direct term.
    let mut terms = (&g * &rstd).mapv(finite_size);
    let mut largest = max_over(terms.view(), axes);
    let mut dx = g.clone();
    if let Statistics::MeanAndVariance = statistics {
        dx -= &mean_over(g.view(), axes);
    }
    if let Statistics::MeanAndVariance | Statistics::MeanSquare = statistics {
        let products = &g * &xhat;
        dx -= &(&xhat * &mean_over(products.view(), axes));

        let largest_xhat = max_over(xhat.mapv(finite_size).view(), axes);
        let through_variance = largest_xhat * mean_over(products.mapv(f64::abs).view(), axes) * &rstd;
        Zip::from(&mut largest).and(&through_variance).for_each(|l, &t| *l = l.max(finite_size(t)));
    }
    dx *= &rstd;
    terms.assign(&largest);
    (dx, terms)
}

/// Checks that `dy` has the shape of `x`.
pub(super) fn check_dy(x: &ArrayViewD<'_, f64>, dy: &ArrayViewD<'_, f64>) {
    assert_eq!(dy.shape(), x.shape(), "dy must have the shape of x");
}
