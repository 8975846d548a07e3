//! Scale and shift after a norm and what is added to it; gate and embedding before it.

use ndarray::{ArrayD, ArrayViewD, Axis, Zip};

use super::{Backward, Bounded, Forward};

/// `out` of a norm with a scale and a shift after it: `y * (offset + scale) + shift`, where both broadcast to the shape of `y`, and a scale
/// that is not given makes the factor 1. Errors are measured against the norm's [scale](Forward::scale) times that factor, or the shift,
/// whichever is larger. The rest stays.
///
/// # Example
///
/// ```
/// use wgpu_norm::ndarray::array;
/// use wgpu_norm::reference;
///
/// let x = array![[1.0, 3.0], [10.0, 30.0]].into_dyn();
/// let (scale, shift) = (array![[1.0], [0.0]].into_dyn(), array![[0.0], [5.0]].into_dyn());
/// let norm = reference::layer_norm(x.view(), 1, None, None, 0.0);
/// let out = reference::modulated(norm, Some(scale.view()), Some(shift.view()), 1.0);
/// assert_eq!(out.y, array![[-2.0, 2.0], [4.0, 6.0]].into_dyn());
/// ```
///
/// # Panics
///
/// If scale or shift does not broadcast.
pub fn modulated(
    out: Forward,
    scale: Option<ArrayViewD<'_, f64>>,
    shift: Option<ArrayViewD<'_, f64>>,
    offset: f64,
) -> Forward {
    let factor = factor(scale, offset, out.y.shape());
    let mut moved = Forward { y: out.y * &factor, scale: out.scale * factor.mapv(f64::abs), ..out };
    if let Some(shift) = shift {
        moved = added(moved, shift);
    }
    moved
}

/// `out` of a norm with `other` added to it, which broadcasts to the shape of `y`. Errors are measured against the larger of the norm's
/// [scale](Forward::scale) and what is added. The rest stays.
///
/// # Panics
///
/// If `other` does not broadcast.
pub fn added(mut out: Forward, other: ArrayViewD<'_, f64>) -> Forward {
    let other = other.broadcast(out.y.raw_dim()).expect("what is added must broadcast to the shape of y");
    out.y += &other;
    Zip::from(&mut out.scale).and(&other).for_each(|scale, other| *scale = scale.max(super::finite_size(*other)));
    out
}

