//! Activations after a norm, forward and backward.

use wgpu_norm::ndarray::{Array, ArrayD, Axis};
use wgpu_norm::{Activation, Backward, BatchNorm, Cpu, Element, Gpu, Inputs, LayerNorm, Norm, SpecError};

use crate::support::{Case, Gradient, Kind, Runs, changed, cpu, engines, every_kind, gpus, part};

/// Two devices, or all of them.
fn some() -> Vec<(&'static str, Gpu)> {
    part(&[gpus()[0].clone(), gpus()[3].clone(), gpus()[1].clone(), gpus()[2].clone()], 2).to_vec()
}

/// Of each kind one, each time another.
fn activations() -> impl Iterator<Item = (Activation, Kind, Vec<usize>)> {
    let kinds = every_kind().into_iter().zip(Activation::ALL.into_iter().cycle());
    kinds.map(|((kind, shape), activation)| (activation, kind, shape))
}

/// Fused, staged, by rows and by columns, and in eval mode.
#[test]
fn forward_after_every_kind() {
    for (activation, kind, shape) in activations() {
        Case::new(kind, &shape, 3.0).then(activation).check_all(&some());
    }
}

#[test]
fn backward_after_every_kind() {
    for (activation, kind, shape) in activations().filter(|(_, kind, _)| kind.has_backward()) {
        Gradient::new(kind, &shape, 3.0).then(activation).check_all(&some());
    }
}

/// Short rows in registers, longer ones in chunks, and columns, of each.
#[test]
fn every_activation() {
    let shapes = [
        (Kind::Layer { ndim: 1 }, vec![300, 12]),
        (Kind::Layer { ndim: 1 }, vec![300, 9]),
        (Kind::Rms { ndim: 1, offset: 1.0 }, vec![64, 200]),
        (Kind::Group { groups: 4, axis: 1 }, vec![2, 64, 49]),
        (Kind::Group { groups: 2, axis: 3 }, vec![2, 5, 7, 16]),
    ];
    for (kind, shape) in shapes {
        for activation in Activation::ALL {
            Case::new(kind, &shape, 0.0).then(activation).check_all(&some());
            Gradient::new(kind, &shape, 0.0).then(activation).check_all(&gpus()[..1]);
        }
    }
}

/// Without weight, or without bias.
#[test]
fn parameters_are_optional() {
    for kind in [Kind::Layer { ndim: 1 }, Kind::BatchTrain { axis: 1 }, Kind::BatchEval { axis: 1 }] {
        let full = Gradient::new(kind, &[40, 24], 1.0).then(Activation::Gelu);
        for (weight, bias) in [(true, false), (false, true), (false, false)] {
            let mut given = Gradient { case: full.case.clone(), dy: full.dy.clone() };
            given.case.weight = given.case.weight.filter(|_| weight);
            given.case.bias = given.case.bias.filter(|_| bias);
            given.case.check_all(&gpus()[..1]);
            given.check_all(&gpus()[..1]);
        }
    }
}

/// Where nothing else follows, each loop of the CPU does it by itself: to the bit what the bare norm has, 0 where that is less, and NaN.
#[test]
fn relu_changes_no_other_bit_on_the_cpu() {
    let layer = Kind::Layer { ndim: 1 };
    let more = [(layer, vec![2048, 600]), (layer, vec![300, 12]), (Kind::LayerOver { axes: &[1] }, vec![2, 24, 700])];
    for (kind, shape) in every_kind().into_iter().chain(more) {
        let mut case = Case::new(kind, &shape, 0.0);
        case.x.iter_mut().take(1).for_each(|x| *x = f32::NAN);
        for element in [Element::F32, Element::F16] {
            let case = case.clone().stored_as(element, element);
            let y = |case: &Case| cpu().forward(case.norm().as_ref(), case.inputs()).unwrap().y;
            let (bare, got) = (y(&case), y(&case.then(Activation::Relu)));
            let want = bare.mapv(|y| if y < 0.0 { 0.0f32.to_bits() } else { y.to_bits() });
            assert!(bare.iter().any(|y| *y < 0.0) && bare.iter().any(|y| y.is_nan()), "{kind:?}");
            assert_eq!(got.mapv(f32::to_bits), want, "{kind:?} {shape:?} {element:?}");
        }
    }
}

/// Rows that begin within a word, and others.
#[test]
fn of_16_bits() {
    for (number, (activation, kind, shape)) in activations().filter(|(_, kind, _)| kind.has_backward()).enumerate() {
        let element = [Element::F16, Element::Bf16][number % 2];
        let mut shape = shape.clone();
        *shape.last_mut().unwrap() |= 1;
        if let Kind::Group { groups, axis } = kind {
            shape[axis as usize] = shape[axis as usize].next_multiple_of(groups);
        }
        Case::new(kind, &shape, 1.0).stored_as(element, element).then(activation).check_all(&gpus()[..1]);
        Gradient::new(kind, &shape, 1.0).stored_as(element, element).then(activation).check_all(&gpus()[..1]);
    }
}

/// The last pass is two there, of which the second alone applies it; also where there is no bias.
#[test]
fn with_four_storage_buffers() {
    let gpu = [("with 4 storage buffers", changed(|c| c.max_storage_buffers = 4))];
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![2, 40_000]),
        (Kind::Group { groups: 2, axis: 2 }, vec![2, 333, 4]),
        (Kind::BatchEval { axis: 1 }, vec![5, 3, 140]),
    ] {
        let case = Case::new(kind, &shape, 1.0).then(Activation::Silu);
        case.check_all(&gpu);
        case.plain().check_all(&gpu);
    }
}

