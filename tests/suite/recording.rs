//! Recording allocates nothing of ours: as often as the same calls written by hand.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use wgpu_norm::nn::{BatchNormLayer, BatchNormOptions, GradOutput};
use wgpu_norm::{Backward, BatchNorm, Expected, LayerNorm, Operands, Pass, View, wgpu};

use crate::support::gpu;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work; counting touches no memory of its own.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends may allocate after its counter is gone.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// A dispatch as one writes it without this library: a pipeline, a bind group, a count.
fn by_hand(device: &wgpu::Device, buffer: &wgpu::Buffer) -> (wgpu::ComputePipeline, wgpu::BindGroup) {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(
            "@group(0) @binding(0) var<storage, read_write> data: array<f32>;
             @compute @workgroup_size(1) fn main() { data[0] += 1.0; }"
                .into(),
        ),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let entries = [wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }];
    let layout = pipeline.get_bind_group_layout(0);
    let group =
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
    (pipeline, group)
}

#[test]
fn recording_allocates_nothing_of_ours() {
    let (device, context) = (gpu().device(), gpu().context());
    let buffer = |size| {
        let usage = wgpu::BufferUsages::STORAGE;
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let norm = LayerNorm::new(&[2, 100_000], &[100_000]).unwrap();
    let plan = context.plan(&norm).unwrap();
    let dispatches = plan.passes().len() as u64;
    assert!(dispatches > 1, "{plan}");
    context.warm_up(&plan, Expected::new()).unwrap();
    let bound = context.bind(&plan, &Operands::new(&buffer(800_000), &buffer(800_000))).unwrap();
    let data = buffer(4);
    let (pipeline, group) = by_hand(device, &data);
    let count = |record: &dyn Fn(&mut wgpu::ComputePass<'_>)| {
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        // wgpu's own lists have grown by then.
        for _ in 0..300 {
            record(&mut pass);
        }
        allocations(|| (0..16).for_each(|_| record(&mut pass)))
    };
    let ours = count(&|pass| bound.record(pass));
    let theirs = count(&|pass| {
        for _ in 0..dispatches {
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(1, 1, 1);
        }
    });
    assert!(ours <= theirs, "{ours} allocations, by hand {theirs}");
    // The counter counts.
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

/// A layer looks its calls up, and that is all; in training it also has wgpu tell it of commands that are dropped.
#[test]
fn a_layers_later_calls_allocate_nothing_of_ours() {
    let device = gpu().device();
    let buffer = || {
        let (size, usage) = (64 * 8 * 4, wgpu::BufferUsages::STORAGE);
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let (x, y, dy, dx) = (buffer(), buffer(), buffer(), buffer());
    let mut layer = BatchNormLayer::new_blocking(gpu(), BatchNormOptions::new(8)).unwrap();
    let (shape, gradients) = ([64, 8], GradOutput::new(&dy).grad_input(&dx));
    let count = |record: &dyn Fn(&mut wgpu::ComputePass<'_>)| {
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for _ in 0..300 {
            record(&mut pass);
        }
        allocations(|| (0..16).for_each(|_| record(&mut pass)))
    };
    // In evaluation none, beside a plan bound by hand.
    layer.eval();
    let norm = BatchNorm::new(&shape, -1).unwrap().eval();
    let context = gpu().context();
    let mut operands = Operands::new(&x, &y).weight(layer.weight().unwrap()).bias(layer.bias().unwrap());
    operands = operands.running_mean(layer.running_mean().unwrap()).running_var(layer.running_var().unwrap());
    let bound = context.bind(&context.plan(&norm).unwrap(), &operands).unwrap();
    let bare = count(&|pass| bound.record(pass));
    let looked_up = count(&|pass| drop(layer.forward(pass, &shape, &x, &y).unwrap()));
    assert!(looked_up <= bare, "{looked_up} allocations, bare {bare}");
    layer.train();
    let forward = layer.bind_forward_blocking(&shape, &x, &y).unwrap();
    let backward = layer.bind_backward_blocking(&forward, gradients).unwrap();
    let bound = count(&|pass| {
        let saved = forward.record(pass);
        backward.record(pass, &saved).unwrap();
    });
    let looked_up = count(&|pass| {
        let saved = layer.forward(pass, &shape, &x, &y).unwrap();
        layer.backward(pass, &saved, gradients).unwrap();
    });
    assert!(looked_up <= bound, "{looked_up} allocations, bound {bound}");
}

/// What runs can be seen, also where the tensors asked for other passes than the plan's.
#[test]
fn what_is_bound_shows_its_passes() {
    let (gpu, device) = (gpu(), gpu().device());
    let buffer = |size: u64| {
        let usage = wgpu::BufferUsages::STORAGE;
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let plan = gpu.context().plan(&LayerNorm::new(&[4, 768], &[768]).unwrap()).unwrap();
    let (x, y) = (buffer(4 * 768 * 4 + 16), buffer(4 * 768 * 4));
    let bound = gpu.context().bind(&plan, &Operands::new(&x, &y)).unwrap();
    assert_eq!(bound.passes(), plan.passes());
    assert_eq!(plan.to_string().lines().skip(1).map(str::trim).collect::<Vec<_>>().join("\n"), bound.to_string());
    // At no multiple of 16 bytes.
    let bound = gpu.context().bind(&plan, &Operands::new(View::new(&x, 4), &y)).unwrap();
    assert!(plan.to_string().contains("4-wide"), "{plan}");
    assert!(bound.to_string().contains("1-wide"), "{bound}");
    // The gradient of x over that of y, which the sums of weight and bias still read, as these rows are too long for one reading.
    let width = 16_384;
    let norm = LayerNorm::new(&[4, width], &[width]).unwrap();
    let plan = gpu.context().plan_backward(&norm, Backward::new()).unwrap();
    let bytes = 4 * width as u64;
    let (dy, x, [dw, db]) = (buffer(4 * bytes), buffer(4 * bytes), [(); 2].map(|()| buffer(bytes)));
    let operands = Operands::backward(&dy, &x).grad_weight(&dw).grad_bias(&db).grad_input(&dy);
    let bound = gpu.context().bind(&plan, &operands).unwrap();
    assert_eq!(plan.passes().first().map(Pass::name), Some("backward_fused_rows"), "{plan}");
    assert_eq!(bound.passes().last().map(Pass::name), Some("backward_fused_rows"), "{bound}");
    // A batch is counted where there is a count.
    let plan = gpu.context().plan(&BatchNorm::channels_last(&[64, 8]).unwrap()).unwrap();
    let (x, y, running) = (buffer(64 * 8 * 4), buffer(64 * 8 * 4), buffer(512));
    let operands = Operands::new(&x, &y).running_mean(&running).running_var(View::new(&running, 256));
    let bound = gpu.context().bind(&plan, &operands).unwrap();
    assert_eq!(bound.passes().len() + 1, plan.passes().len(), "{bound}");
}
