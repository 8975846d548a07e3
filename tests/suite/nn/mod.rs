//! Layers: against the oracle, in one's own pass, in either mode, and what they keep between calls.

mod halves;
mod instances;
mod options;
#[cfg(feature = "safetensors")]
mod state;

use half::{bf16, f16};
use wgpu_norm::ndarray::{ArrayD, IxDyn};
use wgpu_norm::nn::{
    AnyLayer, BatchNormLayer, BatchNormOptions, GradOutput, GroupNormLayer, GroupNormOptions, InstanceNormLayer,
    InstanceNormOptions, LayerBefore, LayerNormLayer, LayerNormOptions, RmsNormLayer, RmsNormOptions, Saved,
};
use wgpu_norm::reference;
use wgpu_norm::{Activation, BindError, Element, Error, Gpu, LayerError, Momentum, SpecError, View, wgpu};

use crate::support::{Case, Data, Gradient, Kind, changed, close, gpu, gpus};

const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

/// A buffer of these values.
pub fn buffer(gpu: &Gpu, values: &ArrayD<f32>) -> wgpu::Buffer {
    let buffer = room(gpu, values.len());
    write(gpu, &buffer, values);
    buffer
}

/// A buffer for as many values, of NaN.
pub fn room(gpu: &Gpu, length: usize) -> wgpu::Buffer {
    let size = (length * size_of::<f32>()) as u64;
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage: USAGE,
        mapped_at_creation: false,
    });
    write(gpu, &buffer, &ArrayD::from_elem(IxDyn(&[length]), f32::NAN));
    buffer
}

pub fn write(gpu: &Gpu, buffer: &wgpu::Buffer, values: &ArrayD<f32>) {
    let values: Vec<f32> = values.iter().copied().collect();
    gpu.queue().write_buffer(buffer, 0, bytemuck::cast_slice(&values));
}

pub fn read(gpu: &Gpu, buffer: &wgpu::Buffer, shape: &[usize]) -> ArrayD<f32> {
    let staging = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    gpu.queue().submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |_| {});
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let values = bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap());
    ArrayD::from_shape_vec(IxDyn(shape), values).unwrap()
}

/// The same of elements that are stored as another type; what is left of the last word is 0.
pub fn write_as(gpu: &Gpu, buffer: &wgpu::Buffer, element: Element, values: &ArrayD<f32>) {
    let bits = |v: f32| if element == Element::F16 { f16::from_f32(v).to_bits() } else { bf16::from_f32(v).to_bits() };
    if element == Element::F32 {
        return write(gpu, buffer, values);
    }
    let mut bits: Vec<u16> = values.iter().map(|&v| bits(v)).collect();
    bits.resize(bits.len().next_multiple_of(2), 0);
    gpu.queue().write_buffer(buffer, 0, bytemuck::cast_slice(&bits));
}