/// The gradients of a norm with a scale and a shift after it: `out` is what the norm itself gives, `dy` the gradient of what is made of
/// that, and `backward` the norm's own gradients for a gradient of `out.y`. With `factor = offset + scale`, or 1:
///
/// ```text
/// dscale = sum(dy * y)
/// dshift = sum(dy)
/// ```
///
/// over all elements that share them, `dx` and the others being those for `dy * factor`. The gradients of scale and shift are measured
/// against the sums of the magnitudes of their terms. They have this `shape`, whose axes are those of `y` or 1.
///
/// # Panics
///
/// If `dy` does not have the shape of `out.y`, or scale does not broadcast, and as `backward`.
pub fn modulated_backward(
    out: &Forward,
    dy: ArrayViewD<'_, f64>,
    scale: Option<ArrayViewD<'_, f64>>,
    offset: f64,
    shape: &[usize],
    backward: impl Fn(ArrayViewD<'_, f64>) -> Backward,
) -> Backward {
    assert_eq!(dy.shape(), out.y.shape(), "dy must have the shape of y");
    let of_norm = &dy * &factor(scale, offset, out.y.shape());
    let sizes = dy.mapv(f64::abs);
    Backward {
        dscale: Some(Bounded { value: summed(&dy * &out.y, shape), scale: summed(&sizes * &out.scale, shape) }),
        dshift: Some(Bounded { value: summed(dy.to_owned(), shape), scale: summed(sizes, shape) }),
        ..backward(of_norm.view())
    }
}

/// What a norm is of that has a gate and an embedding before it: `z = residual + gate * x + embedding`, where gate and embedding broadcast to
/// the shape of `x`, and what is not given is 0, or 1 for the gate. Errors are measured against the sum of the magnitudes of the terms.
///
/// # Panics
///
/// If gate or embedding does not broadcast, or the residual does not have the shape of `x`.
pub fn gated(
    x: ArrayViewD<'_, f64>,
    residual: Option<ArrayViewD<'_, f64>>,
    gate: Option<ArrayViewD<'_, f64>>,
    embedding: Option<ArrayViewD<'_, f64>>,
) -> Bounded {
    let mut value = &x * &factor(gate, 0.0, x.shape());
    let mut scale = value.mapv(f64::abs);
    for term in [residual, embedding].into_iter().flatten() {
        value += &term;
        scale += &term.mapv(f64::abs);
    }
    Bounded { value, scale }
}

/// The gradients of [`gated`] for this gradient of `z`, which is that of the residual, too.
pub struct Gated {
    /// That of the branch, which was `x`: `gate * dz`.
    pub dbranch: Bounded,
    /// `sum(branch * dz)` over all elements that share a gate.
    pub dgate: Bounded,
    /// `sum(dz)` over the same.
    pub dembedding: Bounded,
}

/// The gradients of [`gated`], for the gradient `dz` of `z`. Those of gate and embedding have this `shape`, whose axes are those of `dz` or 1,
/// and are measured against the sums of the magnitudes of their terms.
///
/// # Panics
///
/// If the branch does not have the shape of `dz`, or the gate does not broadcast.
pub fn gated_backward(
    dz: ArrayViewD<'_, f64>,
    branch: ArrayViewD<'_, f64>,
    gate: Option<ArrayViewD<'_, f64>>,
    shape: &[usize],
) -> Gated {
    let bounded = |value: ArrayD<f64>| Bounded { scale: value.mapv(f64::abs), value };
    let sum = |terms: ArrayD<f64>| {
        let Bounded { value, scale } = bounded(terms);
        Bounded { value: summed(value, shape), scale: summed(scale, shape) }
    };
    Gated {
        dbranch: bounded(&dz * &factor(gate, 0.0, dz.shape())),
        dgate: sum(&dz * &branch),
        dembedding: sum(dz.to_owned()),
    }
}

/// The sums over the axes that `shape` has 1 for.
fn summed(terms: ArrayD<f64>, shape: &[usize]) -> ArrayD<f64> {
    let shared = (0..shape.len()).filter(|&axis| shape[axis] != terms.shape()[axis]);
    shared.fold(terms.clone(), |sum, axis| sum.sum_axis(Axis(axis)).insert_axis(Axis(axis)))
}

fn factor(scale: Option<ArrayViewD<'_, f64>>, offset: f64, shape: &[usize]) -> ArrayD<f64> {
    match scale {
        Some(scale) => scale.broadcast(shape).expect("scale must broadcast to the shape of y").mapv(|v| offset + v),
        None => ArrayD::ones(shape),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::reference::{layer_norm, layer_norm_backward};

    /// By hand: one row of two, normalized to -1 and 1.
    #[test]
    fn gradients_by_hand() {
        let x = array![[1.0, 3.0]].into_dyn();
        let (scale, dy) = (array![[1.0, 2.0]].into_dyn(), array![[3.0, 5.0]].into_dyn());
        let out = layer_norm(x.view(), 1, None, None, 0.0);
        let back = |g: ArrayViewD<'_, f64>| layer_norm_backward(x.view(), g, 1, None, 0.0);
        let each = modulated_backward(&out, dy.view(), Some(scale.view()), 1.0, &[1, 2], back);
        assert_eq!(each.dscale.unwrap().value, array![[-3.0, 5.0]].into_dyn());
        assert_eq!(each.dshift.unwrap().value, dy);
        // The gradients of weight and bias go by the factors 2 and 3.
        assert_eq!(each.dweight, array![-6.0, 15.0].into_dyn());
        assert_eq!(each.dbias, array![6.0, 15.0].into_dyn());
        let one = modulated_backward(&out, dy.view(), None, 1.0, &[1, 1], back);
        let (dscale, dshift) = (one.dscale.unwrap(), one.dshift.unwrap());
        assert_eq!((dscale.value, dscale.scale), (array![[2.0]].into_dyn(), array![[8.0]].into_dyn()));
        assert_eq!((dshift.value, dshift.scale), (array![[8.0]].into_dyn(), array![[8.0]].into_dyn()));
        assert_eq!(one.dbias, array![3.0, 5.0].into_dyn());
    }

    /// By hand: two samples of two elements, each with a gate and an embedding.
    #[test]
    fn gates_by_hand() {
        let (x, residual) = (array![[1.0, -2.0], [3.0, 4.0]].into_dyn(), array![[10.0, 20.0], [30.0, 40.0]].into_dyn());
        let (gate, embedding) = (array![[2.0], [-1.0]].into_dyn(), array![[0.5], [-7.0]].into_dyn());
        let z = gated(x.view(), Some(residual.view()), Some(gate.view()), Some(embedding.view()));
        assert_eq!(z.value, array![[12.5, 16.5], [20.0, 29.0]].into_dyn());
        assert_eq!(z.scale, array![[12.5, 24.5], [40.0, 51.0]].into_dyn());
        assert_eq!(gated(x.view(), None, None, None).value, x);
        let dz = array![[1.0, 2.0], [-1.0, 3.0]].into_dyn();
        let Gated { dbranch, dgate, dembedding } = gated_backward(dz.view(), x.view(), Some(gate.view()), &[2, 1]);
        assert_eq!(dbranch.value, array![[2.0, 4.0], [1.0, -3.0]].into_dyn());
        assert_eq!((dgate.value, dgate.scale), (array![[-3.0], [9.0]].into_dyn(), array![[5.0], [15.0]].into_dyn()));
        assert_eq!(dembedding.value, array![[3.0], [2.0]].into_dyn());
    }

    /// An offset of 0 makes the scale the factor, and a shift that is larger than all else is what errors are measured against.
    #[test]
    fn offsets_and_scales() {
        let x = array![[1.0, 3.0]].into_dyn();
        let (scale, shift) = (array![[-2.0, 0.0]].into_dyn(), array![[7.0]].into_dyn());
        let norm = || layer_norm(x.view(), 1, None, None, 0.0);
        let out = modulated(norm(), Some(scale.view()), Some(shift.view()), 0.0);
        assert_eq!((out.y, out.scale), (array![[9.0, 7.0]].into_dyn(), array![[7.0, 7.0]].into_dyn()));
        let out = modulated(norm(), Some(scale.view()), None, 0.0);
        assert_eq!((out.y, out.scale), (array![[2.0, 0.0]].into_dyn(), array![[2.0, 0.0]].into_dyn()));
    }
}
