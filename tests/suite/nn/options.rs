//! Options of layers, sensible and absurd: a layer that works, or a typed error.
//!
//! The cases are the same on every run; see `properties`.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use wgpu_norm::nn::{
    AnyLayer, BatchNormOptions, GroupNormOptions, InstanceNormOptions, Layer, LayerNormOptions, LayerOptions,
    RmsNormOptions,
};
use wgpu_norm::{Error, LayerError, Momentum, VarianceEstimator};

use crate::support::gpu;
use crate::support::random::config;

const CASES: u32 = 1_000;

/// What all options are made of.
#[derive(Debug, Clone)]
struct Numbers {
    which: u8,
    shape: Vec<usize>,
    channels: usize,
    groups: usize,
    axis: Option<isize>,
    dims: Option<usize>,
    floats: [f32; 2],
    cumulative: bool,
    flags: [bool; 6],
    x: Vec<usize>,
}

/// Small, or beyond all that there is room for; nothing between that a machine might try to hold.
fn lengths() -> impl Strategy<Value = usize> {
    let huge = select(vec![1 << 31, (1 << 31) + 1, 1 << 32, 1 << 63, usize::MAX, usize::MAX - 1]);
    prop_oneof![1 => Just(0usize), 8 => 1..=9usize, 2 => huge]
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let axes = || prop_oneof![6 => -3..=4isize, 1 => select(vec![isize::MIN, isize::MAX, -9, 9])];
    let dims = prop_oneof![6 => 1..=3usize, 1 => select(vec![0, 4, usize::MAX, usize::MAX - 1])];
    let floats = prop_oneof![
        6 => select(vec![0.0, 1e-5f32, 0.1, 1.0]),
        1 => select(vec![-1.0, 1.5, f32::NAN, f32::INFINITY, f32::MAX]),
    ];
    let what = (0..5u8, vec(lengths(), 0..4), lengths(), lengths());
    let how = (prop::option::of(axes()), prop::option::of(dims), [floats.clone(), floats]);
    (what, how, any::<bool>(), any::<[bool; 6]>(), vec(lengths(), 0..6)).prop_map(
        |(what, how, cumulative, flags, x)| {
            let ((which, shape, channels, groups), (axis, dims, floats)) = (what, how);
            Numbers { which, shape, channels, groups, axis, dims, floats, cumulative, flags, x }
        },
    )
}

impl Numbers {
    fn layer(&self) -> Result<AnyLayer, Error> {
        fn made<K: LayerOptions + 'static>(options: K) -> Result<AnyLayer, Error> {
            Layer::new_blocking(gpu(), options).map(Layer::into_any)
        }
        let Self { which, shape, channels, groups, axis, dims, floats: [eps, momentum], .. } = self;
        let [first, affine, bias, track, unbiased, _] = self.flags;
        let estimator = if unbiased { VarianceEstimator::Unbiased } else { VarianceEstimator::Biased };
        match which {
            0 => {
                let options = LayerNormOptions::new(shape).eps(*eps).elementwise_affine(affine).bias(bias);
                made(axis.map_or(options.clone(), |axis| options.axes(&[axis, -1])))
            }
            1 => made(
                RmsNormOptions::new(shape).eps(*eps).weight_offset(*momentum).elementwise_affine(affine).bias(bias),
            ),
            2 => {
                let mut options = GroupNormOptions::new(*groups, *channels).eps(*eps).affine(affine).bias(bias);
                options = if first { options.channels_first() } else { options };
                made(axis.map_or(options.clone(), |axis| options.channel_axis(axis)))
            }
            3 => {
                let mut options = InstanceNormOptions::new(*channels).eps(*eps).affine(affine).bias(bias);
                options = options.momentum(*momentum).running_variance(estimator).track_running_stats(track);
                options = if first { options.channels_first() } else { options };
                options = dims.map_or(options.clone(), |dims| options.dims(dims));
                made(axis.map_or(options.clone(), |axis| options.channel_axis(axis)))
            }
            _ => {
                let mut options = BatchNormOptions::new(*channels).eps(*eps).affine(affine).bias(bias);
                let momentum = if self.cumulative { Momentum::cumulative() } else { Momentum::onnx(*momentum) };
                options = options.momentum(momentum).running_variance(estimator).track_running_stats(track);
                options = if first { options.channels_first() } else { options };
                options = dims.map_or(options.clone(), |dims| options.dims(dims));
                made(axis.map_or(options.clone(), |axis| options.channel_axis(axis)))
            }
        }
    }

    /// Whether there was a layer, and whether it took the input: as it is, and with the layer's own features.
    fn hold(&self) -> [bool; 2] {
        let mut layer = match self.layer() {
            Ok(layer) => layer,
            Err(error) => {
                let typed = matches!(
                    error,
                    Error::Spec(_) | Error::Layer(LayerError::Option { .. } | LayerError::Input { .. })
                );
                assert!(typed || matches!(error, Error::Run(_)), "{error:?} {self:?}");
                assert!(!error.to_string().is_empty());
                return [false; 2];
            }
        };
        if self.flags[5] {
            layer.eval();
        }
        assert!(format!("{layer:?}").contains("Norm"));
        let mut fitting: Vec<usize> = self.x.clone();
        if self.which < 2 {
            fitting.extend(&self.shape);
        } else {
            let axis = self.axis.unwrap_or(if self.flags[0] { 1 } else { -1 });
            let axis = if axis < 0 { fitting.len().checked_add_signed(axis) } else { axis.try_into().ok() };
            if let Some(length) = axis.and_then(|axis| fitting.get_mut(axis)) {
                *length = self.channels;
            }
        }
        let took = [&self.x, &fitting].map(|shape| {
            let elements =
                shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n)).filter(|&n| n <= 1 << 16);
            let x = vec![1.0; elements.unwrap_or(1)];
            match layer.run_blocking(shape, &x) {
                Ok(y) => {
                    assert_eq!(Some(y.len()), elements, "{self:?}");
                    let dx = layer.run_backward_blocking(shape, &x, &x).unwrap();
                    assert_eq!(dx.len(), y.len());
                    true
                }
                Err(Error::Run(_)) => panic!("{self:?}"),
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    false
                }
            }
        });
        [true, took[0] || took[1]]
    }
}

#[test]
fn every_layer_works_or_is_a_typed_error() {
    let config = config(CASES);
    let (cases, made, took) = (config.cases, Cell::new(0), Cell::new(0));
    let result = TestRunner::new(config).run(&numbers(), |numbers| {
        let [layer, input] = numbers.hold();
        made.set(made.get() + u32::from(layer));
        took.set(took.get() + u32::from(input));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(made.get() > cases / 10 && took.get() > cases / 20, "{made:?} {took:?}");
}