/// Submits what is recorded into one pass.
pub fn submit<T>(gpu: &Gpu, record: impl FnOnce(&mut wgpu::ComputePass<'_>) -> T) -> T {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let recorded = record(&mut encoder.begin_compute_pass(&Default::default()));
    gpu.queue().submit([encoder.finish()]);
    recorded
}

/// A layer that computes what the case does, with its parameters.
fn layer(gpu: &Gpu, case: &Case) -> AnyLayer {
    let (shape, eps) = (case.x.shape(), case.eps);
    let (channels, affine) = (|axis: isize| shape[axis as usize], case.weight.is_some());
    let last = |ndim: usize| &shape[shape.len() - ndim..];
    let layer = match case.kind {
        Kind::Layer { ndim } => {
            let options = LayerNormOptions::new(last(ndim))
                .eps(eps)
                .elementwise_affine(affine)
                .stored_as(case.storage)
                .activation(case.activation);
            LayerNormLayer::new_blocking(gpu, options).unwrap().into_any()
        }
        Kind::LayerOver { axes } => {
            let norm = case.norm();
            let options = LayerNormOptions::new(&norm.parameter_shape())
                .axes(axes)
                .eps(eps)
                .elementwise_affine(affine)
                .stored_as(case.storage)
                .activation(case.activation);
            LayerNormLayer::new_blocking(gpu, options).unwrap().into_any()
        }
        Kind::RmsOver { axes, offset } => {
            let options = RmsNormOptions::new(&case.norm().parameter_shape()).axes(axes).eps(eps).weight_offset(offset);
            let options = options
                .elementwise_affine(affine)
                .bias(case.bias.is_some())
                .stored_as(case.storage)
                .activation(case.activation);
            RmsNormLayer::new_blocking(gpu, options).unwrap().into_any()
        }
        Kind::Rms { ndim, offset } => {
            let options = RmsNormOptions::new(last(ndim)).eps(eps).weight_offset(offset);
            let options = options
                .elementwise_affine(affine)
                .bias(case.bias.is_some())
                .stored_as(case.storage)
                .activation(case.activation);
            RmsNormLayer::new_blocking(gpu, options).unwrap().into_any()
        }
        Kind::Group { groups, axis } => {
            let options = GroupNormOptions::new(groups, channels(axis))
                .eps(eps)
                .channel_axis(axis)
                .affine(affine)
                .stored_as(case.storage)
                .activation(case.activation);
            GroupNormLayer::new_blocking(gpu, options).unwrap().into_any()
        }
        Kind::Instance { axis } => {
            let options = InstanceNormOptions::new(channels(axis))
                .eps(eps)
                .channel_axis(axis)
                .affine(affine)
                .stored_as(case.storage)
                .activation(case.activation);
            InstanceNormLayer::new_blocking(gpu, options).unwrap().into_any()
        }
        Kind::BatchTrain { axis } | Kind::BatchEval { axis } => {
            let options = BatchNormOptions::new(channels(axis))
                .eps(eps)
                .channel_axis(axis)
                .affine(affine)
                .stored_as(case.storage)
                .activation(case.activation);
            BatchNormLayer::new_blocking(gpu, options).unwrap().into_any()
        }
        _ => panic!("{:?} is no layer", case.kind),
    };
    let parameters = case.storage.of_parameters();
    let given = [
        (layer.weight(), &case.weight, parameters),
        (layer.bias(), &case.bias, parameters),
        (layer.running_mean(), &case.running_mean, Element::F32),
        (layer.running_var(), &case.running_var, Element::F32),
    ];
    for (place, values, element) in given {
        if let Some(values) = values {
            write_as(gpu, place.unwrap(), element, values);
        }
    }
    let mut layer = layer;
    if let Kind::BatchEval { .. } = case.kind {
        layer.eval();
    }
    layer
}

/// Every kind of layer, as the caller's shapes may be.
fn cases() -> Vec<Gradient> {
    let case = |kind, shape: &[usize]| Gradient::new(kind, shape, 2.0);
    vec![
        case(Kind::Layer { ndim: 1 }, &[40, 24]),
        case(Kind::Layer { ndim: 2 }, &[3, 7, 90]),
        case(Kind::Layer { ndim: 1 }, &[3, 9000]),
        case(Kind::Layer { ndim: 1 }, &[5, 33]).plain(),
        case(Kind::LayerOver { axes: &[1] }, &[3, 24, 5, 5]),
        case(Kind::RmsOver { axes: &[1, -1], offset: 1.0 }, &[2, 6, 7, 9]),
        case(Kind::Rms { ndim: 1, offset: 0.0 }, &[40, 24]),
        case(Kind::Rms { ndim: 1, offset: 1.0 }, &[4, 33]),
        case(Kind::Group { groups: 2, axis: 1 }, &[3, 6, 20]),
        case(Kind::Group { groups: 3, axis: 2 }, &[3, 20, 6]),
        case(Kind::Instance { axis: 2 }, &[3, 20, 6]),
        case(Kind::Instance { axis: 1 }, &[3, 4, 20]).plain(),
        case(Kind::BatchTrain { axis: 1 }, &[300, 12]),
        case(Kind::BatchTrain { axis: 1 }, &[4, 3, 70]),
        case(Kind::BatchEval { axis: 1 }, &[30, 6, 4]),
        case(Kind::BatchEval { axis: 1 }, &[30, 6]).plain(),
    ]
}

/// The same, each with an activation after it.
fn activated() -> impl Iterator<Item = Gradient> {
    cases().into_iter().enumerate().map(|(number, gradient)| gradient.then(Activation::ALL[number % 4]))
}

/// One of them where an activation follows, else all.
fn devices(case: &Case, number: usize) -> &'static [(&'static str, Gpu)] {
    let one = number % gpus().len();
    if case.activation.is_some() { &gpus()[one..=one] } else { gpus() }
}

/// A layer's gradients, once each, beside what the oracle says.
fn check_gradients(what: &str, layer: &AnyLayer, want: &reference::Backward, times: f64) {
    let gradients = layer.gradients_blocking().unwrap();
    for (name, got, want, scale) in [
        ("weight", gradients.weight, &want.dweight, &want.dweight_scale),
        ("bias", gradients.bias, &want.dbias, &want.dbias_scale),
    ] {
        if let Some(got) = got {
            let got = ArrayD::from_shape_vec(want.raw_dim(), got).unwrap();
            close(&format!("d{name} of {what}"), &got, &(want * times), &(scale * times));
        }
    }
}

#[test]
fn arrays_against_the_oracle() {
    for (number, gradient) in cases().into_iter().chain(activated()).enumerate() {
        let (case, want, backward) = (&gradient.case, gradient.case.oracle(), gradient.oracle());
        for (label, gpu) in devices(case, number) {
            let layer = layer(gpu, case);
            let what = format!("{layer:?} {:?} {label}", case.x.shape());
            let y = layer.run_array_blocking(case.x.view()).unwrap();
            close(&format!("y of {what}"), &y, &want.y, &want.scale);
            let dx = layer.run_backward_array_blocking(gradient.dy.view(), case.x.view()).unwrap();
            close(&format!("dx of {what}"), &dx, &backward.dx, &backward.dx_scale);
            check_gradients(&what, &layer, &backward, 1.0);
            // In any memory order.
            let reversed = |array: &ArrayD<f32>| array.t().as_standard_layout().reversed_axes().into_owned();
            let (x, dy) = (reversed(&case.x), reversed(&gradient.dy));
            assert_eq!(layer.run_backward_array_blocking(dy.view(), x.view()).unwrap(), dx, "{what}");
            check_gradients(&what, &layer, &backward, 2.0);
            layer.zero_grad_blocking().unwrap();
            check_gradients(&what, &layer, &backward, 0.0);
        }
    }
}

