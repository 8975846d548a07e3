//! Scale and shift after a norm, and what is added to it, forward and backward.

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::{
    Activation, Backward, BindError, Element, Error, GroupNorm, Inputs, LayerNorm, Merged, Modulation, Norm, Operands,
    SpecError, View,
};

use crate::support::{Case, Gradient, Kind, changed, close, cpu, engines, every_kind, gpus, part, thorough};

/// Of `x` of this shape, each time others: a number for each sample, for each channel, a row for each sample, and all.
pub fn shapes(x: &[usize], number: usize) -> Vec<Vec<usize>> {
    let shared =
        |axes: &[usize]| x.iter().enumerate().map(|(axis, &n)| if axes.contains(&axis) { 1 } else { n }).collect();
    let inner: Vec<usize> = (1..x.len()).collect();
    let mut all: Vec<Vec<usize>> = vec![shared(&inner), shared(&[]), shared(&[0]), shared(&[x.len() - 1])];
    if x.len() > 2 {
        all.extend([shared(&inner[1..]), shared(&inner[..inner.len() - 1])]);
    }
    let count = all.len();
    all.into_iter()
        .enumerate()
        .filter(|(own, _)| (own + number).is_multiple_of(count.div_ceil(2)))
        .map(|(_, shape)| shape)
        .collect()
}

#[test]
fn forward_after_every_kind() {
    let on = part(&[gpus()[0].clone(), gpus()[3].clone()], 1).to_vec();
    for (number, (kind, shape)) in every_kind().into_iter().enumerate() {
        for modulation in shapes(&shape, number) {
            let mut case = Case::new(kind, &shape, 3.0).modulated(&modulation);
            case.check_all(&on);
            case = case.plus_skip().then(Activation::ALL[number % 4]);
            case.check_all(&on[..1]);
        }
    }
}

#[test]
fn backward_after_every_kind() {
    let on = &gpus()[..1];
    for (number, (kind, shape)) in every_kind().into_iter().filter(|(kind, _)| kind.has_backward()).enumerate() {
        for (own, modulation) in shapes(&shape, number).into_iter().enumerate() {
            let gradient = Gradient::new(kind, &shape, 3.0).modulated(&modulation);
            let activated = (number + own) % 2 == 0;
            let gradient = if activated { gradient.then(Activation::ALL[number / 2 % 4]) } else { gradient };
            gradient.check_all(on);
        }
    }
}

