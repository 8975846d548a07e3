//! A gate, an embedding and a residual before every norm: `z = residual + gate * x + embedding`, forward and backward.

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::reference::{self, Gated};
use wgpu_norm::sample::wide;
use wgpu_norm::{
    Activation, Backward, BindError, Element, Engine, Error, Expected, GroupNorm, Inputs, LayerNorm, Modulation, Norm,
    Operands, SpecError, Strides, View,
};

use crate::modulation::shapes;
use crate::support::{Data, Gradient, Kind, changed, close, close_to, cpu, engines, every_kind, gpus, part};

/// A gradient whose `x` is the sum, and what it is the sum of. All are multiples of small powers of two, so that it is exact, whatever
/// the order.
struct Before {
    of: Gradient,
    branch: ArrayD<f32>,
    residual: Option<ArrayD<f32>>,
    gate: Option<ArrayD<f32>>,
    embedding: Option<ArrayD<f32>>,
    /// The shape of the modulation.
    shape: Vec<usize>,
}

impl Before {
    fn new(mut of: Gradient, shape: &[usize]) -> Self {
        let mut data = Data::new(shape.iter().fold(19, |seed, &n| seed * 43 + n as u64));
        let input = of.case.storage.of_input();
        let mut coarse =
            |shape: &[usize], steps: f32| data.normal(shape, 0.0, 1.0).mapv(|v| (v * steps).round() / steps);
        let all = of.case.x.shape().to_vec();
        let [branch, residual] = [64.0, 64.0].map(|steps| coarse(&all, steps).mapv(|v| input.rounded(v)));
        let [gate, embedding] = [16.0, 16.0].map(|steps| coarse(shape, steps));
        of.case.x = ArrayD::zeros(all);
        let before = Self {
            of,
            branch,
            residual: Some(residual),
            gate: Some(gate),
            embedding: Some(embedding),
            shape: shape.to_vec(),
        };
        before.summed()
    }

    /// With the sum in the place of `x`.
    fn summed(mut self) -> Self {
        let [residual, gate, embedding] = [&self.residual, &self.gate, &self.embedding].map(|of| of.as_ref().map(wide));
        let [residual, gate, embedding] = [&residual, &gate, &embedding].map(|of| of.as_ref().map(|of| of.view()));
        let z = reference::gated(wide(&self.branch).view(), residual, gate, embedding);
        self.of.case.x = z.value.mapv(|v| v as f32);
        assert_eq!(wide(&self.of.case.x), z.value, "not exact");
        self
    }

    fn norm(&self) -> Box<dyn Norm> {
        match self.of.case.norm() {
            norm if self.of.case.scale.is_some() || self.of.case.shift.is_some() => norm,
            // Without a scale and a shift there is a modulation all the same.
            norm => Box::new(norm.modulated(Modulation::new(&self.shape))),
        }
    }

    fn forward(&self, on: &Engine) {
        let case = &self.of.case;
        let want = case.oracle();
        let mut inputs = case.parameters().map(|array| array.view()).beside(self.branch.view()).with_residual_out();
        if let Some(residual) = &self.residual {
            inputs = inputs.residual(residual.view());
        }
        if let Some(gate) = &self.gate {
            inputs = inputs.gate(gate.view());
        }
        if let Some(embedding) = &self.embedding {
            inputs = inputs.embedding(embedding.view());
        }
        let out = on.run_array_blocking(self.norm().as_ref(), inputs);
        let what = format!("{:?} {:?} by {:?} {}", case.kind, case.x.shape(), self.shape, on.describe());
        let out = out.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(out.residual_out.unwrap(), case.x.mapv(|v| case.storage.of_input().rounded(v)), "{what}");
        close_to(case.storage.of_output(), &what, &out.y, &want.y, &want.scale);
    }

