//! What a context can be told: devices with the least limits, tuning, trusted shaders, warming up, a pipeline cache.

use wgpu_norm::ndarray::{ArrayD, Axis, IxDyn, Slice};
use wgpu_norm::{
    Backward, BatchNorm, BindError, Context, Error, Expected, Gpu, Gradients, Inputs, LayerNorm, Momentum, Safety,
    Tuning, wgpu,
};

use crate::support::{Case, Data, Gradient, Kind, close, gpu, gpus};

/// A device with no more than every adapter that computes has: 4 storage buffers, among other things.
fn least() -> Gpu {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let info = gpu().adapter_info();
    let adapters = pollster_block(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapter = adapters.iter().find(|a| a.get_info().name == info.name && a.get_info().backend == info.backend);
    let descriptor =
        wgpu::DeviceDescriptor { required_limits: wgpu::Limits::downlevel_defaults(), ..Default::default() };
    let (device, queue) = pollster_block(adapter.unwrap().request_device(&descriptor)).unwrap();
    Gpu::from_device(&device, &queue)
}

fn pollster_block<F: Future>(future: F) -> F::Output {
    pollster::block_on(future)
}

/// Every norm in every way it runs, x, weight, bias and y alone.
fn plain() -> Vec<(Kind, Vec<usize>)> {
    vec![
        (Kind::Layer { ndim: 1 }, vec![33, 768]),
        (Kind::Layer { ndim: 1 }, vec![300, 257]),
        (Kind::Layer { ndim: 1 }, vec![2, 70_001]),
        (Kind::Layer { ndim: 1 }, vec![2, 70_004]),
        (Kind::Rms { ndim: 1, offset: 1.0 }, vec![2, 70_004]),
        (Kind::Group { groups: 2, axis: 1 }, vec![3, 4, 999]),
        (Kind::Group { groups: 2, axis: 1 }, vec![3, 4, 30_000]),
        (Kind::Group { groups: 3, axis: 2 }, vec![3, 250, 12]),
        (Kind::Instance { axis: 1 }, vec![3, 5, 703]),
        (Kind::Instance { axis: 2 }, vec![3, 703, 5]),
        (Kind::Instance { axis: 2 }, vec![3, 7, 64]),
        (Kind::BatchTrain { axis: 1 }, vec![40, 3, 99]),
        (Kind::BatchTrain { axis: 1 }, vec![3001, 7]),
        (Kind::BatchEval { axis: 1 }, vec![40, 3, 99]),
        (Kind::BatchEval { axis: 1 }, vec![3001, 8]),
        (Kind::Mvn { axes: &[0, 2] }, vec![40, 3, 99]),
        (Kind::Lp { p: 2, axes: &[0] }, vec![301, 7]),
    ]
}

fn y_on(gpu: &Gpu, case: &Case) -> ArrayD<f32> {
    gpu.run_array_blocking(case.norm().as_ref(), case.inputs()).unwrap().y
}

#[test]
fn four_storage_buffers_run_plain_forward() {
    let least = least();
    assert_eq!(least.device().limits().max_storage_buffers_per_shader_stage, 4);
    let as_a_gpu = {
        let mut capabilities = least.context().capabilities().clone();
        capabilities.software = false;
        least.clone().with_capabilities(capabilities)
    };
    for (kind, shape) in plain() {
        for mean in [0.0, 1e6] {
            let case = Case::new(kind, &shape, mean);
            let want = case.oracle();
            for (label, gpu) in [("as it is", &least), ("as a GPU", &as_a_gpu)] {
                let plan = gpu.context().plan(case.norm().as_ref()).unwrap();
                close(&format!("{label}: {plan}"), &y_on(gpu, &case), &want.y, &want.scale);
                // A bias alone, a weight alone.
                let only_bias = Case { weight: None, ..case.clone() };
                let want = only_bias.oracle();
                close(&format!("{label}, bias: {plan}"), &y_on(gpu, &only_bias), &want.y, &want.scale);
            }
        }
    }
}

#[test]
fn four_storage_buffers_track_running_statistics() {
    let least = least();
    let x = Data::new(7).normal(&[50, 6], 3.0, 2.0);
    let (zero, one) = (ArrayD::zeros(IxDyn(&[6])), ArrayD::from_elem(IxDyn(&[6]), 1.0));
    let norm = BatchNorm::pytorch(&[50, 6]).unwrap();
    let inputs = || Inputs::new(x.view()).running_mean(zero.view()).running_var(one.view()).num_batches_tracked(3);
    let out = least.run_array_blocking(&norm, inputs()).unwrap();
    let same = gpu().run_array_blocking(&norm, inputs()).unwrap();
    assert_eq!((out.y, out.running_mean, out.running_var), (same.y, same.running_mean, same.running_var));
    // The cumulative average reads the count as well.
    let error = least.run_array_blocking(&norm.momentum(Momentum::cumulative()), inputs()).unwrap_err();
    let needs = matches!(error, Error::Bind(BindError::StorageBuffers { needs: 5, has: 4, .. }));
    assert!(needs, "{error:?}");
}

/// A group's bits, alone and among others, at every place.
#[test]
fn batch_invariant_bits_depend_on_the_group_alone() {
    for (kind, shape, axis) in [
        (Kind::Layer { ndim: 1 }, vec![301, 64], 0),
        (Kind::Layer { ndim: 1 }, vec![301, 768], 0),
        (Kind::Layer { ndim: 1 }, vec![40, 20_001], 0),
        (Kind::Rms { ndim: 1, offset: 0.0 }, vec![301, 257], 0),
        (Kind::Group { groups: 2, axis: 2 }, vec![9, 333, 16], 0),
        (Kind::Group { groups: 2, axis: 1 }, vec![9, 4, 333], 0),
        (Kind::Instance { axis: 2 }, vec![3, 1003, 24], 2),
        (Kind::Instance { axis: 2 }, vec![3, 300, 40], 2),
        (Kind::Instance { axis: 2 }, vec![1, 1003, 256], 2),
        (Kind::BatchTrain { axis: 1 }, vec![5003, 24], 1),
        (Kind::BatchTrain { axis: 1 }, vec![12, 24, 99], 1),
        (Kind::Lp { p: 2, axes: &[0] }, vec![7, 24], 1),
    ] {
        let case = Case::new(kind, &shape, 10.0).plain();
        for (label, gpu) in gpus() {
            let gpu = gpu.clone().with_context(gpu.context().clone().with_tuning(Tuning::BatchInvariant));
            let whole = y_on(&gpu, &case);
            // One channel alone is contiguous, another geometry.
            let first = Slice::from(0..if axis == 0 { 1 } else { 2 });
            for part in [first, Slice::from(1..4), Slice::from(2..9)] {
                let some = |x: &ArrayD<f32>| x.slice_axis(Axis(axis), part).as_standard_layout().into_owned();
                let alone = Case { x: some(&case.x), ..case.clone() };
                let plan = gpu.context().plan(alone.norm().as_ref()).unwrap();
                assert_eq!(y_on(&gpu, &alone), some(&whole), "{kind:?} {part:?} {label}\n{plan}");
            }
        }
    }
}

#[test]
#[allow(unsafe_code)]
fn trusted_shaders_are_right() {
    for (kind, shape) in plain() {
        let case = Case::new(kind, &shape, 10.0);
        let want = case.oracle();
        for (label, gpu) in gpus() {
            // SAFETY: every index these shapes lead to is in range, as far as the checked shaders can tell.
            let trusting = unsafe { gpu.context().clone().with_safety(Safety::Trusted) };
            let trusting = gpu.clone().with_context(trusting);
            case.check_on(label, &trusting, &want);
        }
    }
}

/// All gradients of a case, by its own statistics.
fn gradients_on(gpu: &Gpu, gradient: &Gradient, wanted: Backward) -> Gradients<ArrayD<f32>> {
    let case = &gradient.case;
    let mut inputs = Inputs::new(case.x.view()).grad_output(gradient.dy.view());
    if let Some(weight) = &case.weight {
        inputs = inputs.weight(weight.view());
    }
    if let (Some(mean), Some(var)) = (&case.running_mean, &case.running_var) {
        inputs = inputs.running_mean(mean.view()).running_var(var.view());
    }
    gpu.run_backward_array_blocking(case.norm().as_ref(), wanted, inputs).unwrap()
}

#[test]
#[allow(unsafe_code)]
fn trusted_shaders_give_right_gradients() {
    for (kind, shape) in plain() {
        if !kind.has_backward() {
            continue;
        }
        let gradient = Gradient::new(kind, &shape, 10.0);
        for (label, gpu) in [&gpus()[0], &gpus()[2]] {
            // SAFETY: every index these shapes lead to is in range, as far as the checked shaders can tell.
            let trusting = unsafe { gpu.context().clone().with_safety(Safety::Trusted) };
            let trusting = gpu.clone().with_context(trusting);
            gradient.check_on(label, &trusting, Backward::new(), &gradient.oracle());
        }
    }
}

/// The gradient of a group's x, alone and among others.
#[test]
fn batch_invariant_gradients_depend_on_the_group_alone() {
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![301, 64]),
        (Kind::Layer { ndim: 1 }, vec![40, 20_001]),
        (Kind::Rms { ndim: 1, offset: 0.0 }, vec![301, 257]),
        (Kind::Group { groups: 2, axis: 2 }, vec![9, 333, 16]),
        (Kind::Group { groups: 2, axis: 1 }, vec![9, 4, 333]),
    ] {
        let gradient = Gradient::new(kind, &shape, 10.0).plain();
        let wanted = Backward::new().without_weight().without_bias();
        for (label, gpu) in gpus() {
            let gpu = gpu.clone().with_context(gpu.context().clone().with_tuning(Tuning::BatchInvariant));
            let whole = gradients_on(&gpu, &gradient, wanted).input.unwrap();
            for part in [Slice::from(0..1), Slice::from(1..4), Slice::from(2..9)] {
                let some = |x: &ArrayD<f32>| x.slice_axis(Axis(0), part).as_standard_layout().into_owned();
                let case = Case { x: some(&gradient.case.x), ..gradient.case.clone() };
                let alone = Gradient { case, dy: some(&gradient.dy) };
                let got = gradients_on(&gpu, &alone, wanted).input.unwrap();
                assert_eq!(got, some(&whole), "{kind:?} {part:?} {label}");
            }
        }
    }
}