#[test]
fn in_ones_own_pass_against_the_oracle() {
    for (number, gradient) in cases().into_iter().chain(activated()).enumerate() {
        let (case, want, backward) = (&gradient.case, gradient.case.oracle(), gradient.oracle());
        let shape = case.x.shape();
        for (label, gpu) in devices(case, number) {
            let layer = layer(gpu, case);
            let what = format!("{layer:?} {shape:?} {label}");
            let (x, dy) = (buffer(gpu, &case.x), buffer(gpu, &gradient.dy));
            let (y, dx) = (room(gpu, case.x.len()), room(gpu, case.x.len()));
            // Two steps of two backward passes each: gradients add up, and start anew where that is recorded.
            for _ in 0..2 {
                let mut encoder = gpu.device().create_command_encoder(&Default::default());
                layer.record_zero_grad(&mut encoder);
                let mut pass = encoder.begin_compute_pass(&Default::default());
                let saved = layer.forward(&mut pass, shape, &x, &y).unwrap();
                layer.backward(&mut pass, &saved, GradOutput::new(&dy).grad_input(&dx)).unwrap();
                if case.weight.is_some() {
                    layer.backward(&mut pass, &saved, GradOutput::new(&dy)).unwrap();
                }
                drop(pass);
                gpu.queue().submit([encoder.finish()]);
            }
            close(&format!("y of {what}"), &read(gpu, &y, shape), &want.y, &want.scale);
            close(&format!("dx of {what}"), &read(gpu, &dx, shape), &backward.dx, &backward.dx_scale);
            check_gradients(&what, &layer, &backward, 2.0);
            assert_eq!(layer.calls_kept(), if case.weight.is_some() { 3 } else { 2 }, "{what}");
        }
    }
}

/// A network may use one layer several times before it goes back.
#[test]
fn backward_goes_by_the_forward_pass_of_its_input() {
    let gpu = gpu();
    let kind = Kind::Layer { ndim: 1 };
    let gradients = [0.0, 50.0].map(|mean| Gradient::new(kind, &[6, 9000], mean));
    let layer = layer(gpu, &gradients[0].case);
    let shape = [6, 9000];
    let buffers: Vec<_> = gradients
        .iter()
        .map(|gradient| (buffer(gpu, &gradient.case.x), buffer(gpu, &gradient.dy), room(gpu, 6 * 9000)))
        .collect();
    let y = room(gpu, 6 * 9000);
    submit(gpu, |pass| {
        let saved: Vec<_> = buffers.iter().map(|(x, ..)| layer.forward(pass, &shape, x, &y).unwrap()).collect();
        for (saved, (_, dy, dx)) in saved.iter().zip(&buffers) {
            layer.backward(pass, saved, GradOutput::new(dy).grad_input(dx)).unwrap();
        }
    });
    for (gradient, (_, _, dx)) in gradients.iter().zip(&buffers) {
        // One weight is that of both, and so is its scale.
        let mut gradient = Gradient { case: gradient.case.clone(), dy: gradient.dy.clone() };
        gradient.case.weight = gradients[0].case.weight.clone();
        let want = gradient.oracle();
        close("dx", &read(gpu, dx, &shape), &want.dx, &want.dx_scale);
    }
}

/// Evaluation after a training step, before its backward pass: autograd would not mind.
#[test]
fn backward_is_in_the_mode_of_its_forward_pass() {
    let gpu = gpu();
    let training = Gradient::new(Kind::BatchTrain { axis: 1 }, &[40, 6], 2.0);
    let mut layer = layer(gpu, &training.case);
    let (x, dy) = (buffer(gpu, &training.case.x), buffer(gpu, &training.dy));
    let (y, dx) = (room(gpu, 240), room(gpu, 240));
    let saved = submit(gpu, |pass| layer.forward(pass, &[40, 6], &x, &y).unwrap());
    layer.eval();
    submit(gpu, |pass| layer.backward(pass, &saved, GradOutput::new(&dy).grad_input(&dx)).unwrap());
    let want = training.oracle();
    close("dx, trained", &read(gpu, &dx, &[40, 6]), &want.dx, &want.dx_scale);

    // And the other way round.
    let saved = submit(gpu, |pass| layer.forward(pass, &[40, 6], &x, &y).unwrap());
    layer.train();
    submit(gpu, |pass| layer.backward(pass, &saved, GradOutput::new(&dy).grad_input(&dx)).unwrap());
    let running = layer.running_statistics_blocking().unwrap().unwrap();
    let mut eval = Gradient::new(Kind::BatchEval { axis: 1 }, &[40, 6], 2.0);
    eval.case = Case { kind: eval.case.kind, ..training.case.clone() };
    eval.dy = training.dy.clone();
    eval.case.running_mean = Some(ArrayD::from_shape_vec(IxDyn(&[6]), running.mean).unwrap());
    eval.case.running_var = Some(ArrayD::from_shape_vec(IxDyn(&[6]), running.var).unwrap());
    let want = eval.oracle();
    close("dx, evaluated", &read(gpu, &dx, &[40, 6]), &want.dx, &want.dx_scale);
}

#[test]
fn running_statistics_follow_training_alone() {
    let gpu = gpu();
    let mut layer = BatchNormLayer::new_blocking(gpu, BatchNormOptions::new(3)).unwrap();
    let running = |layer: &BatchNormLayer| layer.running_statistics_blocking().unwrap().unwrap();
    let start = running(&layer);
    assert_eq!((start.mean, start.var, start.num_batches_tracked), (vec![0.0; 3], vec![1.0; 3], 0));
    let (x, other) = (Data::new(5).normal(&[8, 3], 2.0, 1.0), Data::new(6).normal(&[5, 3], 2.0, 1.0));
    layer.eval();
    layer.run_array_blocking(x.view()).unwrap();
    assert_eq!(running(&layer).num_batches_tracked, 0);
    layer.train();
    layer.run_array_blocking(x.view()).unwrap();
    layer.run_array_blocking(other.view()).unwrap();
    let trained = running(&layer);
    assert_eq!(trained.num_batches_tracked, 2);
    assert!(trained.mean.iter().all(|&mean| mean > 0.2), "{trained:?}");
    // A backward pass leaves them alone.
    layer.run_backward_array_blocking(x.view(), x.view()).unwrap();
    layer.eval();
    layer.run_array_blocking(x.view()).unwrap();
    assert_eq!(running(&layer), trained);
    // An empty batch too.
    layer.train();
    assert_eq!(layer.run_blocking(&[0, 3], &[0.0; 0]).unwrap(), [0.0; 0]);
    assert_eq!(layer.run_backward_blocking(&[0, 3], &[0.0; 0], &[]).unwrap(), [0.0; 0]);
    assert_eq!(running(&layer), trained);
    // Without tracking there are none, and evaluation goes by the batch.
    let mut untracked = BatchNormLayer::new_blocking(gpu, BatchNormOptions::new(3).track_running_stats(false)).unwrap();
    assert_eq!(untracked.running_statistics_blocking().unwrap(), None);
    let y = untracked.run_array_blocking(x.view()).unwrap();
    untracked.eval();
    assert_eq!(untracked.run_array_blocking(x.view()).unwrap(), y);
}