    fn backward(&self, on: &Engine, wanted: Backward) {
        let case = &self.of.case;
        let norm = self.norm();
        let what = format!("{:?} {:?} by {:?} {} {wanted:?}", case.kind, case.x.shape(), self.shape, on.describe());
        let given = case.parameters().going_back(case.kind, case.activation);
        // What is stored of the sum is what there is on the way back.
        let z = case.x.mapv(|v| case.storage.of_input().rounded(v));
        let inputs = given.map(|array| array.view()).beside(z.view()).grad_output(self.of.dy.view());
        let Some(gate) = &self.gate else { return };
        let inputs = inputs.gate(gate.view()).branch(self.branch.view());
        let wanted = wanted.with_gate().with_embedding();
        let out = on.run_backward_array_blocking(norm.as_ref(), wanted, inputs);
        let out = match out {
            // All at once takes more bindings than some devices have, as docs/norms.md says.
            Err(Error::Bind(BindError::StorageBuffers { needs: 11, has: 8..=10, .. })) => return,
            out => out.unwrap_or_else(|error| panic!("{what}: {error}")),
        };
        let dz = out.input.unwrap();
        let mut exact = case.exact();
        exact.x = wide(&z);
        let want = case.kind.gradients(&exact, &wide(&self.of.dy)).unwrap();
        close_to(case.storage.of_gradients(), &format!("dz of {what}"), &dz, &want.dx, &want.dx_scale);
        let Gated { dgate, dembedding, .. } = reference::gated_backward(
            wide(&dz).view(),
            wide(&self.branch).view(),
            Some(wide(gate).view()),
            &self.shape,
        );
        close(&format!("dgate of {what}"), &out.gate.unwrap(), &dgate.value, &dgate.scale);
        close(&format!("dembedding of {what}"), &out.embedding.unwrap(), &dembedding.value, &dembedding.scale);
        // That of the branch goes by what is not rounded yet.
        let back = |dz: &ArrayD<f64>| {
            reference::gated_backward(dz.view(), wide(&self.branch).view(), Some(wide(gate).view()), &self.shape)
                .dbranch
        };
        let (dbranch, scale) = (back(&want.dx).value, back(&want.dx_scale).scale);
        let got = out.branch.unwrap();
        close_to(case.storage.of_gradients(), &format!("dbranch of {what}"), &got, &dbranch, &scale);
    }
}

fn on(count: usize) -> Vec<Engine> {
    let gpus = part(gpus(), 1).iter().take(count).map(|(_, gpu)| Engine::from(gpu.clone()));
    gpus.chain([cpu().clone().into()]).collect()
}

#[test]
fn before_every_kind() {
    for (number, (kind, shape)) in every_kind().into_iter().enumerate() {
        for modulation in shapes(&shape, number).into_iter().take(2) {
            let gradient = Gradient::new(kind, &shape, 0.0);
            let scaled = if number % 2 == 0 { gradient.modulated(&modulation) } else { gradient };
            let before = Before::new(scaled, &modulation);
            for engine in on(1) {
                before.forward(&engine);
                if kind.has_backward() {
                    before.backward(&engine, Backward::new());
                }
            }
        }
    }
}

#[test]
fn of_16_bits() {
    for (number, (kind, shape)) in every_kind().into_iter().filter(|(kind, _)| kind.has_backward()).enumerate() {
        let element = [Element::F16, Element::Bf16][number % 2];
        for odd in [false, true] {
            let mut shape = shape.clone();
            *shape.last_mut().unwrap() |= usize::from(odd);
            if let Kind::Group { groups, axis } = kind {
                shape[axis as usize] = shape[axis as usize].next_multiple_of(groups);
            }
            let gradient = Gradient::new(kind, &shape, 0.0).stored_as(element, Element::F32);
            let before = Before::new(gradient, &shapes(&shape, number)[0]);
            for engine in on(1) {
                before.forward(&engine);
                before.backward(&engine, Backward::new().without_weight().without_bias());
            }
        }
    }
}

/// Each of the three alone, and a scale and an activation after all of them.
#[test]
fn each_is_optional() {
    for (kind, shape, modulation) in [
        (Kind::Layer { ndim: 1 }, [3, 40, 96], [3, 1, 96]),
        (Kind::Group { groups: 4, axis: 1 }, [3, 16, 63], [3, 16, 1]),
        (Kind::Group { groups: 4, axis: 2 }, [3, 50, 16], [3, 1, 16]),
        (Kind::Rms { ndim: 1, offset: 0.0 }, [3, 40, 96], [1, 1, 96]),
    ] {
        for without in 0..4 {
            let gradient = Gradient::new(kind, &shape, 0.0).modulated(&modulation).then(Activation::Silu);
            let mut before = Before::new(gradient, &modulation);
            before.residual = before.residual.filter(|_| without != 0);
            before.gate = before.gate.filter(|_| without != 1);
            before.embedding = before.embedding.filter(|_| without != 2);
            before.of.case.shift = before.of.case.shift.filter(|_| without != 3);
            let before = before.summed();
            for engine in on(2) {
                before.forward(&engine);
                before.backward(&engine, Backward::new().without_modulation());
            }
        }
    }
}

