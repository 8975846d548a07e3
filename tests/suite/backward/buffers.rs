//! Gradients in the caller's own buffers: in place, added to what is there, by way of a residual, of nothing, and of more
//! than a binding holds.

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::{
    Backward, BatchNorm, BindError, Capabilities, Error, Gpu, GroupNorm, Inputs, LayerNorm, LpNorm, Norm, Operands,
    RmsNorm, SpecError,
};

use crate::support::device::{Tensor, run};
use crate::support::{Case, Gradient, Kind, TOLERANCE, changed, close, fuses_multiply_add, gpu, gpus};

const KINDS: [(Kind, &[usize]); 10] = [
    (Kind::Layer { ndim: 1 }, &[300, 20]),
    (Kind::Layer { ndim: 1 }, &[2, 40_004]),
    (Kind::Rms { ndim: 1, offset: 1.0 }, &[7, 33]),
    (Kind::LayerOver { axes: &[1] }, &[3, 20, 36]),
    (Kind::LayerOver { axes: &[1] }, &[3, 20, 128]),
    (Kind::LayerOver { axes: &[1, 3] }, &[2, 9, 5, 20]),
    (Kind::Group { groups: 2, axis: 1 }, &[3, 6, 32]),
    (Kind::Group { groups: 2, axis: 2 }, &[3, 40, 8]),
    (Kind::BatchTrain { axis: 1 }, &[4, 3, 36]),
    (Kind::BatchEval { axis: 1 }, &[50, 6]),
];

fn flat(array: &ArrayD<f32>) -> Vec<f32> {
    array.iter().copied().collect()
}

/// The tensors of one backward pass, from one offset on.
pub struct Buffers<'a> {
    gpu: &'a Gpu,
    norm: Box<dyn Norm>,
    x: Tensor<'a>,
    pub dy: Tensor<'a>,
    weight: Tensor<'a>,
    running: Option<[Tensor<'a>; 2]>,
    pub dx: Tensor<'a>,
    pub dweight: Tensor<'a>,
    pub dbias: Tensor<'a>,
}

impl<'a> Buffers<'a> {
    pub fn new(gpu: &'a Gpu, gradient: &Gradient, offset: usize) -> Self {
        let Case { x, weight, running_mean, running_var, .. } = &gradient.case;
        let at = |values: &ArrayD<f32>| Tensor::at(gpu, offset, &flat(values));
        let weight = weight.as_ref().unwrap();
        Self {
            gpu,
            norm: gradient.case.norm(),
            x: at(x),
            dy: at(&gradient.dy),
            weight: at(weight),
            running: running_mean.as_ref().zip(running_var.as_ref()).map(|(mean, var)| [at(mean), at(var)]),
            dx: at(&x.mapv(|_| f32::NAN)),
            dweight: at(&weight.mapv(|_| f32::NAN)),
            dbias: at(&weight.mapv(|_| f32::NAN)),
        }
    }

    pub fn operands(&self) -> Operands<'_> {
        let operands = Operands::backward(self.dy.view(), self.x.view()).weight(self.weight.view());
        let operands = match &self.running {
            Some([mean, var]) => operands.running_mean(mean.view()).running_var(var.view()),
            None => operands,
        };
        operands.grad_weight(self.dweight.view()).grad_bias(self.dbias.view())
    }

    pub fn run(&self, wanted: Backward, operands: &Operands<'_>) {
        run(self.gpu, &self.gpu.context().plan_backward(self.norm.as_ref(), wanted).unwrap(), operands);
    }

    fn parameters(&self) -> [Vec<u32>; 2] {
        [self.dweight.bits(), self.dbias.bits()]
    }
}