#[test]
fn a_plan_for_each_shape_and_a_binding_for_each_call() {
    let gpu = gpu();
    let layer = LayerNormLayer::new_blocking(gpu, LayerNormOptions::new(&[16])).unwrap();
    let (x, y, dy, dx) = (room(gpu, 1024), room(gpu, 1024), room(gpu, 1024), room(gpu, 1024));
    let step = |rows: usize| {
        submit(gpu, |pass| {
            let saved = layer.forward(pass, &[rows, 16], &x, &y).unwrap();
            layer.backward(pass, &saved, GradOutput::new(&dy).grad_input(&dx)).unwrap();
        });
        (layer.plans_kept(), layer.calls_kept())
    };
    assert_eq!((layer.plans_kept(), layer.calls_kept()), (0, 0));
    assert_eq!(step(64), (2, 2));
    assert_eq!(step(64), (2, 2));
    // A changed batch size costs one new plan a pass, once.
    assert_eq!(step(17), (4, 4));
    assert_eq!(step(64), (4, 4));
    assert_eq!(step(17), (4, 4));
    // Another buffer, or another place in one, is bound to the plan there is.
    submit(gpu, |pass| layer.forward(pass, &[17, 16], &dy, &y).unwrap());
    submit(gpu, |pass| layer.forward(pass, &[17, 16], View::new(&x, 64), &y).unwrap());
    assert_eq!((layer.plans_kept(), layer.calls_kept()), (4, 6));
    // Arrays bind what comes once, and keep the plan alone.
    layer.run_blocking(&[17, 16], &[1.0; 272]).unwrap();
    assert_eq!((layer.plans_kept(), layer.calls_kept()), (4, 6));
    // As many as a long text has lengths, and no more.
    for rows in 1..=300 {
        layer.run_blocking(&[rows, 16], &vec![1.0; rows * 16]).unwrap();
    }
    assert_eq!(layer.plans_kept(), 256);
    for place in 0..40 {
        submit(gpu, |pass| layer.forward(pass, &[1, 16], View::new(&x, 64 * place), &y).unwrap());
    }
    // Of forward passes, and as many of backward passes.
    assert_eq!(layer.calls_kept(), 32 + 2);
    layer.release();
    assert_eq!((layer.plans_kept(), layer.calls_kept()), (0, 0));
    assert_eq!(step(64), (2, 2));
}

/// What a backward pass needs is with the caller.
#[test]
fn backward_needs_nothing_that_is_released() {
    let gpu = gpu();
    let gradient = Gradient::new(Kind::BatchTrain { axis: 1 }, &[300, 12], 2.0);
    let layer = layer(gpu, &gradient.case);
    let (x, dy) = (buffer(gpu, &gradient.case.x), buffer(gpu, &gradient.dy));
    let (y, dx) = (room(gpu, 3600), room(gpu, 3600));
    let saved = submit(gpu, |pass| layer.forward(pass, &[300, 12], &x, &y).unwrap());
    layer.release();
    submit(gpu, |pass| layer.backward(pass, &saved, GradOutput::new(&dy).grad_input(&dx)).unwrap());
    let want = gradient.oracle();
    close("dx", &read(gpu, &dx, &[300, 12]), &want.dx, &want.dx_scale);
}

/// Each would give wrong gradients if it were taken.
#[test]
fn forward_passes_that_nothing_goes_back_along() {
    let gpu = gpu();
    let gradient = Gradient::new(Kind::BatchTrain { axis: 1 }, &[300, 12], 2.0);
    let mut layer = layer(gpu, &gradient.case);
    let (x, dy) = (buffer(gpu, &gradient.case.x), buffer(gpu, &gradient.dy));
    let (y, dx) = (room(gpu, 3600), room(gpu, 3600));
    let gradients = || GradOutput::new(&dy).grad_input(&dx);
    let encoder = || gpu.device().create_command_encoder(&Default::default());
    let refused = |layer: &AnyLayer, saved: &Saved| match submit(gpu, |pass| layer.backward(pass, saved, gradients())) {
        Err(Error::Layer(error)) => error,
        other => panic!("{other:?}"),
    };

    // Its commands are gone, before they are a command buffer or after.
    let saved = layer.forward(&mut encoder().begin_compute_pass(&Default::default()), &[300, 12], &x, &y).unwrap();
    assert!(matches!(refused(&layer, &saved), LayerError::NotSubmitted { layer: "BatchNorm" }));
    let mut other = encoder();
    let saved = layer.forward(&mut other.begin_compute_pass(&Default::default()), &[300, 12], &x, &y).unwrap();
    drop(other.finish());
    assert!(matches!(refused(&layer, &saved), LayerError::NotSubmitted { .. }));
    // Those of a forward pass that saves nothing are not missed.
    layer.eval();
    let saved = layer.forward(&mut encoder().begin_compute_pass(&Default::default()), &[300, 12], &x, &y).unwrap();
    submit(gpu, |pass| layer.backward(pass, &saved, gradients()).unwrap());
    layer.train();

    // It is another layer's, if one of the same kind.
    let saved = submit(gpu, |pass| layer.forward(pass, &[300, 12], &x, &y).unwrap());
    let twin = super::nn::layer(gpu, &gradient.case);
    assert!(matches!(refused(&twin, &saved), LayerError::Foreign { .. }));
    let forward = layer.bind_forward_blocking(&[300, 12], &x, &y).unwrap();
    let error = twin.bind_backward_blocking(&forward, gradients()).unwrap_err();
    assert!(matches!(error, Error::Layer(LayerError::Foreign { .. })), "{error:?}");
    // It is of other buffers than those that are bound.
    let backward = layer.bind_backward_blocking(&forward, gradients()).unwrap();
    let elsewhere = submit(gpu, |pass| layer.forward(pass, &[300, 12], &y, &dx).unwrap());
    let error = submit(gpu, |pass| backward.record(pass, &elsewhere)).unwrap_err();
    assert!(matches!(error, LayerError::Foreign { .. }), "{error:?}");
    submit(gpu, |pass| {
        let saved = forward.record(pass);
        backward.record(pass, &saved).unwrap();
    });
    let want = gradient.oracle();
    close("dx", &read(gpu, &dx, &[300, 12]), &want.dx, &want.dx_scale);

    // Nothing is left of its x.
    let saved = submit(gpu, |pass| layer.forward(pass, &[300, 12], &x, &x).unwrap());
    let error = refused(&layer, &saved);
    assert!(matches!(error, LayerError::Overwritten { .. }));
    says(&error.into(), &["BatchNorm", "wrote y over x", "another buffer"]);
}