/// Tensors that are cut into parts for their bindings.
#[test]
fn in_windows() {
    let gpu: Engine = changed(|c| c.max_binding = 64 << 10).into();
    for (kind, shape, modulation) in [
        (Kind::Layer { ndim: 1 }, vec![4, 10, 700], vec![4, 1, 700]),
        (Kind::Group { groups: 2, axis: 2 }, vec![3, 2333, 4], vec![3, 1, 4]),
        (Kind::BatchTrain { axis: 1 }, vec![9, 3, 700], vec![9, 3, 1]),
    ] {
        let before = Before::new(Gradient::new(kind, &shape, 0.0), &modulation);
        before.forward(&gpu);
        before.backward(&gpu, Backward::new());
    }
}

/// A block of a diffusion transformer: scale, shift and gate are chunks of one projection, the residual is in place, and so are the gradients
/// chunks of one, whose others stay as they are.
#[test]
fn chunks_of_one_projection() {
    let (batch, tokens, width) = (3, 5, 36);
    let shape = [batch, tokens, width];
    let modulation = [batch, 1, width];
    let before = Before::new(Gradient::new(Kind::Layer { ndim: 1 }, &shape, 0.0).modulated(&modulation), &modulation);
    let case = &before.of.case;
    let norm = LayerNorm::new(&shape, &[width]).unwrap();
    let norm = norm.modulated(Modulation::new(&modulation).pitch(6 * width));
    let flat = |array: &ArrayD<f32>| array.iter().copied().collect::<Vec<_>>();
    let mut projection = vec![9.0f32; batch * 6 * width];
    for (chunk, of) in [(1, &case.scale), (2, &case.shift), (4, &before.gate), (5, &before.embedding)] {
        for (at, row) in flat(of.as_ref().unwrap()).chunks(width).enumerate() {
            projection[(6 * at + chunk) * width..][..width].copy_from_slice(row);
        }
    }
    let want = case.oracle();
    // With few bindings all four are read through one.
    let few = changed(|c| c.max_storage_buffers = 7);
    for (label, gpu) in gpus().iter().map(|(label, gpu)| (*label, gpu)).chain([("with few bindings", &few)]) {
        let upload = |values: &[f32]| gpu.upload_blocking("tensor", values).unwrap();
        let (branch, stream) = (upload(&flat(&before.branch)), upload(&flat(before.residual.as_ref().unwrap())));
        let [weight, bias] = [&case.weight, &case.bias].map(|of| upload(&flat(of.as_ref().unwrap())));
        let (y, given, found) =
            (upload(&vec![0.0; case.x.len()]), upload(&projection), upload(&vec![7.0; projection.len()]));
        let (dy, dz, dbranch) =
            (upload(&flat(&before.of.dy)), upload(&vec![0.0; case.x.len()]), upload(&vec![0.0; case.x.len()]));
        let chunk = |buffer, number: usize| View::new(buffer, (4 * number * width) as u64);
        let context = gpu.context();
        let operands = Operands::new(&branch, &y).weight(&weight).bias(&bias).residual(&stream).residual_out(&stream);
        let operands = operands.scale(chunk(&given, 1)).shift(chunk(&given, 2)).gate(chunk(&given, 4));
        let plan = context.plan(&norm).unwrap();
        let forward = context.bind(&plan, &operands.embedding(chunk(&given, 5))).unwrap();
        let wanted = Backward::new().without_weight().without_bias().with_gate().with_embedding();
        let plan = context.plan_backward(&norm, wanted).unwrap();
        let operands = Operands::backward(&dy, &stream).weight(&weight).bias(&bias).scale(chunk(&given, 1));
        let operands = operands.gate(chunk(&given, 4)).branch(&branch).grad_input(&dz).grad_branch(&dbranch);
        let operands = operands.grad_scale(chunk(&found, 1)).grad_shift(chunk(&found, 2));
        let operands = operands.grad_gate(chunk(&found, 4)).grad_embedding(chunk(&found, 5));
        let back = match context.bind(&plan, &operands) {
            // Gradients are in bindings of their own.
            Err(BindError::StorageBuffers { needs: 8.., has: 7, .. }) if label == "with few bindings" => None,
            back => Some(back.unwrap()),
        };
        let record = |encoder: &mut wgpu_norm::wgpu::CommandEncoder| {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            forward.record(&mut pass);
            back.iter().for_each(|back| back.record(&mut pass));
        };
        let out = gpu.submit_blocking(record, &[("y", &y), ("z", &stream), ("dz", &dz), ("found", &found)]).unwrap();
        let array = |values: &[f32], shape: &[usize]| ArrayD::from_shape_vec(shape, values.to_vec()).unwrap();
        close(&format!("y {label}"), &array(&out[0], &shape), &want.y, &want.scale);
        assert_eq!(array(&out[1], &shape), case.x, "z {label}");
        if back.is_none() {
            continue;
        }
        let dz = wide(&array(&out[2], &shape));
        let gate = before.gate.as_ref().map(wide);
        let back = reference::gated_backward(
            dz.view(),
            wide(&before.branch).view(),
            gate.as_ref().map(|gate| gate.view()),
            &modulation,
        );
        let chunk = |number: usize| {
            let rows = out[3].chunks(6 * width).flat_map(|row| &row[number * width..(number + 1) * width]);
            array(&rows.copied().collect::<Vec<_>>(), &modulation)
        };
        close(&format!("dgate {label}"), &chunk(4), &back.dgate.value, &back.dgate.scale);
        close(&format!("dembedding {label}"), &chunk(5), &back.dembedding.value, &back.dembedding.scale);
        for number in [0, 3] {
            assert!(chunk(number).iter().all(|&v| v == 7.0), "{label} {number}");
        }
    }
}