#[test]
fn in_place_is_out_of_place_bit_for_bit() {
    for (kind, shape) in KINDS {
        let gradient = Gradient::new(kind, shape, 3.0);
        for (label, gpu) in [&gpus()[0], &gpus()[3]] {
            let apart = Buffers::new(gpu, &gradient, 0);
            apart.run(Backward::new(), &apart.operands().grad_input(apart.dx.view()));
            let inside = Buffers::new(gpu, &gradient, 0);
            inside.run(Backward::new(), &inside.operands().grad_input(inside.dy.view()));
            let what = format!("{kind:?} {shape:?} {label}");
            let want = gradient.oracle();
            let same = |one: &[u32], other: &[u32], what: &str| assert!(fuses_multiply_add() || one == other, "{what}");
            same(&inside.dy.bits(), &apart.dx.bits(), &what);
            let dx = |tensor: &Tensor| ArrayD::from_shape_vec(want.dx.shape(), tensor.read()).unwrap();
            close(&format!("dx of {what}"), &dx(&inside.dy), &want.dx, &want.dx_scale);
            // Computed first, the statistics that weight's go by can be those of other parts.
            close(
                &format!("dweight of {what}"),
                &ArrayD::from_shape_vec(want.dweight.shape(), inside.dweight.read()).unwrap(),
                &want.dweight,
                &want.dweight_scale,
            );
            if !gradient.is_eval() {
                let inputs = Inputs::new(gradient.case.x.view()).with_statistics();
                let forward = gpu.run_array_blocking(apart.norm.as_ref(), inputs).unwrap();
                let saved = Tensor::at(gpu, 0, &flat(&forward.statistics.unwrap()));
                let by_saved = |buffers: &Buffers<'_>, dx: &Tensor<'_>| {
                    let operands = buffers.operands().statistics(saved.view()).grad_input(dx.view());
                    buffers.run(Backward::new().saved_statistics(), &operands);
                    [vec![dx.bits()], buffers.parameters().to_vec()].concat().concat()
                };
                let fresh = Buffers::new(gpu, &gradient, 0);
                same(&by_saved(&fresh, &fresh.dx), &by_saved(&fresh, &fresh.dy), &format!("{what}, saved"));
            }
            let dx_alone = Buffers::new(gpu, &gradient, 0);
            let alone = |buffers: &Buffers<'_>, dx: &Tensor<'_>| {
                let operands = Operands::backward(buffers.dy.view(), buffers.x.view()).weight(buffers.weight.view());
                let operands = match &buffers.running {
                    Some([mean, var]) => operands.running_mean(mean.view()).running_var(var.view()),
                    None => operands,
                };
                buffers.run(Backward::new().without_weight().without_bias(), &operands.grad_input(dx.view()));
                dx.bits()
            };
            same(&alone(&dx_alone, &dx_alone.dx), &alone(&dx_alone, &dx_alone.dy), &what);
        }
    }
}

#[test]
fn tensors_start_at_any_multiple_of_four() {
    for (kind, shape) in KINDS {
        let gradient = Gradient::new(kind, shape, 3.0);
        let want = gradient.oracle();
        let array = |values: Vec<f32>, like: &ArrayD<f64>| ArrayD::from_shape_vec(like.shape(), values).unwrap();
        let mut by_one: Option<(Vec<u32>, [Vec<u32>; 2])> = None;
        for offset in [1, 2, 3, 5, 65] {
            let buffers = Buffers::new(gpu(), &gradient, offset);
            buffers.run(Backward::new(), &buffers.operands().grad_input(buffers.dx.view()));
            let what = format!("{kind:?} {shape:?} from {offset}");
            close(&what, &array(buffers.dx.read(), &want.dx), &want.dx, &want.dx_scale);
            close(&what, &array(buffers.dweight.read(), &want.dweight), &want.dweight, &want.dweight_scale);
            close(&what, &array(buffers.dbias.read(), &want.dbias), &want.dbias, &want.dbias_scale);
            let got = (buffers.dx.bits(), buffers.parameters());
            assert_eq!(by_one.get_or_insert_with(|| got.clone()), &got, "{what}");
        }
    }
}