#[test]
fn warming_up_takes_what_binding_takes() {
    let context = Context::new(gpu().device());
    let layer = context.plan(&LayerNorm::new(&[64, 768], &[768]).unwrap()).unwrap();
    context.warm_up(&layer, Expected::new().weight().bias().mean().rstd()).unwrap();
    context.warm_up(&layer, Expected::new().in_place()).unwrap();
    let batch = context.plan(&BatchNorm::channels_last(&[64, 768]).unwrap()).unwrap();
    context.warm_up(&batch, Expected::new().weight().bias().num_batches_tracked()).unwrap();
    let eval = context.plan(&BatchNorm::channels_last(&[64, 768]).unwrap().eval()).unwrap();
    let error = context.warm_up(&eval, Expected::new().mean()).unwrap_err();
    assert!(matches!(error, BindError::Unexpected { tensor: "mean", .. }), "{error:?}");
    let layer = LayerNorm::new(&[64, 768], &[768]).unwrap();
    for wanted in [Backward::new(), Backward::new().saved_statistics(), Backward::new().without_input()] {
        let plan = context.plan_backward(&layer, wanted).unwrap();
        context.warm_up(&plan, Expected::new().weight()).unwrap();
        context.warm_up(&plan, Expected::new().in_place()).unwrap();
    }
    let moments = context.plan_moments(&layer).unwrap();
    context.warm_up(&moments, Expected::new()).unwrap();
    let error = context.warm_up(&moments, Expected::new().weight()).unwrap_err();
    assert!(matches!(error, BindError::Unexpected { tensor: "weight", .. }), "{error:?}");
    let empty = context.plan(&LayerNorm::new(&[0, 768], &[768]).unwrap()).unwrap();
    context.warm_up(&empty, Expected::new()).unwrap();
}