/// What users of diffusion models and image transformers have, by rows and by columns, in both layouts: gradients of scale and shift are
/// there for each.
#[test]
fn as_they_are_used() {
    let cases = [
        (Kind::Layer { ndim: 1 }, vec![3, 40, 96], vec![3, 1, 96]),
        (Kind::Layer { ndim: 1 }, vec![2, 3, 20, 48], vec![2, 3, 1, 48]),
        (Kind::Rms { ndim: 1, offset: 0.0 }, vec![3, 7, 33], vec![3, 1, 33]),
        (Kind::Rms { ndim: 1, offset: 0.0 }, vec![3, 7, 33], vec![3, 7, 1]),
        (Kind::Layer { ndim: 1 }, vec![6, 1, 48], vec![6, 1, 48]),
        (Kind::Group { groups: 4, axis: 1 }, vec![3, 16, 9, 7], vec![3, 16, 1, 1]),
        (Kind::Group { groups: 4, axis: 3 }, vec![3, 9, 7, 16], vec![3, 1, 1, 16]),
        (Kind::Group { groups: 2, axis: 2 }, vec![3, 50, 6], vec![3, 1, 6]),
        (Kind::Instance { axis: 1 }, vec![2, 5, 64], vec![2, 5, 1]),
        (Kind::BatchTrain { axis: 1 }, vec![5, 3, 40], vec![5, 3, 1]),
        (Kind::BatchTrain { axis: 2 }, vec![5, 40, 8], vec![5, 1, 8]),
        (Kind::BatchEval { axis: 1 }, vec![5, 3, 40], vec![5, 3, 1]),
        // Over other axes than the last: a channel, a place, all of a sample, half of its channels, each element.
        (Kind::LayerOver { axes: &[1] }, vec![3, 8, 9, 7], vec![3, 8, 1, 1]),
        (Kind::LayerOver { axes: &[1] }, vec![3, 5, 64], vec![3, 5, 1]),
        (Kind::LayerOver { axes: &[1] }, vec![3, 8, 9, 7], vec![3, 1, 9, 7]),
        (Kind::LayerOver { axes: &[1] }, vec![3, 8, 9, 7], vec![3, 1, 1, 1]),
        (Kind::LayerOver { axes: &[1, 2] }, vec![3, 2, 4, 70], vec![3, 2, 1, 1]),
        (Kind::LayerOver { axes: &[1] }, vec![3, 8, 9, 7], vec![3, 8, 9, 7]),
        (Kind::LayerOver { axes: &[1] }, vec![2, 70, 300], vec![2, 70, 1]),
        // A channel, or its lines.
        (Kind::LayerOver { axes: &[1, 3] }, vec![2, 5, 9, 12], vec![2, 5, 1, 1]),
        (Kind::LayerOver { axes: &[1, 3] }, vec![2, 5, 9, 12], vec![2, 5, 1, 12]),
    ];
    for (number, (kind, shape, modulation)) in cases.into_iter().enumerate() {
        let mut gradient = Gradient::new(kind, &shape, 1.0).modulated(&modulation);
        if number % 3 == 0 {
            gradient = gradient.then(Activation::Silu);
        }
        let want = gradient.oracle();
        for (label, gpu) in part(&[gpus()[0].clone(), gpus()[3].clone()], 1) {
            let out = gradient.try_on(label, gpu, Backward::new(), &want).unwrap();
            assert!(out.scale.is_some() && out.shift.is_some(), "{kind:?}");
            gradient.check_on(label, gpu, Backward::new().without_input().without_weight(), &want);
            let alone = Backward::new().without_input().without_weight().without_bias();
            gradient.check_on(label, gpu, alone, &want);
            gradient.check_on("on the CPU", cpu(), alone, &want);
        }
        gradient.check_on("on the CPU", cpu(), Backward::new(), &want);
        gradient.case.check_all(&gpus()[..1]);
    }
}

/// Residual networks: the skip has a gradient of its own where an activation follows.
#[test]
fn skips() {
    for (kind, shape) in every_kind().into_iter().filter(|(kind, _)| kind.has_backward()) {
        let on = &gpus()[..1];
        Case::new(kind, &shape, 1.0).plus_skip().then(Activation::Relu).check_all(on);
        let gradient = Gradient::new(kind, &shape, 1.0).plus_skip().then(Activation::Relu);
        gradient.check_all(on);
        let out = gradient.try_on("", cpu(), Backward::new(), &gradient.oracle()).unwrap();
        assert!(out.skip.is_some(), "{kind:?}");
    }
    // Without an activation its gradient is that of y.
    let (kind, shape) = (Kind::Group { groups: 2, axis: 1 }, [2, 4, 333]);
    Case::new(kind, &shape, 1.0).plus_skip().check_all(&gpus()[..1]);
    Gradient::new(kind, &shape, 1.0).plus_skip().check_all(&gpus()[..1]);
}

/// Either of the two alone, and a scale that is the whole factor.
#[test]
fn each_is_optional() {
    for (kind, shape, modulation) in [
        (Kind::Layer { ndim: 1 }, [3, 40, 96], [3, 1, 96]),
        (Kind::Group { groups: 4, axis: 1 }, [3, 16, 63], [3, 16, 1]),
    ] {
        for (scale, shift, offset) in [(true, false, 1.0), (false, true, 1.0), (true, true, 0.0)] {
            let mut gradient = Gradient::new(kind, &shape, 1.0).modulated(&modulation);
            gradient.case.offset = offset;
            gradient.case.scale = gradient.case.scale.filter(|_| scale);
            gradient.case.shift = gradient.case.shift.filter(|_| shift);
            gradient.case.check_all(&gpus()[..1]);
            gradient.check_all(&gpus()[..1]);
            gradient.plain().check_all(&gpus()[..1]);
        }
    }
}

