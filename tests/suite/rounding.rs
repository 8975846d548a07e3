//! Normalized values that are rounded before their weight, in Llama's order: the bits of its formula, and the promise about errors.

use half::{bf16, f16};
use wgpu_norm::Element::{Bf16, F16, F32};
use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::nn::{LayerNormLayer, LayerNormOptions, RmsNormLayer, RmsNormOptions};
use wgpu_norm::reference::{TOLERANCE, layer_norm};
use wgpu_norm::sample::wide;
use wgpu_norm::{Backward, Element, Error, Inputs, LayerNorm, Norm, RmsNorm, Rounding, SpecError, Storage};

use crate::support::{Data, engines, gpu};

/// x, weight and bias of rows, rounded to what they are stored as.
struct Rows {
    x: ArrayD<f32>,
    weight: ArrayD<f32>,
    bias: ArrayD<f32>,
    storage: Storage,
}

impl Rows {
    fn new(shape: [usize; 2], storage: Storage) -> Self {
        let mut data = Data::new(shape[0] as u64 * 1000 + shape[1] as u64);
        let [x, weight, bias] =
            [data.normal(&shape, 0.5, 2.0), data.normal(&shape[1..], 1.0, 0.5), data.normal(&shape[1..], 0.0, 0.5)];
        let rounded = |array: ArrayD<f32>, element: Element| array.mapv(|v| element.rounded(v));
        let parameters = storage.of_parameters();
        Self {
            x: rounded(x, storage.of_input()),
            weight: rounded(weight, parameters),
            bias: rounded(bias, parameters),
            storage,
        }
    }

    fn width(&self) -> usize {
        self.weight.len()
    }

    fn rms(&self, rounding: Rounding) -> impl Norm + use<> {
        let norm = RmsNorm::new(self.x.shape(), &[self.width()]).unwrap();
        norm.eps(1e-6).rounding(rounding).stored_as(self.storage)
    }

    /// Llama's, in f32 but for the mean square.
    fn formula(&self) -> Vec<f32> {
        let short = self.storage.of_input();
        let mut y = Vec::new();
        for row in self.x.as_slice().unwrap().chunks(self.width()) {
            let squares = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>();
            let factor = 1.0 / ((squares / row.len() as f64) as f32 + 1e-6).sqrt();
            let xhat = row.iter().map(|v| short.rounded(v * factor));
            y.extend(xhat.zip(&self.weight).map(|(xhat, weight)| self.storage.of_output().rounded(weight * xhat)));
        }
        y
    }
}

/// Half the way to the next number of a 16-bit type.
fn near_half(element: Element, v: f64) -> f64 {
    let v = element.rounded(v as f32);
    let above = match element {
        F16 => f16::from_bits(f16::from_f32(v.abs()).to_bits() + 1).to_f32(),
        Bf16 => bf16::from_bits(bf16::from_f32(v.abs()).to_bits() + 1).to_f32(),
        _ => return 0.0,
    };
    f64::from(above - v.abs()) / 2.0
}

/// That of 1024 rows is large enough that a core sums each row while it writes the one before.
const SHAPES: [[usize; 2]; 10] =
    [[3, 1], [5, 2], [40, 4], [9, 33], [300, 64], [7, 700], [2, 4096], [3, 9001], [1024, 1025], [2, 40_000]];

fn storages() -> [Storage; 4] {
    let (half, brain) = (Storage::new(F16), Storage::new(Bf16));
    [half, half.parameters(F16).output(F32), brain.parameters(Bf16), brain]
}

