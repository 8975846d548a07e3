//! Activations after a norm.

use std::f64::consts::{PI, SQRT_2};

use ndarray::{ArrayD, ArrayViewD, Zip};

use super::{Backward, Bounded, Forward, TOLERANCE};
use crate::epilogue::Activation;

/// `out` of a norm with an activation after it: `y` is what the [`Activation`] makes of it, and errors are measured against the norm's
/// [scale](Forward::scale) times the activation's largest slope. The rest stays.
///
/// # Example
///
/// ```
/// use wgpu_norm::ndarray::array;
/// use wgpu_norm::{Activation, reference};
///
/// let x = array![[1.0, 3.0], [10.0, 30.0]].into_dyn();
/// let out = reference::activated(reference::layer_norm(x.view(), 1, None, None, 0.0), Activation::Relu);
/// assert_eq!(out.y, array![[0.0, 1.0], [0.0, 1.0]].into_dyn());
/// ```
pub fn activated(out: Forward, activation: Activation) -> Forward {
    let slope = bounds(activation).slope;
    Forward { y: out.y.mapv(|y| value(activation, y)), scale: out.scale * slope, ..out }
}

/// The gradients of a norm with an activation after it: `out` is what the norm itself gives, `dy` the gradient of what the activation
/// makes of that, and `backward` the norm's own gradients for a gradient of `out.y`.
///
/// Where `out.y` is off by an error, so is the slope there, by as much times the curvature at most. So the scales are those of the norm's
/// gradients for `|dy| * (slope + curvature * scale)`, with the activation's largest slope and curvature. ReLU has a kink at 0: closer to it
/// than [`TOLERANCE`]` * scale` either slope is right, and the scale covers both.
///
/// # Panics
///
/// If `dy` does not have the shape of `out.y`, and as `backward`.
pub fn activated_backward(
    out: &Forward,
    dy: ArrayViewD<'_, f64>,
    activation: Activation,
    backward: impl Fn(ArrayViewD<'_, f64>) -> Backward,
) -> Backward {
    assert_eq!(dy.shape(), out.y.shape(), "dy must have the shape of y");
    let Bounds { slope, curvature } = bounds(activation);
    let mut of_norm = ArrayD::zeros(dy.raw_dim());
    Zip::from(&mut of_norm).and(&dy).and(&out.y).for_each(|to, &dy, &y| *to = gradient(activation, dy, y));
    let mut sizes = out.scale.mapv(|scale| slope + curvature * scale);
    Zip::from(&mut sizes).and(&dy).and(&out.y).and(&out.scale).for_each(|size, dy, y, scale| {
        let either = activation == Activation::Relu && y.abs() <= TOLERANCE * scale;
        *size = dy.abs() * if either { 1.0 / TOLERANCE } else { *size };
    });
    let Backward { dx_scale, dweight_scale, dbias_scale, dscale, dshift, .. } = backward(sizes.view());
    let found = backward(of_norm.view());
    let bounded = |found: Option<Bounded>, bound: Option<Bounded>| {
        found.zip(bound).map(|(found, bound)| Bounded { value: found.value, scale: bound.scale })
    };
    Backward {
        dx_scale,
        dweight_scale,
        dbias_scale,
        dscale: bounded(found.dscale, dscale),
        dshift: bounded(found.dshift, dshift),
        dadded: Some(Bounded { value: of_norm, scale: sizes }),
        ..found
    }
}

/// The largest slope, and the largest change of it.
struct Bounds {
    slope: f64,
    curvature: f64,
}

/// How much an activation may enlarge an error.
pub(crate) fn largest_slope(activation: Activation) -> f64 {
    bounds(activation).slope
}

fn bounds(activation: Activation) -> Bounds {
    let (slope, curvature) = match activation {
        Activation::Relu => (1.0, 0.0),
        Activation::Silu => (1.1, 0.5),
        Activation::Gelu | Activation::GeluTanh => (1.13, 0.8),
    };
    Bounds { slope, curvature }
}

/// By its definition.
fn value(activation: Activation, y: f64) -> f64 {
    match activation {
        Activation::Relu if y < 0.0 => 0.0,
        Activation::Relu => y,
        Activation::Silu => y * sigmoid(y),
        Activation::Gelu => y * share_below(y),
        Activation::GeluTanh => y * 0.5 * (1.0 + inner(y).tanh()),
    }
}

/// `dy` times the slope; of ReLU `dy` or 0, as one chooses.
fn gradient(activation: Activation, dy: f64, y: f64) -> f64 {
    match activation {
        Activation::Relu if y <= 0.0 => 0.0,
        Activation::Relu => dy,
        Activation::Silu => dy * (sigmoid(y) + y * (sigmoid(y) * (1.0 - sigmoid(y)))),
        Activation::Gelu => dy * (share_below(y) + y * ((-0.5 * y * y).exp() / (2.0 * PI).sqrt())),
        Activation::GeluTanh => {
            let tanh = inner(y).tanh();
            let of_inner = (2.0 / PI).sqrt() * (1.0 + 3.0 * 0.044715 * y * y);
            dy * (0.5 * (1.0 + tanh) + 0.5 * y * ((1.0 - tanh * tanh) * of_inner))
        }
    }
}

fn sigmoid(y: f64) -> f64 {
    1.0 / (1.0 + (-y).exp())
}

fn inner(y: f64) -> f64 {
    (2.0 / PI).sqrt() * (y + 0.044715 * y * y * y)
}

/// The share of a normal distribution below `y`.
fn share_below(y: f64) -> f64 {
    0.5 * (1.0 + erf(y / SQRT_2))
}

/// `2 / sqrt(pi) * exp(-x * x)` times the sum of `x * (2 * x * x)^n / (1 * 3 * .. * (2 * n + 1))`, whose terms do not cancel.
fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.abs() >= 6.0 {
        return 1f64.copysign(x);
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::tests::{assert_close, scattered, vector};
    use super::super::{layer_norm, layer_norm_backward};
    use super::*;

    fn of(activation: Activation, y: &[f64]) -> ArrayD<f64> {
        vector(y).mapv(|y| value(activation, y))
    }

    fn slope_of(activation: Activation, y: &[f64]) -> ArrayD<f64> {
        vector(y).mapv(|y| gradient(activation, 1.0, y))
    }

    /// Those of PyTorch 2.15 in float64: `torch.nn.functional.silu(torch.tensor([..]).double())`, and its gradient for 1.
    #[test]
    fn values_are_those_of_pytorch() {
        let y = [-3.0, -1.0, -0.25, 0.0, 0.5, 2.0, 6.0];
        assert_close(&of(Activation::Relu, &y), &vector(&[0.0, 0.0, 0.0, 0.0, 0.5, 2.0, 6.0]));
        assert_close(&slope_of(Activation::Relu, &y), &vector(&[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]));
        assert_close(
            &of(Activation::Silu, &y),
            &vector(&[
                -0.142_277_619_532_700_35,
                -0.268_941_421_369_995_1,
                -0.109_455_874_778_550_48,
                0.0,
                0.311_229_665_600_927_3,
                1.761_594_155_955_764_6,
                5.985_164_261_060_192,
            ]),
        );
        assert_close(
            &slope_of(Activation::Silu, &y),
            &vector(&[
                -0.088_104_106_015_169_62,
                0.072_329_488_128_513_25,
                0.376_289_978_429_802_33,
                0.5,
                0.739_961_187_302_651_9,
                1.090_784_248_784_895_5,
                1.012_326_432_591_524_9,
            ]),
        );
        assert_close(
            &of(Activation::Gelu, &y),
            &vector(&[
                -0.004_049_694_094_890_31,
                -0.158_655_253_931_457_02,
                -0.100_323_418_579_269_07,
                0.0,
                0.345_731_230_637_006_56,
                1.954_499_736_103_641_6,
                5.999_999_994_080_474,
            ]),
        );
        assert_close(
            &slope_of(Activation::Gelu, &y),
            &vector(&[
                -0.011_945_647_204_183_92,
                -0.083_315_470_587_686_35,
                0.304_626_645_116_364,
                0.5,
                0.867_495_124_656_162_9,
                1.085_231_801_078_197,
                1.000_000_035_468_709_3,
            ]),
        );
        assert_close(
            &of(Activation::GeluTanh, &y),
            &vector(&[
                -0.003_637_392_081_772_994_3,
                -0.158_808_009_391_723_24,
                -0.100_324_649_298_315,
                0.0,
                0.345_714_009_825_143_94,
                1.954_597_694_087_775,
                5.999_999_999_915_603_5,
            ]),
        );
        assert_close(
            &slope_of(Activation::GeluTanh, &y),
            &vector(&[
                -0.011_584_166_630_969_648,
                -0.082_964_083_845_782_52,
                0.304_645_904_848_939_55,
                0.5,
                0.867_369_903_534_642_4,
                1.086_099_256_623_618_3,
                1.000_000_000_770_997_7,
            ]),
        );
    }

    /// As PyTorch has them; of NaN ReLU lets a gradient pass.
    #[test]
    fn what_is_not_finite_is_as_in_pytorch() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        for activation in Activation::ALL {
            let relu = activation == Activation::Relu;
            assert_eq!(value(activation, inf), inf, "{activation}");
            assert!(value(activation, nan).is_nan(), "{activation}");
            assert!(value(activation, -inf).is_nan() != relu, "{activation}");
            assert!(gradient(activation, 1.0, nan).is_nan() != relu, "{activation}");
            assert!(gradient(activation, 1.0, inf).is_nan() != relu, "{activation}");
            assert!(gradient(activation, 1.0, -inf).is_nan() != relu, "{activation}");
            assert_eq!(value(activation, -1e38), 0.0);
            assert_eq!(value(activation, 1e38), 1e38);
            assert_eq!(gradient(activation, 3.0, 1e38), 3.0);
            assert_eq!(gradient(activation, 3.0, -1e38), 0.0);
        }
        assert_eq!(value(Activation::Relu, -inf), 0.0);
        assert_eq!(gradient(Activation::Relu, inf, -1.0), 0.0);
        assert_eq!(gradient(Activation::Relu, 3.0, nan), 3.0);
    }

    /// The slope is that of the function, and neither it nor its own slope is beyond the bound.
    #[test]
    fn slopes_are_differences() {
        for activation in Activation::ALL {
            let Bounds { slope, curvature } = bounds(activation);
            let (mut steepest, mut most_curved) = (0f64, 0f64);
            for i in -8000..=8000 {
                let (y, h) = (f64::from(i) / 1000.0 + 1e-4, 1e-5);
                let found = gradient(activation, 1.0, y);
                let difference = (value(activation, y + h) - value(activation, y - h)) / (2.0 * h);
                assert!((found - difference).abs() < 1e-9, "{activation} {y}: {found} is not {difference}");
                let of_slope = (gradient(activation, 1.0, y + h) - gradient(activation, 1.0, y - h)) / (2.0 * h);
                steepest = steepest.max(found.abs());
                most_curved = most_curved.max(of_slope.abs());
            }
            assert!((steepest..steepest * 1.01).contains(&slope), "{activation} {steepest}");
            assert!(most_curved <= curvature && curvature <= most_curved * 1.01, "{activation} {most_curved}");
        }
    }

    /// Both ends of a norm of two rows, by hand.
    #[test]
    fn a_norm_and_relu() {
        let x = array![[1.0, 3.0], [10.0, 30.0]].into_dyn();
        let bare = layer_norm(x.view(), 1, None, None, 0.0);
        let dy = array![[5.0, 7.0], [1.0, 0.0]].into_dyn();
        let back = |dy: ArrayViewD<'_, f64>| layer_norm_backward(x.view(), dy, 1, None, 0.0);
        let got = activated_backward(&bare, dy.view(), Activation::Relu, back);
        assert_eq!(got.dbias, vector(&[0.0, 7.0]));
        assert_eq!(got.dweight, vector(&[0.0, 7.0]));
        // With two elements a gradient goes nowhere.
        assert_eq!(got.dx, ArrayD::<f64>::zeros(x.raw_dim()));
        assert_eq!(got.dbias_scale, vector(&[6.0, 7.0]));
        assert_eq!(activated(bare, Activation::Gelu).scale, ArrayD::from_elem(x.raw_dim(), 1.13));
    }

    /// The gradient of `x` is what a small change of it makes of the loss.
    #[test]
    fn gradients_are_differences() {
        let (x, dy, h) = (scattered(&[3, 5]), scattered(&[3, 5]).mapv(|v| v - 0.4), 1e-6);
        for activation in Activation::ALL {
            let bare = |x: &ArrayD<f64>| layer_norm(x.view(), 1, None, None, 1e-2);
            let loss = |x: &ArrayD<f64>| (activated(bare(x), activation).y * &dy).sum();
            let back = |dy: ArrayViewD<'_, f64>| layer_norm_backward(x.view(), dy, 1, None, 1e-2);
            let got = activated_backward(&bare(&x), dy.view(), activation, back);
            for at in [[0, 0], [1, 3], [2, 4]] {
                let mut moved = [x.clone(), x.clone()];
                moved[0][&at[..]] += h;
                moved[1][&at[..]] -= h;
                let difference = (loss(&moved[0]) - loss(&moved[1])) / (2.0 * h);
                assert!((got.dx[&at[..]] - difference).abs() < 1e-8, "{activation} {at:?}");
            }
        }
    }
}