#[test]
fn of_16_bits() {
    for (number, (kind, shape)) in every_kind().into_iter().filter(|(kind, _)| kind.has_backward()).enumerate() {
        let element = [Element::F16, Element::Bf16][number % 2];
        let parameters = [element, Element::F32][number / 2 % 2];
        for odd in [false, true] {
            let mut shape = shape.clone();
            *shape.last_mut().unwrap() |= usize::from(odd);
            if let Kind::Group { groups, axis } = kind {
                shape[axis as usize] = shape[axis as usize].next_multiple_of(groups);
            }
            let modulation = shapes(&shape, number)[0].clone();
            let gradient = Gradient::new(kind, &shape, 1.0).modulated(&modulation).plus_skip();
            let gradient = gradient.stored_as(element, parameters).then(Activation::Gelu);
            gradient.case.check_all(&gpus()[..1]);
            gradient.check_all(&gpus()[..1]);
        }
    }
}

/// Gradients whose sums would take more scratch than devices bind are left out, and the plan is there.
#[test]
fn too_many_sums_are_left_out() {
    let norm = LayerNorm::over_axes(&[200_000, 128, 2], &[1]).unwrap();
    let norm = norm.stored_as(Element::F16).modulated(Modulation::new(&[200_000, 1, 1]));
    let least = changed(|c| c.max_binding = 128 << 20);
    least.context().plan_backward(&norm, Backward::new()).unwrap();
}

#[test]
fn in_windows() {
    let gpu = [("in windows", changed(|c| c.max_binding = 64 << 10))];
    for (kind, shape, modulation) in [
        (Kind::Layer { ndim: 1 }, vec![4, 10, 700], vec![4, 1, 700]),
        (Kind::Group { groups: 2, axis: 2 }, vec![3, 2333, 4], vec![3, 1, 4]),
        (Kind::BatchTrain { axis: 1 }, vec![9, 3, 700], vec![9, 3, 1]),
    ] {
        let gradient = Gradient::new(kind, &shape, 1.0).modulated(&modulation).plus_skip().then(Activation::Silu);
        gradient.case.check_all(&gpu);
        gradient.check_all(&gpu);
    }
}