/// The gradient of x is as ever, those of the parameters are as they were.
#[test]
fn frozen_parameters() {
    let gpu = gpu();
    for gradient in cases().into_iter().step_by(3) {
        let (case, want) = (&gradient.case, gradient.oracle());
        let mut layer = layer(gpu, case);
        let what = format!("{layer:?} {:?}", case.x.shape());
        let (x, dy) = (buffer(gpu, &case.x), buffer(gpu, &gradient.dy));
        let (y, dx) = (room(gpu, case.x.len()), room(gpu, case.x.len()));
        layer.freeze();
        assert!(layer.is_frozen());
        submit(gpu, |pass| {
            let saved = layer.forward(pass, case.x.shape(), &x, &y).unwrap();
            layer.backward(pass, &saved, GradOutput::new(&dy).grad_input(&dx)).unwrap();
            says(&layer.backward(pass, &saved, GradOutput::new(&dy)).unwrap_err(), &["no gradient is asked for"]);
        });
        close(&format!("dx of {what}"), &read(gpu, &dx, case.x.shape()), &want.dx, &want.dx_scale);
        let dx = layer.run_backward_array_blocking(gradient.dy.view(), case.x.view()).unwrap();
        close(&format!("dx of {what}"), &dx, &want.dx, &want.dx_scale);
        check_gradients(&what, &layer, &want, 0.0);
        layer.unfreeze();
        layer.run_backward_array_blocking(gradient.dy.view(), case.x.view()).unwrap();
        check_gradients(&what, &layer, &want, 1.0);
    }
}

#[test]
fn bound_calls_outlive_a_change_of_mode_and_of_parameters() {
    let gpu = gpu();
    let case = Case::new(Kind::BatchTrain { axis: 1 }, &[40, 6], 2.0);
    let mut layer = layer(gpu, &case);
    let (x, y) = (buffer(gpu, &case.x), room(gpu, 240));
    let bound = layer.bind_forward_blocking(&[40, 6], &x, &y).unwrap();
    layer.eval();
    write(gpu, layer.weight().unwrap(), &ArrayD::from_elem(IxDyn(&[6]), 0.0));
    let saved = submit(gpu, |pass| bound.record(pass));
    let got = read(gpu, &y, &[40, 6]);
    let bias = case.bias.unwrap();
    assert!(got.outer_iter().all(|row| row == bias), "{got}");
    assert_eq!(layer.running_statistics_blocking().unwrap().unwrap().num_batches_tracked, 1);
    let dx = room(gpu, 240);
    let back = layer.bind_backward_blocking(&bound, GradOutput::new(&x).grad_input(&dx)).unwrap();
    submit(gpu, |pass| back.record(pass, &saved).unwrap());
    assert_eq!(read(gpu, &dx, &[40, 6]), ArrayD::<f32>::zeros(IxDyn(&[40, 6])));
}

/// Where the statistics of a forward pass are one binding too many, they are computed anew.
#[test]
fn a_device_with_few_storage_buffers() {
    for gradient in [
        Gradient::new(Kind::Layer { ndim: 1 }, &[40, 24], 2.0),
        Gradient::new(Kind::BatchTrain { axis: 1 }, &[300, 12], 2.0),
    ] {
        let shape = gradient.case.x.shape();
        let want = gradient.oracle();
        let mut least = None;
        for buffers in 4..=8 {
            let gpu = changed(|capabilities| capabilities.max_storage_buffers = buffers);
            let layer = layer(&gpu, &gradient.case);
            let (x, dy) = (buffer(&gpu, &gradient.case.x), buffer(&gpu, &gradient.dy));
            let (y, dx) = (room(&gpu, gradient.case.x.len()), room(&gpu, gradient.case.x.len()));
            submit(&gpu, |pass| {
                let saved = layer.forward(pass, shape, &x, &y).unwrap();
                match layer.backward(pass, &saved, GradOutput::new(&dy).grad_input(&dx)) {
                    Ok(()) => least = least.or(Some(buffers)),
                    Err(Error::Bind(BindError::StorageBuffers { .. })) if least.is_none() => {}
                    Err(error) => panic!("{buffers}: {error}"),
                }
            });
            if least.is_some() {
                close("dx", &read(&gpu, &dx, shape), &want.dx, &want.dx_scale);
            }
        }
        assert!(least.is_some());
    }
}

