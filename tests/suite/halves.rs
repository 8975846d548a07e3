//! Tensors of 16-bit elements, f16 and bf16: every norm and layout against the oracle, by the rounding of one storage; wherever tensors
//! begin, with what is around them as it was.

use half::{bf16, f16};
use wgpu_norm::Element::{Bf16, F16, F32};
use wgpu_norm::ndarray::{ArrayD, IxDyn};
use wgpu_norm::{
    Backward, BatchNorm, BindError, Element, Error, Expected, Gpu, Inputs, LayerNorm, Norm, Operands, RmsNorm,
    SpecError, Storage, View, wgpu,
};

use crate::support::device::{bytes_of, run};
use crate::support::{Case, Data, Gradient, Kind, changed, close_to, every_kind, gpu, gpus};

const SHORT: [Element; 2] = [F16, Bf16];

/// Each kind with rows that fill words and quads, that are odd, and that are neither.
fn kinds() -> Vec<(Kind, Vec<usize>)> {
    let odd = [
        (Kind::Layer { ndim: 1 }, vec![5, 33]),
        (Kind::Layer { ndim: 1 }, vec![3, 2]),
        (Kind::Rms { ndim: 1, offset: 1.0 }, vec![4, 1]),
        (Kind::LayerOver { axes: &[1] }, vec![3, 9, 5]),
        (Kind::LayerOver { axes: &[1] }, vec![2, 20, 8]),
        (Kind::LayerOver { axes: &[1, 3] }, vec![2, 5, 3, 9]),
        (Kind::Group { groups: 2, axis: 1 }, vec![3, 6, 7]),
        (Kind::Instance { axis: 2 }, vec![3, 7, 5]),
        (Kind::Instance { axis: 2 }, vec![3, 5, 8]),
        (Kind::BatchTrain { axis: 1 }, vec![7, 5, 49]),
        (Kind::BatchEval { axis: 1 }, vec![9, 7]),
    ];
    every_kind().into_iter().chain(odd).collect()
}

/// As it is, and as a GPU: what is stored how does not depend on the rest, and every pipeline takes its time to compile.
fn some() -> Vec<(&'static str, Gpu)> {
    gpus().iter().step_by(2).cloned().collect()
}

#[test]
fn forward() {
    for (kind, shape) in kinds() {
        Case::new(kind, &shape, 3.0).stored_as(F16, F32).check_all(&some());
        Case::new(kind, &shape, 0.0).stored_as(Bf16, Bf16).check_all(&some()[..1]);
    }
}

#[test]
fn gradients() {
    for (kind, shape) in kinds().into_iter().filter(|(kind, _)| kind.has_backward()) {
        Gradient::new(kind, &shape, 3.0).stored_as(F16, F32).check_all(&some());
        Gradient::new(kind, &shape, 0.0).stored_as(Bf16, Bf16).check_all(&some()[..1]);
    }
}

/// x in 16 bits, y and the gradients in f32.
#[test]
fn results_in_f32() {
    for (kind, shape) in kinds() {
        let mut gradient = Gradient::new(kind, &shape, 3.0).stored_as(F16, F16);
        gradient.case.storage = Storage::new(F16).output(F32).gradients(F32).parameters(F16);
        gradient.case.check_all(&some()[..1]);
        if kind.has_backward() {
            gradient.check_all(&some()[..1]);
        }
    }
}

/// Data that f16 can hardly carry: large means, the largest numbers, long groups and planes.
#[test]
fn data_at_the_ends() {
    let rows = Kind::Layer { ndim: 1 };
    for (element, mean) in [(F16, 1000.0), (Bf16, 256.0)] {
        for (kind, shape) in [
            (rows, vec![3, 1 << 14]),
            (rows, vec![1, 1 << 20]),
            (Kind::Instance { axis: 1 }, vec![1, 1, 795, 795]),
            (Kind::BatchTrain { axis: 1 }, vec![40_000, 3]),
        ] {
            Case::new(kind, &shape, mean).stored_as(element, F32).check_all(&gpus()[..1]);
        }
    }
    let mut largest = Case::new(rows, &[4, 258], 0.0);
    largest.x.mapv_inplace(|v| v.signum() * (65_504.0 - 32.0 * v.abs()));
    largest.stored_as(F16, F32).check_all(&some());
    let mut beyond = Case::new(rows, &[2, 64], 0.0);
    beyond.weight.iter_mut().for_each(|weight| weight.fill(50_000.0));
    beyond.stored_as(F16, F32).check_all(&some());
    Case { x: ArrayD::from_elem(IxDyn(&[3, 65]), 1000.0), ..Case::new(rows, &[3, 65], 0.0) }
        .stored_as(F16, F32)
        .check_all(&some());
}