/// Chunks of one projection: a row of six for each sample, of which two modulate; the gradients go to two others, and the rest stays.
#[test]
fn chunks_of_one_projection() {
    let (batch, tokens, width) = (3, 5, 36);
    let case = Case::new(Kind::Layer { ndim: 1 }, &[batch, tokens, width], 1.0).modulated(&[batch, 1, width]);
    let norm = LayerNorm::new(&[batch, tokens, width], &[width]).unwrap();
    let norm = norm.modulated(Modulation::new(&[batch, 1, width]).pitch(6 * width));
    let dy =
        ArrayD::from_shape_fn(vec![batch, tokens, width], |at| (at[0] + 3 * at[1] + 7 * at[2]) as f32 * 0.01 - 1.0);
    let gradient = Gradient { case, dy };
    let (want, want_back) = (gradient.case.oracle(), gradient.oracle());
    let flat = |array: &ArrayD<f32>| array.iter().copied().collect::<Vec<_>>();
    // Of 4 bytes, and of 16.
    for first in [1, 4] {
        let mut projection = vec![9.0f32; first + batch * 6 * width];
        for sample in 0..batch {
            for at in 0..width {
                let place = first + sample * 6 * width + at;
                projection[place] = gradient.case.shift.as_ref().unwrap()[[sample, 0, at]];
                projection[place + width] = gradient.case.scale.as_ref().unwrap()[[sample, 0, at]];
            }
        }
        for (label, gpu) in gpus() {
            let upload = |values: &[f32]| gpu.upload_blocking("tensor", values).unwrap();
            let (x, of_dy) = (upload(&flat(&gradient.case.x)), upload(&flat(&gradient.dy)));
            let (y, dx) = (upload(&vec![0.0; x.size() as usize / 4]), upload(&vec![0.0; x.size() as usize / 4]));
            let parameters = [&gradient.case.weight, &gradient.case.bias].map(|of| upload(&flat(of.as_ref().unwrap())));
            let [weight, bias] = &parameters;
            let (given, found) = (upload(&projection), upload(&vec![7.0; projection.len()]));
            let at = |buffer, chunk: usize| View::new(buffer, 4 * (first + chunk * width) as u64);
            let context = gpu.context();
            let operands = Operands::new(&x, &y).weight(weight).bias(bias).shift(at(&given, 0)).scale(at(&given, 1));
            let forward = context.bind(&context.plan(&norm).unwrap(), &operands).unwrap();
            let operands =
                Operands::backward(&of_dy, &x).weight(weight).bias(bias).scale(at(&given, 1)).grad_input(&dx);
            let operands = operands.grad_shift(at(&found, 2)).grad_scale(at(&found, 3));
            let wanted = Backward::new().without_weight().without_bias();
            let back = context.bind(&context.plan_backward(&norm, wanted).unwrap(), &operands).unwrap();
            let record = |encoder: &mut wgpu_norm::wgpu::CommandEncoder| {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                forward.record(&mut pass);
                back.record(&mut pass);
            };
            let out = gpu.submit_blocking(record, &[("y", &y), ("dx", &dx), ("found", &found)]).unwrap();
            let array = |values: &[f32], shape: &[usize]| ArrayD::from_shape_vec(shape, values.to_vec()).unwrap();
            close(&format!("y {label}"), &array(&out[0], gradient.case.x.shape()), &want.y, &want.scale);
            close(&format!("dx {label}"), &array(&out[1], gradient.case.x.shape()), &want_back.dx, &want_back.dx_scale);
            let chunk = |number: usize| {
                let rows = out[2][first..].chunks(6 * width).flat_map(|row| &row[number * width..(number + 1) * width]);
                array(&rows.copied().collect::<Vec<_>>(), &[batch, 1, width])
            };
            let (dshift, dscale) = (want_back.dshift.as_ref().unwrap(), want_back.dscale.as_ref().unwrap());
            close(&format!("dshift {label}"), &chunk(2), &dshift.value, &dshift.scale);
            close(&format!("dscale {label}"), &chunk(3), &dscale.value, &dscale.scale);
            for number in [0, 1, 4, 5] {
                assert!(chunk(number).iter().all(|&v| v == 7.0), "{label} {number}");
            }
        }
    }
}

/// On a device with few bindings: weight and bias, and scale and shift, are read through one each where they share a buffer, and
/// otherwise the count is named.
#[test]
fn bindings_are_shared() {
    let gpu = changed(|c| c.max_storage_buffers = 7);
    let (shape, kind) = ([2, 40_000], Kind::Layer { ndim: 1 });
    let gradient = Gradient::new(kind, &shape, 1.0).modulated(&[2, 1]).then(Activation::Silu);
    let case = &gradient.case;
    let flat = |array: &ArrayD<f32>| array.iter().copied().collect::<Vec<_>>();
    let upload = |values: &[f32]| gpu.upload_blocking("tensor", values).unwrap();
    let (x, dy, dx) = (upload(&flat(&case.x)), upload(&flat(&gradient.dy)), upload(&vec![0.0; 80_000]));
    let [weight, bias, scale, shift] =
        [&case.weight, &case.bias, &case.scale, &case.shift].map(|of| flat(of.as_ref().unwrap()));
    // Bias first, and words between.
    let parameters = upload(&[&bias[..], &[5.0; 101], &weight].concat());
    let modulation = upload(&[&scale[..], &shift].concat());
    let plan = gpu.context().plan_backward(&case.norm(), Backward::new().without_weight().without_bias()).unwrap();
    let operands = Operands::backward(&dy, &x).grad_input(&dx);
    let at = |buffer, element: usize| View::new(buffer, 4 * element as u64);
    let apart = [&weight, &scale].map(|values| upload(values));
    let of_one = operands.weight(&apart[0]).scale(&apart[1]).bias(&parameters).shift(at(&modulation, 2));
    let error = gpu.context().bind(&plan, &of_one).unwrap_err();
    assert!(matches!(error, BindError::StorageBuffers { needs: 8, has: 7, .. }), "{error}");
    let operands = operands.bias(&parameters).weight(at(&parameters, 40_101)).scale(&modulation);
    let bound = gpu.context().bind(&plan, &operands.shift(at(&modulation, 2))).unwrap();
    let record = |encoder: &mut wgpu_norm::wgpu::CommandEncoder| {
        bound.record(&mut encoder.begin_compute_pass(&Default::default()))
    };
    let out = gpu.submit_blocking(record, &[("dx", &dx)]).unwrap();
    let want = gradient.oracle();
    close("dx", &ArrayD::from_shape_vec(&shape[..], out[0].clone()).unwrap(), &want.dx, &want.dx_scale);
}