#[test]
fn unbatched_instances() {
    let gpu = gpu();
    let x = Data::new(9).normal(&[1, 3, 5, 4], 1.0, 1.0);
    let layer = InstanceNormLayer::new_blocking(gpu, InstanceNormOptions::pytorch(3).dims(2)).unwrap();
    let want = layer.run_array_blocking(x.view()).unwrap();
    let one = x.clone().into_shape_with_order(IxDyn(&[3, 5, 4])).unwrap();
    let got = layer.run_array_blocking(one.view()).unwrap();
    assert_eq!(got.shape(), [3, 5, 4]);
    assert!(got.iter().eq(want.iter()));
    // Channels last as well: the first axis is positions, not a batch.
    let last = InstanceNormLayer::new_blocking(gpu, InstanceNormOptions::new(3).dims(2)).unwrap();
    let got = last.run_array_blocking(one.permuted_axes(IxDyn(&[1, 2, 0])).view()).unwrap();
    let want = want.permuted_axes(IxDyn(&[0, 2, 3, 1]));
    assert!(got.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-5));
}

/// Whether the message has every part: what was wrong, what it was, what it must be.
fn says(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}

#[test]
fn what_makes_no_layer() {
    let gpu = gpu();
    let batch = |options| BatchNormLayer::new_blocking(gpu, options).map(drop).unwrap_err();
    for error in [
        batch(BatchNormOptions::new(0)),
        GroupNormLayer::new_blocking(gpu, GroupNormOptions::new(1, 0)).map(drop).unwrap_err(),
        InstanceNormLayer::new_blocking(gpu, InstanceNormOptions::new(0)).map(drop).unwrap_err(),
        LayerNormLayer::new_blocking(gpu, LayerNormOptions::new(&[3, 0])).map(drop).unwrap_err(),
        RmsNormLayer::new_blocking(gpu, RmsNormOptions::new(&[0])).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Layer(LayerError::Option { .. })), "{error:?}");
        says(&error, &["Norm", "features is 0", "at least 1"]);
    }
    says(&batch(BatchNormOptions::new(4).momentum(1.5)), &["BatchNorm", "momentum is 1.5", "in 0 to 1"]);
    says(&batch(BatchNormOptions::new(4).eps(-1.0)), &["BatchNorm", "eps is -1", "at least 0"]);
    for dims in [0, 4, usize::MAX] {
        says(&batch(BatchNormOptions::new(4).dims(dims)), &["dims is", "must be 1, 2 or 3"]);
    }
    for axis in [isize::MIN, isize::MAX, 8, -9] {
        let error = batch(BatchNormOptions::new(4).channel_axis(axis));
        assert!(matches!(error, Error::Spec(SpecError::ChannelAxis { .. })), "{error:?}");
    }
    let group = GroupNormLayer::new_blocking(gpu, GroupNormOptions::new(3, 4)).map(drop).unwrap_err();
    says(&group, &["GroupNorm", "num_groups is 3", "divide the 4 channels"]);
    let layer = LayerNormLayer::new_blocking(gpu, LayerNormOptions::new(&[])).map(drop).unwrap_err();
    says(&layer, &["LayerNorm", "normalized_shape is []"]);
    let over = |lengths: &[usize], axes: &[isize]| {
        LayerNormLayer::new_blocking(gpu, LayerNormOptions::new(lengths).axes(axes)).map(drop).unwrap_err()
    };
    says(&over(&[4], &[1, 2]), &["LayerNorm: the number of axes is 2", "normalized_shape"]);
    says(&over(&[4, 4], &[1, 1]), &["LayerNorm: axes is [1, 1]", "different axes"]);
    says(&over(&[], &[]), &["LayerNorm: axes is []"]);
    says(&over(&[2, 2], &[0, isize::MAX]), &["LayerNorm: axes is"]);
    says(&over(&[2], &[isize::MIN]), &["LayerNorm: axes is"]);
}