/// Twice the same is twice as much, since doubling is exact; the gradient of x is not added to.
#[test]
fn accumulated_twice_is_twice() {
    for (kind, shape) in KINDS {
        let gradient = Gradient::new(kind, shape, 3.0);
        for (label, gpu) in [&gpus()[0], &gpus()[2]] {
            let buffers = Buffers::new(gpu, &gradient, 0);
            buffers.run(Backward::new(), &buffers.operands().grad_input(buffers.dx.view()));
            let (dx, once) = (buffers.dx.bits(), buffers.parameters());
            buffers.run(Backward::new().accumulate(), &buffers.operands().grad_input(buffers.dx.view()));
            let double =
                |bits: &Vec<u32>| bits.iter().map(|&v| (2.0 * f32::from_bits(v)).to_bits()).collect::<Vec<u32>>();
            assert_eq!(buffers.parameters(), once.each_ref().map(double), "{kind:?} {label}");
            assert_eq!(buffers.dx.bits(), dx, "{kind:?} {label}");
        }
    }
}

/// What comes back to x plus the residual is added to the gradient, wherever it lies.
#[test]
fn residuals_there_and_back() {
    let kinds = [
        (Kind::Layer { ndim: 1 }, vec![300, 20]),
        (Kind::Layer { ndim: 1 }, vec![3, 1025]),
        (Kind::Rms { ndim: 1, offset: 0.0 }, vec![5, 768]),
        (Kind::Layer { ndim: 1 }, vec![2, 40_004]),
    ];
    for (kind, shape) in kinds {
        let mut gradient = Gradient::new(kind, &shape, 1e3);
        let (x, residual) = (gradient.case.x.clone(), Gradient::new(kind, &shape, 2.0).dy);
        // What is normalized is the sum as f32.
        gradient.case.x = &x + &residual;
        let z = gradient.case.x.clone();
        let (want, back) = (gradient.case.oracle(), gradient.oracle());
        let incoming = Gradient::new(kind, &shape, 5.0).dy.mapv(|v| 2.0 * v);
        for (label, gpu) in gpus() {
            let what = format!("{kind:?} {shape:?} {label}");
            let norm = gradient.case.norm();
            let plan = gpu.context().plan(norm.as_ref()).unwrap();
            let [weight, bias] =
                [&gradient.case.weight, &gradient.case.bias].map(|p| Tensor::new(gpu, &flat(p.as_ref().unwrap())));
            // Apart; with y in x and the sum in the residual; the other way round.
            let mut results = Vec::new();
            for places in 0..3 {
                let (a, b) = (Tensor::new(gpu, &flat(&x)), Tensor::new(gpu, &flat(&residual)));
                let (c, d) = (Tensor::unwritten(gpu, x.len()), Tensor::unwritten(gpu, x.len()));
                let (y, sum) = [(&c, &d), (&a, &b), (&b, &a)][places];
                let operands = Operands::new(a.view(), y.view()).weight(weight.view()).bias(bias.view());
                run(gpu, &plan, &operands.residual(b.view()).residual_out(sum.view()));
                assert_eq!(sum.read(), flat(&z), "{what} {places}");
                results.push(y.bits());
                close(&what, &ArrayD::from_shape_vec(&shape[..], y.read()).unwrap(), &want.y, &want.scale);
            }
            assert!(results.iter().all(|y| y == &results[0]), "{what}");

            let buffers = Buffers::new(gpu, &gradient, 0);
            let coming = Tensor::new(gpu, &flat(&incoming));
            buffers
                .run(Backward::new(), &buffers.operands().grad_input(buffers.dx.view()).grad_residual(coming.view()));
            let got = ArrayD::from_shape_vec(&shape[..], buffers.dx.read()).unwrap();
            let incoming = incoming.mapv(f64::from);
            let scale = &back.dx_scale + &incoming.mapv(f64::abs);
            close(&format!("dx of {what}"), &got, &(&back.dx + &incoming), &scale);
            let inside = Buffers::new(gpu, &gradient, 0);
            inside.run(Backward::new(), &inside.operands().grad_input(coming.view()).grad_residual(coming.view()));
            assert_eq!(coming.bits(), buffers.dx.bits(), "{what}");
        }
    }
}

