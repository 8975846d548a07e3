//! Memory does not grow with the number of steps.

use burn::nn::loss::{MseLoss, Reduction};
use burn::optim::{GradientsParams, SgdConfig};

use crate::models::with_ours::ResNetConfig;
use crate::support::{another, random, tensor};

#[test]
fn a_thousand_steps_take_no_more_memory_than_a_hundred() {
    // A device and an instance of its own: other tests use memory, too.
    let (inner, setup) = another();
    wgpu_norm_burn::register(&inner, &setup).unwrap();
    let device = inner.clone().autodiff();
    let mut model = ResNetConfig::new(4).init(&device);
    let mut optimizer = SgdConfig::new().init();
    let x = tensor(&random(2 * 3 * 4 * 4, 41), [2, 3, 4, 4], &device);
    let target = tensor(&random(2 * 4 * 4 * 4, 42), [2, 4, 4, 4], &device);
    let held = || {
        inner.sync().unwrap();
        let pool = inner.memory_pool_usage().unwrap();
        let hub = setup.instance.generate_report().unwrap().hub;
        let wgpu = [hub.buffers.num_allocated, hub.bind_groups.num_allocated, hub.compute_pipelines.num_allocated];
        (pool.bytes_reserved, pool.number_allocs, wgpu)
    };
    let mut early = None;
    for step in 1..=1000 {
        let loss = MseLoss::new().forward(model.forward(x.clone()), target.clone(), Reduction::Mean);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, gradients);
        if step % 100 == 0 {
            let loss: f32 = loss.into_scalar();
            assert!(loss.is_finite());
            let (bytes, allocations, wgpu) = held();
            let (most_bytes, most_allocations, most_wgpu) = *early.get_or_insert((bytes, allocations, wgpu));
            assert!(bytes <= most_bytes, "step {step}: {bytes} bytes, {most_bytes} at first");
            assert!(allocations <= most_allocations + 8, "step {step}: {allocations}, {most_allocations} at first");
            for (kind, (now, first)) in wgpu.iter().zip(most_wgpu).enumerate() {
                assert!(*now <= first + 64, "step {step}: {now} wgpu objects of kind {kind}, {first} at first");
            }
        }
    }
}