#[test]
fn what_a_layer_does_not_take() {
    let gpu = gpu();
    let batch = |options| BatchNormLayer::new_blocking(gpu, options).unwrap();
    let error = |layer: &BatchNormLayer, shape: &[usize]| {
        layer.run_blocking(shape, &vec![0.0; shape.iter().product()]).unwrap_err()
    };
    let pytorch = batch(BatchNormOptions::pytorch(4));
    let wrong = error(&pytorch, &[2, 3, 5]);
    assert!(matches!(wrong, Error::Layer(LayerError::Input { .. })), "{wrong:?}");
    says(&wrong, &["BatchNorm: the shape of x is [2, 3, 5]", "must have 4 channels along axis 1"]);
    says(&error(&pytorch, &[4]), &["channel_axis is 1"]);
    says(&error(&batch(BatchNormOptions::pytorch(4).dims(1)), &[2, 4, 3, 3]), &["BatchNorm1d", "2 or 3 axes"]);
    says(&error(&batch(BatchNormOptions::pytorch(4).dims(2)), &[2, 4, 3]), &["BatchNorm2d", "must have 4 axes"]);
    let instance = InstanceNormLayer::new_blocking(gpu, InstanceNormOptions::pytorch(4).dims(2)).unwrap();
    says(&instance.run_blocking(&[2, 4], &[0.0; 8]).unwrap_err(), &["InstanceNorm2d", "4 axes, or 3"]);
    let layer = LayerNormLayer::new_blocking(gpu, LayerNormOptions::new(&[4])).unwrap();
    says(&layer.run_blocking(&[4, 3], &[0.0; 12]).unwrap_err(), &["LayerNorm", "normalized_shape is [4]", "[4, 3]"]);
    let channels = LayerNormLayer::new_blocking(gpu, LayerNormOptions::new(&[4]).axes(&[1])).unwrap();
    assert_eq!(format!("{channels:?}"), "LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True, axes=(1,))");
    let options = GroupNormOptions::new(2, 4).activation(Activation::Silu);
    let activated = GroupNormLayer::new_blocking(gpu, options).unwrap();
    assert_eq!(format!("{activated:?}"), "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True, activation=SiLU)");
    let wrong = channels.run_blocking(&[2, 3, 4], &[0.0; 24]).unwrap_err();
    says(&wrong, &["LayerNorm: the shape of x is [2, 3, 4]", "the lengths [4] along axes [1]"]);
    says(&layer.run_blocking(&[3, 4], &[0.0; 11]).unwrap_err(), &["x: it has 11 elements but must have 12"]);
    let backward = layer.run_backward_blocking(&[3, 4], &[0.0; 11], &[0.0; 12]).unwrap_err();
    says(&backward, &["grad_output: it has 11 elements"]);
    let (x, dy) = (ArrayD::<f32>::zeros(IxDyn(&[3, 4])), ArrayD::zeros(IxDyn(&[4, 3])));
    says(&layer.run_backward_array_blocking(dy.view(), x.view()).unwrap_err(), &["grad_output", "[4, 3]", "[3, 4]"]);
    let (small, large, other) = (room(gpu, 11), room(gpu, 12), room(gpu, 12));
    submit(gpu, |pass| {
        says(&layer.forward(pass, &[3, 4], &small, &large).unwrap_err(), &["x: 48 bytes", "44 bytes"]);
        let saved = layer.forward(pass, &[3, 4], &large, &other).unwrap();
        let gradients = GradOutput::new(&other).grad_input(&small);
        says(&layer.backward(pass, &saved, gradients).unwrap_err(), &["grad_input: 48 bytes"]);
    });
    // Nothing to learn, and no gradient of x wanted.
    let plain = LayerNormLayer::new_blocking(gpu, LayerNormOptions::new(&[4]).elementwise_affine(false)).unwrap();
    submit(gpu, |pass| {
        let saved = plain.forward(pass, &[3, 4], &large, &other).unwrap();
        says(&plain.backward(pass, &saved, GradOutput::new(&other)).unwrap_err(), &["no gradient is asked for"]);
    });
}

#[test]
fn momentum_in_words() {
    let gpu = gpu();
    let layer = |options| format!("{:?}", BatchNormLayer::new_blocking(gpu, options).unwrap());
    assert!(layer(BatchNormOptions::new(3).momentum(Momentum::cumulative())).contains("momentum=None"));
    assert!(layer(BatchNormOptions::new(3)).starts_with("BatchNorm(3, eps=1e-05, momentum=0.1,"));
}

/// A layer before a norm, of channels in a row of positions, in f64 and by its definition.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kernel {
    Linear,
    Convolution,
    Transposed,
}

impl Kernel {
    /// Without padding, with a stride of 1: `x` and what comes out are `[channels, positions]`.
    fn apply(self, weight: &ArrayD<f64>, groups: usize, bias: &[f64], x: &ArrayD<f64>) -> ArrayD<f64> {
        let (shape, (inputs, positions)) = (weight.shape(), (x.shape()[0], x.shape()[1]));
        let taps = shape.get(2).map_or(1, |&taps| taps);
        let (outputs, places) = match self {
            Self::Linear | Self::Convolution => (shape[0], positions + 1 - taps),
            Self::Transposed => (shape[1] * groups, positions + taps - 1),
        };
        let mut y = ArrayD::from_shape_fn(IxDyn(&[outputs, places]), |at| bias[at[0]]);
        // Of every group, every input with every output.
        for (group, i, o) in (0..groups)
            .flat_map(|g| (0..inputs / groups).flat_map(move |i| (0..outputs / groups).map(move |o| (g, i, o))))
        {
            let (input, output) = (group * (inputs / groups) + i, group * (outputs / groups) + o);
            for tap in 0..taps {
                match self {
                    Self::Linear => (0..places).for_each(|p| y[[output, p]] += weight[[output, i]] * x[[input, p]]),
                    Self::Convolution => {
                        (0..places).for_each(|p| y[[output, p]] += weight[[output, i, tap]] * x[[input, p + tap]]);
                    }
                    Self::Transposed => {
                        (0..positions).for_each(|p| y[[output, p + tap]] += weight[[input, o, tap]] * x[[input, p]]);
                    }
                }
            }
        }
        y
    }

    fn before<'a>(self, shape: &'a [usize], weight: &'a [f32], groups: usize) -> LayerBefore<'a> {
        match self {
            Self::Linear => LayerBefore::linear(shape, weight),
            Self::Convolution => LayerBefore::convolution(shape, weight).groups(groups),
            Self::Transposed => LayerBefore::transposed_convolution(shape, weight).groups(groups),
        }
    }
}