/// What is not a number stays with its group.
#[test]
fn nan_and_infinity_stay_in_their_row() {
    for width in [64, 33] {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut case = Case::new(Kind::Layer { ndim: 1 }, &[4, width], 1.0);
            case.x[[1, width - 1]] = odd;
            case.stored_as(F16, F32).check_all(&some());
        }
    }
}

/// An identity with a weight for each channel: what the weight rounds to.
fn stored(gpu: &Gpu, element: Element, weight: &[f32]) -> Vec<f32> {
    let channels = weight.len();
    let norm = BatchNorm::new(&[1, channels], 1).unwrap().eval().eps(0.0).stored_as(element);
    let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
    let inputs = Inputs::new(&ones[..]).weight(weight).running_mean(&zeros).running_var(&ones);
    gpu.run_blocking(&norm, inputs).unwrap().y
}

/// Every number of the type, what lies halfway to the next, and the neighbours of that in f32; by quads and by pairs.
#[test]
fn stores_round_to_nearest_even() {
    for element in SHORT {
        let number =
            |bits: u16| if element == F16 { f16::from_bits(bits).to_f32() } else { bf16::from_bits(bits).to_f32() };
        let mut values = vec![65_519.996, 65_520.0, 3.4e38, f32::INFINITY, f32::NAN, -f32::NAN];
        for bits in 0..0x7c00u16 {
            let (low, high) = (number(bits), number(bits + 1));
            let half = f32::midpoint(low, high);
            values.extend([low, half, half.next_down(), half.next_up(), -half]);
        }
        // Numbers that are none of f32 may be flushed.
        values.retain(|v| v.is_nan() || *v == 0.0 || v.abs() >= 2.0 * f32::MIN_POSITIVE);
        values.truncate(values.len() / 4 * 4);
        // By integers, and by the built-in where it is exact: the same bits, since each are those that there must be.
        let packing = changed(|c| c.exact_pack = true);
        let exact = gpu().probe_blocking().unwrap().packs_exactly;
        for (on, cut) in
            [(gpu(), 0), (gpu(), 1), (&packing, 0), (&packing, 1)].into_iter().take(if exact { 4 } else { 2 })
        {
            let weight = &values[cut..];
            for (i, (&got, &v)) in stored(on, element, weight).iter().zip(weight).enumerate() {
                let want = element.rounded(v);
                assert!(
                    got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
                    "{element} {i}: {v:e} {got:e} {want:e}"
                );
            }
        }
    }
}

/// What lies around a tensor: a NaN.
const GUARD: u16 = 0x7e55;

/// A tensor of 16-bit elements somewhere in a buffer.
struct Short<'a> {
    gpu: &'a Gpu,
    element: Element,
    buffer: wgpu::Buffer,
    at: usize,
    length: usize,
}

impl<'a> Short<'a> {
    fn new(gpu: &'a Gpu, element: Element, at: usize, values: &[f32]) -> Self {
        let mut image = vec![GUARD; at];
        image.extend(values.iter().map(|&v| match element {
            F16 => f16::from_f32(v).to_bits(),
            _ => bf16::from_f32(v).to_bits(),
        }));
        image.extend([GUARD; 5]);
        image.resize(image.len().next_multiple_of(2), GUARD);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let size = 2 * image.len() as u64;
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: true };
        let buffer = gpu.device().create_buffer(&descriptor);
        buffer.get_mapped_range_mut(..).unwrap().copy_from_slice(bytemuck::cast_slice(&image));
        buffer.unmap();
        Self { gpu, element, buffer, at, length: values.len() }
    }

    fn view(&self) -> View<'_> {
        View::new(&self.buffer, 2 * self.at as u64)
    }

    /// Its bits; around it nothing may have changed.
    fn bits(&self) -> Vec<u16> {
        let mut all: Vec<u16> = bytemuck::pod_collect_to_vec(&bytes_of(self.gpu, &self.buffer));
        let behind = all.split_off(self.at + self.length);
        let inside = all.split_off(self.at);
        assert!(all.iter().chain(&behind).all(|&bits| bits == GUARD), "written around a tensor");
        inside
    }

    fn values(&self, shape: &[usize]) -> ArrayD<f32> {
        let number = |bits: u16| {
            if self.element == F16 { f16::from_bits(bits).to_f32() } else { bf16::from_bits(bits).to_f32() }
        };
        ArrayD::from_shape_vec(shape, self.bits().into_iter().map(number).collect()).unwrap()
    }
}