/// Rows with a pitch, in one tensor that holds the branch beside other things.
#[test]
fn with_strides() {
    let (rows, width, pitch) = (6, 20, 28);
    let modulation = [2, 1, width];
    let shape = [2, rows / 2, width];
    let before = Before::new(Gradient::new(Kind::Rms { ndim: 1, offset: 0.0 }, &shape, 0.0), &modulation);
    let case = &before.of.case;
    let flat = |array: &ArrayD<f32>| array.iter().copied().collect::<Vec<_>>();
    let spread = |array: &ArrayD<f32>| {
        let mut all = vec![5.0f32; (rows - 1) * pitch + width];
        for (at, row) in flat(array).chunks(width).enumerate() {
            all[at * pitch..][..width].copy_from_slice(row);
        }
        all
    };
    let steps = [rows / 2 * pitch, pitch, 1];
    let norm = before.norm().with_strides(Strides::new().x(&steps).branch(&steps).grad_branch(&steps));
    let (branch, z) = (spread(&before.branch), spread(&case.x));
    let [weight, bias, gate, residual, embedding] =
        [&case.weight, &case.bias, &before.gate, &before.residual, &before.embedding]
            .map(|of| flat(of.as_ref().unwrap()));
    let (dy, wanted) = (flat(&before.of.dy), Backward::new().with_gate());
    for (label, engine) in engines() {
        let inputs = Inputs::new(&branch[..]).weight(&weight).bias(&bias).gate(&gate).embedding(&embedding);
        let y = engine.run_blocking(&norm, inputs.residual(&residual)).unwrap().y;
        let want = case.oracle();
        close(label, &ArrayD::from_shape_vec(&shape[..], y).unwrap(), &want.y, &want.scale);
        let inputs = Inputs::new(&z[..]).weight(&weight).gate(&gate).branch(&branch).grad_output(&dy);
        let out = engine.run_backward_blocking(&norm, wanted, inputs).unwrap();
        let dz = ArrayD::from_shape_vec(&shape[..], out.input.unwrap()).unwrap();
        let gate = before.gate.as_ref().map(wide);
        let gate = gate.as_ref().map(|gate| gate.view());
        let back = reference::gated_backward(wide(&dz).view(), wide(&before.branch).view(), gate, &modulation);
        let array = |values: Vec<f32>, shape: &[usize]| ArrayD::from_shape_vec(shape, values).unwrap();
        close(label, &array(out.gate.unwrap(), &modulation), &back.dgate.value, &back.dgate.scale);
        let rows: Vec<f32> = out.branch.unwrap().chunks(pitch).flat_map(|row| row[..width].to_vec()).collect();
        close(label, &array(rows, &shape), &back.dbranch.value, &back.dbranch.scale);
    }
}