#[test]
fn nothing_has_gradients_of_0() {
    let norms: [Box<dyn Norm>; 3] = [
        Box::new(LayerNorm::new(&[0, 5], &[5]).unwrap()),
        Box::new(GroupNorm::channels_last(&[0, 7, 4], 2).unwrap()),
        Box::new(BatchNorm::new(&[0, 3], 1).unwrap()),
    ];
    for norm in &norms {
        let features = norm.parameter_shape()[0];
        let inputs = || Inputs::new(&[0.0; 0][..]).grad_output(&[]);
        let out = gpu().run_backward_blocking(norm.as_ref(), Backward::new(), inputs()).unwrap();
        assert_eq!(out.input, Some(Vec::new()));
        assert_eq!(out.weight, Some(vec![0.0; features]), "{}", norm.name());
        assert_eq!(out.bias, Some(vec![0.0; features]), "{}", norm.name());
        let before = vec![2.5; features];
        let inputs = inputs().grad_weight(&before).grad_bias(&before);
        let out = gpu().run_backward_blocking(norm.as_ref(), Backward::new().accumulate(), inputs).unwrap();
        assert_eq!((out.weight, out.bias), (Some(before.clone()), Some(before.clone())), "{}", norm.name());
    }
    let no_features = LayerNorm::new(&[3, 0], &[0]).unwrap();
    let inputs = Inputs::new(&[0.0; 0][..]).grad_output(&[]);
    let out = gpu().run_backward_blocking(&no_features, Backward::new(), inputs).unwrap();
    assert_eq!((out.input, out.weight), (Some(Vec::new()), Some(Vec::new())));
}

/// Bindings of 100 KiB: every pass goes in windows.
#[test]
fn tensors_beyond_a_binding() {
    let small = |c: &mut Capabilities| c.max_binding = 100 << 10;
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![3000, 24]),
        (Kind::LayerOver { axes: &[1] }, vec![6, 60, 80]),
        (Kind::LayerOver { axes: &[1] }, vec![2, 20, 700]),
        (Kind::LayerOver { axes: &[1] }, vec![100, 70, 4]),
        (Kind::LayerOver { axes: &[1, 3] }, vec![9, 6, 40, 21]),
        (Kind::Group { groups: 2, axis: 1 }, vec![30, 6, 300]),
        (Kind::BatchTrain { axis: 1 }, vec![8000, 8]),
        (Kind::BatchEval { axis: 2 }, vec![60, 100, 12]),
    ] {
        let gradient = Gradient::new(kind, &shape, 10.0);
        let want = gradient.oracle();
        let tiny = changed(small);
        gradient.check_on("in windows", &tiny, Backward::new(), &want);
        let tiny = changed(|c| {
            small(c);
            (c.software, c.subgroup_sizes) = (false, None);
        });
        gradient.check_on("in windows as a GPU", &tiny, Backward::new(), &want);
    }
}

#[test]
fn large_and_many() {
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![70_001, 5]),
        (Kind::Layer { ndim: 1 }, vec![1, 300_000]),
        (Kind::Layer { ndim: 1 }, vec![3, 65_537]),
        // The longest row, and most iterations, of one lane.
        (Kind::Layer { ndim: 1 }, vec![260, 16_383]),
        // As a GPU, more than registers hold.
        (Kind::Layer { ndim: 1 }, vec![3, 12_288]),
        (Kind::Rms { ndim: 1, offset: 0.0 }, vec![3, 12_289]),
        (Kind::Instance { axis: 1 }, vec![1, 2, 10_000]),
        // More groups than leave their statistics at once.
        (Kind::Layer { ndim: 1 }, vec![600_011, 3]),
        (Kind::Group { groups: 2, axis: 1 }, vec![300_007, 4]),
        (Kind::BatchTrain { axis: 1 }, vec![100_352, 3]),
        (Kind::BatchTrain { axis: 1 }, vec![3, 2, 65_537]),
        (Kind::Instance { axis: 1 }, vec![1, 2, 65_537]),
        (Kind::Group { groups: 2, axis: 1 }, vec![1, 4, 65_537]),
    ] {
        let gradient = Gradient::new(kind, &shape, 1e6);
        let want = gradient.oracle();
        gradient.check_on("as it is", gpu(), Backward::new(), &want);
        if !gradient.is_eval() {
            gradient.check_on("as it is", gpu(), Backward::new().saved_statistics(), &want);
        }
        gradient.check_on("as a GPU", &gpus()[2].1, Backward::new(), &want);
    }
}