/// What a rounding, another, and f32's errors may change.
#[test]
fn within_the_bound() {
    for (i, shape) in SHAPES.into_iter().enumerate() {
        let rows = Rows::new(shape, storages()[i % 4]);
        let short = rows.storage.of_input();
        let (x, weight, bias) = (wide(&rows.x), wide(&rows.weight), wide(&rows.bias));
        let plain = layer_norm(x.view(), 1, None, None, 1e-6).y;
        let want = layer_norm(x.view(), 1, Some(weight.view()), Some(bias.view()), 1e-6);
        let norm = LayerNorm::new(&shape, &shape[1..]).unwrap().eps(1e-6).rounding(Rounding::BeforeWeight);
        let norm = norm.stored_as(rows.storage);
        for (label, engine) in engines() {
            let inputs = Inputs::new(rows.x.view()).weight(rows.weight.view()).bias(rows.bias.view());
            let y = engine.run_array_blocking(&norm, inputs).unwrap().y;
            for (index, &got) in y.indexed_iter() {
                let (want, scale, xhat) = (want.y[&index], want.scale[&index], plain[&index]);
                let of_weight = near_half(short, xhat) * weight[index[1]].abs();
                // Numbers beyond the next power of two, where the first rounding may have led, lie further apart.
                let of_y = near_half(rows.storage.of_output(), want.abs() + of_weight);
                let (bound, error) = (of_weight + of_y + TOLERANCE * scale + 1.2e-38, (f64::from(got) - want).abs());
                assert!(error <= bound, "{label} {shape:?} {index:?}: {got} {want} {error:e} {bound:e}");
            }
        }
    }
}

/// By hand: 3 / sqrt(5) is 1.3416 and in f16 1.341796875, five times which lies between two numbers.
#[test]
fn the_order_shows() {
    let x = [1.0, 3.0].map(f16::from_f32);
    let norm = || RmsNorm::new(&[1, 2], &[2]).unwrap().eps(0.0);
    for (label, engine) in engines() {
        let y = |rounding: Rounding| {
            let inputs = Inputs::new(&x[..]).weight(&[5.0, 5.0]);
            engine.run_blocking(&norm().rounding(rounding), inputs).unwrap().y[1].to_f32()
        };
        assert_eq!((y(Rounding::AtEnd), y(Rounding::BeforeWeight)), (6.707_031_3, 6.710_937_5), "{label}");
    }
}

/// Of a mean square that is a number, all bits; else one in a thousand is that of a neighbour.
#[test]
fn the_bits_of_the_formula() {
    for (i, shape) in SHAPES.into_iter().enumerate() {
        let mut rows = Rows::new(shape, storages()[i % 4]);
        for exact in [false, true] {
            if exact {
                // Small integers, whose squares add up exactly; rows whose width is no power of two are filled up with zeros.
                let width = rows.width();
                let whole = 1 << width.ilog2();
                rows.x.indexed_iter_mut().for_each(|(index, v)| {
                    *v = if index[1] < whole { ((index[0] * 7 + index[1] * 13) % 11) as f32 - 5.0 } else { 0.0 };
                });
            }
            let want = rows.formula();
            for (label, engine) in engines() {
                let inputs = Inputs::new(rows.x.view()).weight(rows.weight.view());
                let y = engine.run_array_blocking(&rows.rms(Rounding::BeforeWeight), inputs).unwrap().y;
                let y = y.as_slice().unwrap();
                let apart: Vec<_> = y.iter().zip(&want).filter(|(got, want)| got != want).collect();
                let most = if exact { 0 } else { y.len().div_ceil(1000) };
                assert!(apart.len() <= most, "{label} {shape:?} {exact}: {} of {}", apart.len(), y.len());
                let unit = if rows.storage.of_input() == F16 { 2.0f32.powi(-10) } else { 2.0f32.powi(-7) };
                // A neighbour of the normalized value is a unit from it at most, and both products are rounded, by half of one.
                let neighbours = apart.iter().all(|(got, want)| (*got - *want).abs() <= 2.0 * unit * want.abs());
                assert!(neighbours, "{label} {shape:?}: {apart:?}");
            }
        }
    }
}