#[test]
fn what_does_not_fit_is_refused() {
    let layer = || LayerNorm::new(&[2, 3, 4], &[4]).unwrap();
    let refused = |modulation: Modulation| cpu().plan(&layer().modulated(modulation)).unwrap_err().to_string();
    let [wrong, apart, pitch] = [
        refused(Modulation::new(&[2, 4])),
        refused(Modulation::new(&[1, 3, 1])),
        refused(Modulation::new(&[2, 1, 4]).pitch(3)),
    ];
    assert!(wrong.contains("of the shape of x, with 1 for the axes that share a number"), "{wrong}");
    assert!(apart.contains("are neighbours"), "{apart}");
    assert!(pitch.contains("of a pitch that is no less than a row"), "{pitch}");
    let heads = layer().segments(&[(3, 1e-5)]).modulated(Modulation::new(&[2, 1, 4]));
    assert!(cpu().plan(&heads).unwrap_err().to_string().contains("segments of heads"));
    assert!(refused(Modulation::new(&[2, 1, 4]).offset(f32::NAN)).contains("finite offset"));
    let twice = layer().modulated(Modulation::new(&[2, 1, 4])).modulated(Modulation::new(&[2, 1, 4]));
    let error = cpu().plan(&twice).unwrap_err();
    assert_eq!(error, SpecError::Twice { norm: "LayerNorm", what: "modulation" });
    assert_eq!(error.to_string(), "LayerNorm: a second modulation follows, but a norm has one at most");
    assert!(cpu().plan(&layer().plus_skip().plus_skip()).is_err());
    let x = [0.0; 24];
    let error = cpu().run(&layer(), Inputs::new(&x[..]).scale(&[0.0; 8])).unwrap_err();
    assert!(matches!(error, Error::Bind(BindError::Unexpected { tensor: "scale", .. })), "{error}");
    let error = cpu().run(&layer().plus_skip(), Inputs::new(&x[..])).unwrap_err();
    assert!(matches!(error, Error::Bind(BindError::Missing { tensor: "skip", .. })), "{error}");
    let modulated = layer().modulated(Modulation::new(&[2, 1, 4]));
    let error = cpu().run(&modulated, Inputs::new(&x[..]).scale(&[0.0; 7])).unwrap_err();
    assert!(matches!(error, Error::Bind(BindError::Length { tensor: "scale", length: 7, must: 8, .. })), "{error}");
}

/// Nothing to normalize leaves gradients of 0.
#[test]
fn of_nothing() {
    let norm = GroupNorm::new(&[2, 4, 0], 2, 1).unwrap().modulated(Modulation::new(&[2, 4, 1]));
    let nothing: [f32; 0] = [];
    for (label, gpu) in gpus() {
        let out =
            gpu.run_backward_blocking(&norm, Backward::new(), Inputs::new(&nothing[..]).grad_output(&nothing)).unwrap();
        assert_eq!(out.scale.unwrap(), [0.0; 8], "{label}");
    }
    let out = cpu().run_backward(&norm, Backward::new(), Inputs::new(&nothing[..]).grad_output(&nothing)).unwrap();
    assert_eq!(out.shift.unwrap(), [0.0; 8]);
}