fn flat(array: &ArrayD<f32>) -> Vec<f32> {
    array.iter().copied().collect()
}

/// Tensors begin at any element: x, y, dy, dx, weight and bias, each somewhere else, and in place.
#[test]
fn tensors_anywhere() {
    let kinds = [
        (Kind::Layer { ndim: 1 }, vec![3, 64]),
        (Kind::Layer { ndim: 1 }, vec![5, 33]),
        (Kind::Layer { ndim: 1 }, vec![2, 40_001]),
        (Kind::Group { groups: 2, axis: 1 }, vec![3, 4, 9]),
        (Kind::Instance { axis: 2 }, vec![2, 30, 3]),
        (Kind::Instance { axis: 2 }, vec![2, 5, 8]),
    ];
    for (kind, shape) in kinds {
        for (label, gpu) in &some() {
            for (x_at, y_at) in [(0, 0), (4, 8), (1, 0), (0, 1), (2, 6), (3, 3), (1, 1)] {
                let gradient = Gradient::new(kind, &shape, 2.0).stored_as(F16, F16);
                let case = &gradient.case;
                let (want, want_back) = (case.oracle(), gradient.oracle());
                let what = format!("{kind:?} {shape:?} {label}, {x_at} and {y_at}");
                let norm = case.norm();
                let [weight, bias] =
                    [&case.weight, &case.bias].map(|it| Short::new(gpu, F16, x_at, &flat(it.as_ref().unwrap())));
                let plan = gpu.context().plan(norm.as_ref()).unwrap();
                let [x, over] = [x_at, y_at].map(|at| Short::new(gpu, F16, at, &flat(&case.x)));
                let y = Short::new(gpu, F16, y_at, &vec![7.0; case.x.len()]);
                run(gpu, &plan, &Operands::new(x.view(), y.view()).weight(weight.view()).bias(bias.view()));
                close_to(F16, &what, &y.values(&shape), &want.y, &want.scale);
                // In place as apart, to the bit.
                run(gpu, &plan, &Operands::in_place(over.view()).weight(weight.view()).bias(bias.view()));
                if x_at % 4 == y_at % 4 {
                    assert_eq!(over.bits(), y.bits(), "{what}");
                }
                let plan = gpu
                    .context()
                    .plan_backward(norm.as_ref(), Backward::new().without_weight().without_bias())
                    .unwrap();
                let [dy, over] = [x_at, y_at].map(|at| Short::new(gpu, F16, at, &flat(&gradient.dy)));
                let dx = Short::new(gpu, F16, y_at, &vec![7.0; case.x.len()]);
                let back = |dy: View<'_>, dx: View<'_>| {
                    run(gpu, &plan, &Operands::backward(dy, x.view()).weight(weight.view()).grad_input(dx));
                };
                back(dy.view(), dx.view());
                close_to(F16, &what, &dx.values(&shape), &want_back.dx, &want_back.dx_scale);
                back(over.view(), over.view());
                close_to(F16, &what, &over.values(&shape), &want_back.dx, &want_back.dx_scale);
            }
        }
    }
}

/// A row's bits do not depend on which half of a word it begins in.
#[test]
fn rows_of_any_parity_are_the_same() {
    let row = flat(&Data::new(5).normal(&[33], 2.0, 1.0));
    let norm = LayerNorm::new(&[4, 33], &[33]).unwrap().stored_as(Bf16);
    for (label, gpu) in &some() {
        let y = gpu.run_blocking(&norm, Inputs::new(&row.repeat(4)[..])).unwrap().y;
        assert!(y.chunks(33).all(|it| it == &y[..33]), "{label}");
    }
}