/// Where the driver has one: a device must be made with the feature.
#[test]
#[allow(unsafe_code)]
fn a_pipeline_cache_is_filled() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let info = gpu().adapter_info();
    let adapters = pollster_block(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapter = adapters.iter().find(|a| a.get_info().name == info.name && a.get_info().backend == info.backend);
    let adapter = adapter.unwrap();
    if !adapter.features().contains(wgpu::Features::PIPELINE_CACHE) {
        // OpenGL has none, and asking for one is refused by wgpu: there is nothing of ours to test.
        return;
    }
    let descriptor = wgpu::DeviceDescriptor { required_features: wgpu::Features::PIPELINE_CACHE, ..Default::default() };
    let (device, _queue) = pollster_block(adapter.request_device(&descriptor)).unwrap();
    // SAFETY: there is no data that could be another driver's.
    let cache = unsafe {
        let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: None, fallback: false };
        device.create_pipeline_cache(&descriptor)
    };
    let context = Context::new(&device).with_pipeline_cache(cache.clone());
    let before = cache.get_data().map_or(0, |data| data.len());
    let plan = context.plan(&LayerNorm::new(&[64, 768], &[768]).unwrap()).unwrap();
    context.warm_up(&plan, Expected::new()).unwrap();
    assert!(cache.get_data().map_or(0, |data| data.len()) >= before);
}