/// Weights by head, of the least heads there are; a residual is added first; without a weight nothing is rounded twice.
#[test]
fn heads_and_residuals() {
    let shape = [6, 3, 1];
    let x = Data::new(1).normal(&shape, 0.0, 0.01).mapv(|v| F16.rounded(v));
    let weight = ArrayD::from_shape_vec(vec![3, 1], vec![3.0, 5.0, 7.0]).unwrap();
    let norm = RmsNorm::new(&shape, &[1]).unwrap().per_head().eps(1e-4).rounding(Rounding::BeforeWeight).stored_as(F16);
    let plain = RmsNorm::new(&shape, &[1]).unwrap().eps(1e-4).stored_as(F16);
    for (label, engine) in engines() {
        let xhat = engine.run_array_blocking(&plain, Inputs::new(x.view())).unwrap().y;
        let want = (&xhat * &weight).mapv(|v| F16.rounded(v));
        let y = engine.run_array_blocking(&norm, Inputs::new(x.view()).weight(weight.view())).unwrap().y;
        assert_eq!(y, want, "{label}");
        let halved = x.mapv(|v| v / 2.0);
        let inputs = Inputs::new(halved.view()).residual(halved.view()).weight(weight.view());
        assert_eq!(engine.run_array_blocking(&norm, inputs).unwrap().y, want, "{label}");
    }
}

/// Gradients are those of the function without any rounding.
#[test]
fn gradients_know_no_order() {
    let rows = Rows::new([9, 33], Storage::new(F16));
    for (label, engine) in engines() {
        let [at_end, before] = [Rounding::AtEnd, Rounding::BeforeWeight].map(|rounding| {
            let inputs = Inputs::new(rows.x.view()).weight(rows.weight.view()).grad_output(rows.x.view());
            engine.run_backward_array_blocking(&rows.rms(rounding), Backward::new(), inputs).unwrap()
        });
        assert_eq!(at_end, before, "{label}");
    }
}

#[test]
fn layers() {
    let rows = Rows::new([9, 33], Storage::new(F16));
    let options = RmsNormOptions::new(&[33]).eps(1e-6).stored_as(F16).rounding(Rounding::BeforeWeight);
    let layer = RmsNormLayer::new_blocking(gpu(), options).unwrap();
    let bytes = bytemuck::cast_slice(rows.weight.as_slice().unwrap());
    gpu().queue().write_buffer(layer.weight().unwrap(), 0, bytes);
    let inputs = Inputs::new(rows.x.view()).weight(rows.weight.view());
    let want = gpu().run_array_blocking(&rows.rms(Rounding::BeforeWeight), inputs).unwrap().y;
    assert_eq!(layer.run_array_blocking(rows.x.view()).unwrap(), want);
    assert_eq!(format!("{layer:?}"), "RMSNorm((33,), eps=1e-06, elementwise_affine=True, rounding=before_weight)");
}

#[test]
fn nothing_to_round_to() {
    let norm = RmsNorm::new(&[2, 3], &[3]).unwrap().rounding(Rounding::BeforeWeight);
    let says = "RmsNorm: rounding is before the weight, but must be at the end where x is f32, which is not rounded to";
    for (_, engine) in engines() {
        let error = engine.run_blocking(&norm, Inputs::new(&[1.0; 6])).unwrap_err();
        assert!(matches!(error, Error::Spec(SpecError::Rounding { norm: "RmsNorm", .. })), "{error}");
        assert_eq!(error.to_string(), says);
    }
    // Over channels in front, kernels go by columns, which have no such order.
    let columns = LayerNorm::over_axes(&[2, 3, 4], &[1]).unwrap().rounding(Rounding::BeforeWeight).stored_as(F16);
    for (_, engine) in engines() {
        let error = engine.run_blocking(&columns, Inputs::new(&[1.0; 24])).unwrap_err();
        let says =
            "LayerNorm: rounding is before the weight, but must be at the end, unless the norm is over the last axes";
        assert_eq!(error.to_string(), says);
    }
    let options = LayerNormOptions::new(&[3]).rounding(Rounding::BeforeWeight);
    let error = LayerNormLayer::new_blocking(gpu(), options).unwrap_err();
    assert!(matches!(error, Error::Spec(SpecError::Rounding { norm: "LayerNorm", .. })), "{error}");
}