/// Statistics are those of the sum before it is rounded, and the sum is rounded once.
#[test]
fn residuals() {
    for (width, at) in [(64, 0), (33, 0), (64, 1), (33, 3)] {
        let shape = [6, width];
        let [x, residual] = [1, 2].map(|seed| Data::new(seed).normal(&shape, 1.0, 1.0).mapv(|v| F16.rounded(v)));
        let sum = &x + &residual;
        let want = Case { x: sum.clone(), ..Case::new(Kind::Layer { ndim: 1 }, &shape, 0.0).plain() }.oracle();
        for (label, gpu) in &some() {
            let plan = gpu.context().plan(&LayerNorm::new(&shape, &[width]).unwrap().stored_as(F16)).unwrap();
            let [a, b] = [&x, &residual].map(|values| Short::new(gpu, F16, at, &flat(values)));
            let [y, out] = [at + 2, at].map(|at| Short::new(gpu, F16, at, &vec![7.0; sum.len()]));
            let operands = Operands::new(a.view(), y.view()).residual(b.view());
            run(gpu, &plan, &operands.residual_out(out.view()));
            close_to(F16, label, &y.values(&shape), &want.y, &want.scale);
            assert_eq!(out.values(&shape), sum.mapv(|v| F16.rounded(v)), "{label}");
            // Over what was added.
            run(gpu, &plan, &operands.residual_out(b.view()));
            assert_eq!((b.bits(), y.values(&shape)), (out.bits(), y.values(&shape)), "{label}");
        }
    }
}

/// A batch in windows of small bindings, by quads, words and pairs; what is the last of one shares a word with the first of the next, and a part of a row begins with the element before it.
#[test]
fn windows() {
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![300, 256]),
        (Kind::Layer { ndim: 1 }, vec![301, 257]),
        (Kind::Layer { ndim: 1 }, vec![3, 100_001]),
        (Kind::BatchTrain { axis: 1 }, vec![40, 3, 999]),
        (Kind::Instance { axis: 2 }, vec![3, 7_003, 5]),
    ] {
        let gradient = Gradient::new(kind, &shape, 3.0).stored_as(F16, F32);
        let want = gradient.case.oracle();
        for software in [true, false] {
            let small = changed(|c| (c.max_binding, c.software) = (120_000, software));
            assert!(small.context().plan(gradient.case.norm().as_ref()).unwrap().to_string().contains(" windows"));
            gradient.case.check_on("in small bindings", &small, &want);
            // Sums by weight take rows that fit a binding.
            if shape[1] < 30_000 {
                gradient.check_on("in small bindings", &small, Backward::new(), &gradient.oracle());
            }
        }
    }
}

/// Two dispatches take turns at the same elements, which are read and written once.
#[test]
fn plans_of_rows_by_words() {
    let norm = |rows: usize, width: usize| LayerNorm::new(&[rows, width], &[width]).unwrap().stored_as(F16);
    let plan = gpu().context().plan(&norm(4096, 767)).unwrap();
    assert_eq!((plan.passes().len(), plan.bytes_moved()), (1, 2 * 2 * 4096 * 767));
    let text = plan.to_string();
    assert!(text.contains(", by words") && !text.contains(" windows"), "{text}");
    let small = changed(|c| c.max_binding = 120_000);
    let text = small.context().plan(&norm(4, 25_001)).unwrap().to_string();
    assert!(text.contains(", by words, in 4 windows"), "{text}");
}