/// All that may follow a norm, in any combination, of tensors of any type.
#[test]
fn any_combination() {
    let mut state = 3u32;
    let mut next = |most: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % most
    };
    for _ in 0..if thorough() { 20 } else { 15 } {
        let (kind, mut shape) = every_kind().swap_remove(next(17));
        if next(2) == 0 {
            shape[0] += 1;
        }
        let element = [Element::F32, Element::F16, Element::Bf16][next(3)];
        let mut gradient = Gradient::new(kind, &shape, 1.0);
        if next(3) > 0 {
            gradient = gradient.modulated(&shapes(&shape, next(3))[0]);
            gradient.case.offset = next(2) as f32;
            gradient.case.scale = gradient.case.scale.filter(|_| next(4) > 0);
        }
        if next(2) == 0 {
            gradient = gradient.plus_skip();
        }
        gradient = gradient.stored_as(element, if next(2) == 0 { element } else { Element::F32 });
        if next(3) > 0 {
            gradient = gradient.then(Activation::ALL[next(4)]);
        }
        gradient.case.check_all(&gpus()[..1]);
        if kind.has_backward() {
            gradient.check_all(&gpus()[..1]);
        }
    }
}

/// Plans for parts of a batch: here there is one.
#[test]
fn of_parts_of_a_batch() {
    let gradient = Gradient::new(Kind::BatchTrain { axis: 1 }, &[5, 3, 40], 1.0).modulated(&[5, 3, 1]).plus_skip();
    let (case, want, want_back) = (&gradient.case, gradient.case.oracle(), gradient.oracle());
    let norm = case.norm();
    let flat = |array: &ArrayD<f32>| array.iter().copied().collect::<Vec<_>>();
    let [weight, bias, scale, shift] =
        [&case.weight, &case.bias, &case.scale, &case.shift].map(|of| flat(of.as_ref().unwrap()));
    let (x, dy, skip) = (flat(&case.x), flat(&gradient.dy), flat(case.skip.as_ref().unwrap()));
    let array = |values: Vec<f32>, shape: &[usize]| ArrayD::from_shape_vec(shape, values).unwrap();
    for (label, engine) in engines() {
        let moments = engine.run_moments_blocking(norm.as_ref(), Inputs::new(&x[..])).unwrap();
        let merged = Merged::new(norm.as_ref(), &moments).unwrap();
        let inputs = Inputs::new(&x[..]).weight(&weight).bias(&bias).scale(&scale).shift(&shift);
        let inputs = inputs.statistics(merged.statistics());
        let y = engine.run_from_statistics_blocking(norm.as_ref(), inputs.skip(&skip)).unwrap();
        close(&format!("y {label}"), &array(y, case.x.shape()), &want.y, &want.scale);
        let inputs = inputs.grad_output(&dy);
        let (sums, found) = engine.run_backward_sums_blocking(norm.as_ref(), Backward::new(), inputs).unwrap();
        let (dscale, dshift) = (want_back.dscale.as_ref().unwrap(), want_back.dshift.as_ref().unwrap());
        close(&format!("dscale {label}"), &array(found.scale.unwrap(), &[5, 3, 1]), &dscale.value, &dscale.scale);
        close(&format!("dshift {label}"), &array(found.shift.unwrap(), &[5, 3, 1]), &dshift.value, &dshift.scale);
        close(
            &format!("dweight {label}"),
            &array(found.weight.unwrap(), &[3]),
            &want_back.dweight,
            &want_back.dweight_scale,
        );
        let dx = engine.run_backward_from_sums_blocking(norm.as_ref(), inputs, &sums).unwrap();
        close(&format!("dx {label}"), &array(dx, case.x.shape()), &want_back.dx, &want_back.dx_scale);
    }
}