/// The folded layer, in f64, is the norm in f64 of the layer before: what is lost is the rounding of its weights, which
/// the input makes the more of the further it is from 0.
#[test]
fn folding_is_the_norm_after_the_layer_before() {
    let gpu = gpu();
    let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| f64::from(v)).collect() };
    let outputs = 4;
    for (kernel, shape, inputs, groups) in [
        (Kernel::Linear, &[4, 5][..], 5, 1),
        (Kernel::Linear, &[4, 4], 4, 1),
        (Kernel::Convolution, &[4, 5, 3], 5, 1),
        (Kernel::Convolution, &[4, 3, 3], 6, 2),
        (Kernel::Convolution, &[4, 1, 3], 4, 4),
        (Kernel::Transposed, &[4, 4, 3], 4, 1),
        (Kernel::Transposed, &[5, 4, 3], 5, 1),
        (Kernel::Transposed, &[6, 2, 3], 6, 2),
        (Kernel::Transposed, &[4, 1, 3], 4, 4),
    ] {
        // How far the input is from 0, and the errors there may and must be.
        for (distance, most, least) in [(0.0, 1e-6, 0.0), (100.0, 1e-3, 1e-7), (1e5, 1.0, 1e-4)] {
            let mut data = Data::new(31);
            let weight = data.normal(shape, 0.2, 0.5);
            let bias = data.normal(&[outputs], 0.0, 1.0);
            let x = data.normal(&[inputs, 9], distance, 1.0).mapv(f64::from);
            for given in [Some(bias.as_slice().unwrap()), None] {
                let before = given.map_or(vec![0.0; outputs], wide);
                let y = kernel.apply(&weight.mapv(f64::from), groups, &before, &x);
                // Running statistics as they are after training on such data.
                let seen = reference::batch_norm_train(y.view(), 0, None, None, 1e-3);
                let (mean, var) = (seen.mean.unwrap().mapv(|v| v as f32), seen.variance.unwrap().mapv(|v| v as f32));
                let options = BatchNormOptions::pytorch(outputs).eps(1e-3);
                let norm = BatchNormLayer::new_blocking(gpu, options).unwrap();
                let (scale, shift) = (data.normal(&[outputs], 1.0, 0.2), data.normal(&[outputs], 0.0, 0.5));
                write(gpu, norm.weight().unwrap(), &scale);
                write(gpu, norm.bias().unwrap(), &shift);
                write(gpu, norm.running_mean().unwrap(), &mean);
                write(gpu, norm.running_var().unwrap(), &var);

                let mut layer = kernel.before(shape, weight.as_slice().unwrap(), groups);
                layer = given.map_or(layer, |bias| layer.bias(bias));
                let folded = norm.fold_into_blocking(&layer).unwrap();

                let new = ArrayD::from_shape_vec(IxDyn(shape), wide(&folded.weight)).unwrap();
                let got = kernel.apply(&new, groups, &wide(&folded.bias), &x);
                let [mean, var, scale, shift] = [mean, var, scale, shift].map(|values| values.mapv(f64::from));
                let (scale, shift, eps) = (Some(scale.view()), Some(shift.view()), f64::from(1e-3f32));
                let want = reference::batch_norm_eval(y.view(), 0, mean.view(), var.view(), scale, shift, eps);
                let worst = got.iter().zip(&want.y).fold(0.0f64, |worst, (got, want)| worst.max((got - want).abs()));
                // A transposed convolution is further from 0 within than at its ends, so it deviates more.
                let least = if kernel == Kernel::Transposed { 0.0 } else { least };
                assert!((least..most).contains(&worst), "{worst} at {distance}: {kernel:?} {shape:?} {groups}");
            }
        }
    }
}

#[test]
fn what_does_not_fold() {
    let gpu = gpu();
    let norm = BatchNormLayer::new_blocking(gpu, BatchNormOptions::new(4)).unwrap();
    let error = |before: LayerBefore<'_>| norm.fold_into_blocking(&before).unwrap_err();
    let weight = [1.0; 48];
    for (before, parts) in [
        (LayerBefore::linear(&[3, 4], &weight[..12]), &["[3, 4]", "4 channels of the norm", "first axis"][..]),
        (LayerBefore::linear(&[4, 3, 1], &weight[..12]), &["[4, 3, 1]", "2 axes, [out, in]"]),
        (LayerBefore::linear(&[4], &weight[..4]), &["[4]", "2 axes, [out, in]"]),
        (LayerBefore::convolution(&[4, 3], &weight[..12]), &["3 axes or more, [out, in / groups, ...]"]),
        (LayerBefore::convolution(&[2, 4, 3], &weight[..24]), &["[2, 4, 3]", "first axis"]),
        (LayerBefore::transposed_convolution(&[4, 2, 3], &weight[..24]), &["4 channels", "groups (1)", "second axis"]),
        (LayerBefore::transposed_convolution(&[4, 4], &weight[..16]), &["3 axes or more, [in, out / groups, ...]"]),
    ] {
        let error = error(before);
        assert!(matches!(error, Error::Layer(LayerError::Fold { .. })), "{error:?}");
        says(&error, &["BatchNorm: the shape of weight is"]);
        says(&error, parts);
    }
    for (before, must) in [
        (LayerBefore::linear(&[4, 3], &weight[..12]).groups(2), "1 for a linear layer"),
        (LayerBefore::convolution(&[4, 2, 3], &weight[..24]).groups(3), "a divisor of the output channels"),
        (LayerBefore::convolution(&[4, 2, 3], &weight[..24]).groups(0), "a divisor of the output channels"),
        (LayerBefore::transposed_convolution(&[3, 2, 3], &weight[..18]).groups(2), "a divisor of the input channels"),
    ] {
        says(&error(before), &["BatchNorm: groups is", must]);
    }
    says(&error(LayerBefore::linear(&[4, 3], &weight)), &["weight: it has 48 elements but must have 12"]);
    says(&error(LayerBefore::linear(&[4, usize::MAX], &weight)), &["weight: it has 48 elements"]);
    says(
        &error(LayerBefore::linear(&[4, 3], &weight[..12]).bias(&[1.0; 8])),
        &["bias: it has 8 elements but must have 4"],
    );
    let untracked = BatchNormOptions::new(4).track_running_stats(false);
    let untracked = BatchNormLayer::new_blocking(gpu, untracked).unwrap();
    let error = untracked.fold_into_blocking(&LayerBefore::linear(&[4, 2], &weight[..8])).unwrap_err();
    says(&error, &["BatchNorm: it keeps no running statistics"]);
}