/// What is wrong in one group stays there, but for the gradients that all groups share.
#[test]
fn what_is_not_finite_stays_in_its_group() {
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![5, 40]),
        (Kind::Group { groups: 2, axis: 1 }, vec![2, 4, 40]),
        (Kind::Instance { axis: 2 }, vec![2, 40, 4]),
        // A lane to each: some leave the loop that takes statistics before their neighbours.
        (Kind::Instance { axis: 1 }, vec![1, 16, 5]),
        (Kind::Instance { axis: 1 }, vec![1, 16, 31]),
        (Kind::LayerOver { axes: &[1] }, vec![2, 40, 32]),
        (Kind::BatchTrain { axis: 1 }, vec![40, 5]),
    ] {
        for (label, gpu) in gpus() {
            // The last is finite, but its square is not.
            for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e20] {
                for in_dy in [false, true] {
                    let mut gradient = Gradient::new(kind, &shape, 1.0);
                    let clean = gradient.oracle();
                    let at = if kind == (Kind::BatchTrain { axis: 1 }) { 2 } else { 41 };
                    let spoiled = if in_dy { &mut gradient.dy } else { &mut gradient.case.x };
                    *spoiled.as_slice_mut().unwrap().get_mut(at).unwrap() = odd;
                    let group = |index: &[usize]| kind.entry().groups.of(&shape, index);
                    let index: Vec<usize> = {
                        let mut rest = at;
                        let mut index: Vec<usize> = shape
                            .iter()
                            .rev()
                            .map(|&n| {
                                let i = rest % n;
                                rest /= n;
                                i
                            })
                            .collect();
                        index.reverse();
                        index
                    };
                    let mut inputs = Inputs::new(gradient.case.x.view()).grad_output(gradient.dy.view());
                    inputs = inputs.weight(gradient.case.weight.as_ref().unwrap().view());
                    let wanted = Backward::new().without_weight().without_bias();
                    let norm = gradient.case.norm();
                    let dx = gpu.run_backward_array_blocking(norm.as_ref(), wanted, inputs).unwrap().input.unwrap();
                    for (place, &got) in dx.indexed_iter() {
                        use wgpu_norm::ndarray::Dimension;
                        let inside = group(place.slice()) == group(&index);
                        assert_eq!(
                            got.is_finite(),
                            !inside || odd.is_finite(),
                            "{kind:?} {label} {odd} in dy: {in_dy}, at {place:?}: {got}"
                        );
                        if !inside {
                            let error = (f64::from(got) - clean.dx[place.clone()]).abs();
                            assert!(error <= TOLERANCE * clean.dx_scale[place.clone()], "{kind:?} {label} {place:?}");
                        }
                    }
                }
            }
        }
    }
}

/// Groups of one value have no gradient but that of their bias; the mean of a constant dy is taken out exactly enough.
#[test]
fn constant_groups_and_constant_gradients() {
    for (kind, shape) in [(Kind::Layer { ndim: 1 }, vec![4, 513]), (Kind::BatchTrain { axis: 1 }, vec![513, 4])] {
        let mut gradient = Gradient::new(kind, &shape, 0.0).plain();
        gradient.case.x.fill(1e6);
        gradient.dy.fill(0.7);
        let want = gradient.oracle();
        for (label, gpu) in gpus() {
            gradient.check_on(label, gpu, Backward::new(), &want);
        }
    }
}