/// A bias that a pass of its own adds would be added to what is rounded already, so such a device refuses where it would need that.
#[test]
fn four_storage_buffers() {
    let small = changed(|c| c.max_storage_buffers = 4);
    for (kind, shape) in [(Kind::Layer { ndim: 1 }, vec![5, 64]), (Kind::Group { groups: 2, axis: 1 }, vec![3, 4, 9])] {
        let case = Case::new(kind, &shape, 3.0).stored_as(F16, F32);
        let without = Case { bias: None, ..case.clone() };
        let y = |case: &Case| small.run_array_blocking(case.norm().as_ref(), case.inputs()).map(|out| out.y);
        let want = without.oracle();
        close_to(F16, "without a bias", &y(&without).unwrap(), &want.y, &want.scale);
        match y(&case) {
            Ok(y) => close_to(F16, "fused", &y, &case.oracle().y, &case.oracle().scale),
            Err(Error::Bind(BindError::StorageBuffers { needs: 5, has: 4, .. })) => assert_eq!(shape, [3, 4, 9]),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Moments are those of what is stored, whatever it is stored as.
#[test]
fn moments_are_of_what_is_stored() {
    let x = Data::new(3).normal(&[50, 6], 5.0, 1.0).mapv(|v| F16.rounded(v));
    let norm = BatchNorm::new(&[50, 6], 1).unwrap();
    let short = Short::new(gpu(), F16, 0, &flat(&x));
    let long = crate::support::device::Tensor::new(gpu(), &flat(&x));
    let [of_short, of_long] = [0; 2].map(|_| crate::support::device::Tensor::unwritten(gpu(), 24));
    let context = gpu().context();
    let plan = context.plan_moments(&norm.clone().stored_as(F16)).unwrap();
    run(gpu(), &plan, &Operands::of(short.view()).moments(of_short.view()));
    run(gpu(), &context.plan_moments(&norm).unwrap(), &Operands::of(long.view()).moments(of_long.view()));
    assert_eq!(of_short.bits(), of_long.bits());
}

/// f32 is what there was without.
#[test]
fn stored_as_f32_is_the_norm_itself() {
    let norm = RmsNorm::new(&[3, 20], &[20]).unwrap();
    let x = flat(&Data::new(1).normal(&[3, 20], 0.0, 1.0));
    let plain = gpu().run_blocking(&norm, Inputs::new(&x[..])).unwrap();
    assert_eq!(gpu().run_blocking(&norm.stored_as(F32), Inputs::new(&x[..])).unwrap().y, plain.y);
}

#[test]
fn misuse() {
    let context = gpu().context();
    let layer = || LayerNorm::new(&[2, 5], &[5]).unwrap();
    let spec = |storage: Storage| match context.plan(&layer().stored_as(storage)) {
        Err(error @ SpecError::Storage { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(spec(Storage::new(F16).output(Bf16)), "LayerNorm: y is stored as bf16, but must be f32, or f16 as x is");
    assert_eq!(
        spec(Storage::new(F32).parameters(F16)),
        "LayerNorm: weight and bias are stored as f16, but must be f32, as x is"
    );
    spec(Storage::new(Bf16).gradients(F16));

    let plan = context.plan(&layer().stored_as(F16)).unwrap();
    let [x, y, sum] = [0; 3].map(|_| Short::new(gpu(), F16, 0, &[0.0; 10]));
    let bind = |operands: &Operands<'_>| context.bind(&plan, operands).unwrap_err();
    let odd = View::new(&x.buffer, 1);
    assert!(matches!(bind(&Operands::new(odd, y.view())), BindError::Alignment { offset: 1, alignment: 2, .. }));
    let error = bind(&Operands::new(x.view(), y.view()).residual_out(View::new(&sum.buffer, 2)));
    assert_eq!(
        error.to_string(),
        "residual_out: its offset is 2 bytes and that of y 0, but both must be multiples of 4, or neither"
    );
    // The last word of y is the first of residual_out.
    let shared = Short::new(gpu(), F16, 0, &[0.0; 40]);
    let operands = Operands::new(x.view(), View::new(&shared.buffer, 2)).residual_out(View::new(&shared.buffer, 22));
    assert!(matches!(bind(&operands), BindError::Overlap { .. }));
    // 10 elements end in the middle of a word from an odd one on.
    let tight = gpu().device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 22,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    assert!(matches!(
        bind(&Operands::new(View::new(&tight, 2), y.view())),
        BindError::TooSmall { needs: 22, size: 22, .. }
    ));
    context.warm_up(&plan, Expected::new().weight().bias()).unwrap();
    context.warm_up(&plan, Expected::new().in_place().residual()).unwrap();
}