/// Gradients that are added to what is there.
#[test]
fn gradients_accumulate() {
    let before = Before::new(Gradient::new(Kind::Layer { ndim: 1 }, &[2, 3, 8], 0.0), &[2, 1, 8]);
    let flat = |array: &ArrayD<f32>| array.iter().copied().collect::<Vec<_>>();
    let [branch, z, dy, gate] =
        [&before.branch, &before.of.case.x, &before.of.dy, before.gate.as_ref().unwrap()].map(flat);
    let start: Vec<f32> = (0..16).map(|v| v as f32).collect();
    for (label, engine) in engines() {
        let norm = before.norm();
        let inputs = Inputs::new(&z[..]).grad_output(&dy).gate(&gate).branch(&branch);
        let wanted = Backward::new().without_weight().without_bias().without_modulation().with_gate().with_embedding();
        let once = engine.run_backward_blocking(norm.as_ref(), wanted, inputs).unwrap();
        let inputs = inputs.grad_gate(&start).grad_embedding(&start);
        let twice = engine.run_backward_blocking(norm.as_ref(), wanted.accumulate(), inputs).unwrap();
        for (once, twice) in [(once.gate, twice.gate), (once.embedding, twice.embedding)] {
            for ((once, twice), start) in once.unwrap().iter().zip(twice.unwrap()).zip(&start) {
                assert!((once + start - twice).abs() < 1e-5, "{label}");
            }
        }
        assert!(once.scale.is_none(), "{label}");
    }
}

/// Nothing to normalize leaves gradients of 0.
#[test]
fn of_nothing() {
    let norm = GroupNorm::new(&[2, 4, 0], 2, 1).unwrap().modulated(Modulation::new(&[2, 4, 1]));
    let (nothing, gate): ([f32; 0], _) = ([], [1.0; 8]);
    for (label, engine) in engines() {
        let inputs = Inputs::new(&nothing[..]).grad_output(&nothing).gate(&gate).branch(&nothing);
        let out = engine.run_backward_blocking(&norm, Backward::new().with_gate().with_embedding(), inputs).unwrap();
        assert_eq!((out.gate.unwrap(), out.embedding.unwrap()), (vec![0.0; 8], vec![0.0; 8]), "{label}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let layer = || LayerNorm::new(&[2, 3, 4], &[4]).unwrap();
    let modulated = || layer().modulated(Modulation::new(&[2, 1, 4]));
    let (x, row) = ([0.0; 24], [0.0; 8]);
    let unexpected = |error: Error, name: &str| {
        assert!(matches!(&error, Error::Bind(BindError::Unexpected { tensor, .. }) if *tensor == name), "{error}");
    };
    unexpected(cpu().run(&layer(), Inputs::new(&x[..]).gate(&row)).unwrap_err(), "gate");
    unexpected(cpu().run(&modulated(), Inputs::new(&x[..]).branch(&x)).unwrap_err(), "branch");
    let back = Inputs::new(&x[..]).grad_output(&x);
    unexpected(cpu().run_backward(&modulated(), Backward::new(), back.gate(&row)).unwrap_err(), "gate");
    unexpected(cpu().run_backward(&modulated(), Backward::new(), back.embedding(&row)).unwrap_err(), "embedding");
    let error = cpu().run_backward(&modulated(), Backward::new().with_gate(), back.gate(&row)).unwrap_err();
    assert!(matches!(error, Error::Bind(BindError::Missing { tensor: "branch", .. })), "{error}");
    let error = cpu().run(&modulated(), Inputs::new(&x[..]).gate(&[0.0; 7])).unwrap_err();
    assert!(matches!(error, Error::Bind(BindError::Length { tensor: "gate", length: 7, must: 8, .. })), "{error}");
    let refused = |error: SpecError, must: &str| {
        assert!(matches!(error, SpecError::Gate { .. }) && error.to_string().contains(must), "{error}");
    };
    let plan = |norm: &dyn Norm, wanted| cpu().plan_backward(norm, wanted).unwrap_err();
    refused(plan(&layer(), Backward::new().with_gate()), "of a norm that Norm::modulated made");
    refused(plan(&modulated(), Backward::new().without_input().with_embedding()), "planned with that of x");
    let error = cpu().plan_backward_sums(&modulated(), Backward::new().with_gate()).unwrap_err();
    refused(error, "left out of plans for parts of a batch");
    let error = cpu().plan_backward(
        &modulated(),
        Backward::new().without_input().without_weight().without_bias().without_modulation(),
    );
    assert!(matches!(error, Err(SpecError::NoGradients { .. })));
}

/// Pipelines that were made before there were tensors.
#[test]
fn it_can_be_warmed_up() {
    let norm = LayerNorm::new(&[2, 3, 4], &[4]).unwrap().modulated(Modulation::new(&[2, 1, 4]));
    let context = gpus()[0].1.context();
    let expected = Expected::new().weight().bias().residual().residual_out().gate().embedding();
    context.warm_up(&context.plan(&norm).unwrap(), expected).unwrap();
    let plan = context.plan_backward(&norm, Backward::new().with_gate()).unwrap();
    context.warm_up(&plan, Expected::new().weight()).unwrap();
}