#[test]
fn misuse_is_refused() {
    let norm = LayerNorm::new(&[2, 3], &[3]).unwrap();
    let refused = |wanted: Backward, inputs: Inputs<&[f32]>| {
        gpu().run_backward_blocking(&norm, wanted, inputs).unwrap_err().to_string()
    };
    let (x, dy) = ([0.0; 6], [0.0; 6]);
    let both = || Inputs::new(&x[..]).grad_output(&dy);
    for (error, want) in [
        (refused(Backward::new(), Inputs::new(&x[..])), "LayerNorm: grad_output is missing"),
        (refused(Backward::new(), both().bias(&[0.0; 3])), "LayerNorm: bias was given"),
        (refused(Backward::new(), both().with_mean()), "LayerNorm: mean was given"),
        (refused(Backward::new(), both().residual(&x)), "LayerNorm: residual was given"),
        (refused(Backward::new(), both().statistics(&[0.0; 8])), "LayerNorm: statistics was given"),
        (refused(Backward::new().saved_statistics(), both()), "LayerNorm: statistics is missing"),
        (refused(Backward::new().accumulate(), both()), "LayerNorm: grad_weight is missing"),
        (refused(Backward::new(), both().grad_bias(&[0.0; 3])), "LayerNorm: grad_bias was given"),
        (refused(Backward::new().without_input(), both().grad_residual(&x)), "LayerNorm: grad_residual was given"),
        (
            refused(Backward::new(), Inputs::new(&x[..]).grad_output(&dy[1..])),
            "grad_output: it has 5 elements but must have 6",
        ),
        (
            refused(Backward::new().saved_statistics(), both().statistics(&[0.0; 2])),
            "statistics: it has 2 elements but must have 8, those of shape [2, 1, 4]",
        ),
        (
            refused(Backward::new().without_input().without_weight().without_bias(), both()),
            "LayerNorm: no gradient is asked for",
        ),
    ] {
        assert!(error.starts_with(want), "{error}\n{want}");
    }
    let lp = LpNorm::l2(&[2, 3], &[1]).unwrap();
    let error = gpu().run_backward_blocking(&lp, Backward::new(), both()).unwrap_err();
    assert!(matches!(error, Error::Spec(SpecError::NoBackward { norm: "LpNorm" })), "{error}");
    let eval = BatchNorm::new(&[2, 3], 1).unwrap().eval();
    let error = gpu().context().plan_backward(&eval, Backward::new().saved_statistics()).unwrap_err();
    assert!(matches!(error, SpecError::SavedRunning { norm: "BatchNorm" }), "{error}");
    // Forward, gradients and residuals have no place.
    let forward = |inputs: Inputs<&[f32]>| gpu().run_blocking(&norm, inputs).unwrap_err().to_string();
    assert!(forward(both()).starts_with("LayerNorm: grad_output was given"));
    let error = gpu().run_blocking(&eval, Inputs::new(&x[..]).residual(&x)).unwrap_err().to_string();
    assert!(error.contains("running_mean is missing") || error.contains("residual was given"), "{error}");

    let context = gpu().context();
    let plan =
        context.plan_backward(&RmsNorm::new(&[4, 8], &[8]).unwrap(), Backward::new().saved_statistics()).unwrap();
    let large = Tensor::new(gpu(), &[0.0; 96]);
    let at = |element: usize| wgpu_norm::View::new(&large.buffer, 4 * element as u64);
    let [a, b, c, d, e] = [(); 5].map(|()| Tensor::new(gpu(), &[0.0; 32]));
    let operands =
        Operands::backward(a.view(), b.view()).grad_input(c.view()).grad_weight(d.view()).grad_bias(e.view());
    let error = context.bind(&plan, &operands.statistics(at(2))).unwrap_err();
    assert!(matches!(error, BindError::Alignment { tensor: "statistics", offset: 8, alignment: 16 }), "{error}");
    let error = context.bind(&plan, &operands.statistics(at(0)).grad_input(at(8))).unwrap_err();
    assert!(matches!(error, BindError::Overlap { written: "grad_input", other: "statistics", .. }), "{error}");
    let error = context.bind(&plan, &operands.statistics(at(0)).grad_input(b.view())).unwrap_err();
    assert!(matches!(error, BindError::Overlap { written: "grad_input", other: "x", .. }), "{error}");
    let operands = operands.statistics(at(0)).grad_residual(at(64));
    assert!(context.bind(&plan, &operands).is_ok());
    let error = context.bind(&plan, &operands.grad_residual(at(70))).unwrap_err();
    assert!(matches!(error, BindError::TooSmall { tensor: "grad_residual", .. }), "{error}");
}