#[test]
fn in_windows() {
    let gpu = [("in windows", changed(|c| c.max_binding = 64 << 10))];
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![40, 700]),
        (Kind::Group { groups: 2, axis: 2 }, vec![3, 2333, 4]),
        (Kind::BatchTrain { axis: 1 }, vec![9, 3, 700]),
    ] {
        Case::new(kind, &shape, 1.0).then(Activation::Silu).check_all(&gpu);
        Gradient::new(kind, &shape, 1.0).then(Activation::Silu).check_all(&gpu);
    }
}

/// Many short rows, which go by slabs.
#[test]
fn of_many_rows() {
    let gradient = Gradient::new(Kind::Layer { ndim: 1 }, &[300_000, 5], 0.0).then(Activation::Silu);
    let want = gradient.oracle();
    for wanted in [Backward::new(), Backward::new().without_input()] {
        gradient.check_on("as it is", &gpus()[0].1, wanted, &want);
    }
}

/// In eval mode with the statistics of nothing: the function itself, each element by its own magnitude.
#[test]
fn over_their_whole_range() {
    let x: Vec<f32> = (-4000..=4000)
        .map(|i| i as f32 / 100.0)
        .chain((-37..=37).flat_map(|power| [1.0, -1.0, 5.5, -5.5].map(|v: f32| v * 10f32.powi(power))))
        .chain([0.0, -0.0, f32::MAX, f32::MIN])
        .collect();
    let channels = x.len();
    let kind = Kind::BatchEval { axis: 1 };
    for activation in Activation::ALL {
        let mut gradient = Gradient::new(kind, &[1, channels], 0.0);
        gradient.dy.fill(1.5);
        gradient.case.x = Array::from_shape_vec((1, channels), x.clone()).unwrap().into_dyn();
        gradient.case.eps = 0.0;
        (gradient.case.weight, gradient.case.bias) = (None, None);
        gradient.case.running_mean = Some(ArrayD::zeros(vec![channels]));
        gradient.case.running_var = Some(ArrayD::ones(vec![channels]));
        let gradient = gradient.then(activation);
        gradient.case.check_all(&some());
        gradient.check_all(&some());
    }
}

/// As PyTorch has them: see `what_is_not_finite_is_as_in_pytorch` of the oracle.
#[test]
fn what_is_not_finite() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let norm = |activation| BatchNorm::new(&[1, 5], 1).unwrap().eval().eps(0.0).then(activation);
    let x = [inf, -inf, nan, -nan, 1.0];
    for activation in Activation::ALL {
        let relu = activation == Activation::Relu;
        for (label, engine) in engines() {
            let inputs = || Inputs::new(&x[..]).running_mean(&[0.0; 5]).running_var(&[1.0; 5]);
            let y = engine.run_blocking(&norm(activation), inputs()).unwrap().y;
            assert_eq!(y[0], inf, "{activation} {label}");
            assert!(if relu { y[1] == 0.0 } else { y[1].is_nan() }, "{activation} {label} {y:?}");
            assert!(y[2].is_nan() && y[3].is_nan() && y[4] > 0.7, "{activation} {label} {y:?}");
            let wanted = Backward::new().without_weight().without_bias();
            let dy = inputs().grad_output(&[2.0; 5]);
            let dx = engine.run_backward_blocking(&norm(activation), wanted, dy).unwrap().input.unwrap();
            let want = if relu { [2.0, 0.0, 2.0, 2.0] } else { [nan; 4] };
            for (got, want) in dx.iter().zip(want) {
                assert!(*got == want || got.is_nan() && want.is_nan(), "{activation} {label} {dx:?}");
            }
        }
    }
}

/// The gradient of the bias of a single row says which elements were let through: those that are stored, to the last bit.
#[test]
fn the_mask_of_relu_is_that_of_its_output() {
    let mut case = Case::new(Kind::Layer { ndim: 1 }, &[1, 5000], 1000.0);
    // As many as can be next to the kink.
    let bare = case.oracle().y;
    case.bias = Some(bare.index_axis(Axis(0), 0).mapv(|y| -y as f32));
    case.weight = None;
    let case = case.then(Activation::Relu);
    let norm = case.norm();
    let on = gpus().iter().map(|(label, gpu)| (*label, gpu as &dyn Runs));
    for (label, on) in on.chain([("on the CPU", cpu() as &dyn Runs)]) {
        let out = on.forward(norm.as_ref(), case.inputs().with_statistics()).unwrap();
        let (dy, statistics) = (ArrayD::ones(case.x.raw_dim()), out.statistics.unwrap());
        let inputs = case.inputs().grad_output(dy.view()).statistics(statistics.view());
        let wanted = Backward::new().saved_statistics();
        let mask = on.backward(norm.as_ref(), wanted, inputs).unwrap().bias.unwrap();
        let passed = out.y.index_axis(Axis(0), 0).mapv(|y| f32::from(u8::from(y > 0.0)));
        assert_eq!(mask, passed, "{label}");
        assert!((1.0..4999.0).contains(&passed.sum()), "{label}");
    }
}

#[test]
fn a_second_one_is_refused() {
    let norm = LayerNorm::new(&[2, 4], &[4]).unwrap().then(Activation::Relu).stored_as(Element::F16);
    let error = Cpu::new().plan(&norm.then(Activation::Silu)).unwrap_err();
    let (first, second) = (Activation::Relu, Activation::Silu);
    assert_eq!(error, SpecError::Activations { norm: "LayerNorm", first, second });
    assert_eq!(error.to_string(), "LayerNorm: SiLU follows ReLU, but a norm has one activation at most");
}
