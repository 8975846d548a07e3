//! Norms inside a compute pass of your own: your instance, device and buffers, your pipeline before, between and after.
//!
//! `cargo run --example own_pass`

use std::error::Error;

use wgpu_norm::{Context, LayerNorm, Operands, RmsNorm, features_for, limits_for, wgpu};

const ROWS: usize = 64;
const WIDTH: usize = 768;
const LENGTH: usize = ROWS * WIDTH;
const BYTES: u64 = (LENGTH * size_of::<f32>()) as u64;
const EPS: f64 = 1e-5;

/// The caller's own shader, which stands for the rest of a network.
const RELU: &str = "
    @group(0) @binding(0) var<storage, read_write> data: array<f32>;

    @compute @workgroup_size(64)
    fn relu(@builtin(global_invocation_id) id: vec3u) {
        if id.x < arrayLength(&data) {
            data[id.x] = max(data[id.x], 0.0);
        }
    }
";

/// Runs the example; an error or a panic means that a claim of it does not hold.
pub fn main() -> Result<(), Box<dyn Error>> {
    pollster::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    // A device as the rest of your program needs it. What the library adds to the descriptor is optional: without
    // SUBGROUP it reduces through workgroup memory, and with the default limits it refuses tensors of over 128 MiB.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = wgpu::util::initialize_adapter_from_env_or_default(&instance, None).await?;
    let descriptor = wgpu::DeviceDescriptor {
        required_features: features_for(&adapter),
        required_limits: limits_for(&adapter),
        ..Default::default()
    };
    let (device, queue) = adapter.request_device(&descriptor).await?;
    println!("on {}", adapter.get_info().name);

    let buffer = |label, usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: BYTES,
            usage,
            mapped_at_creation: false,
        })
    };
    // STORAGE is all the library asks of a buffer.
    let x = buffer("x", wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST);
    let y = buffer("y", wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let staging = buffer("staging", wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);

    // Planning and binding come once; what they give is recorded as often as you like. Pipelines live in the context.
    let context = Context::new(&device);
    let layer_plan = context.plan(&LayerNorm::new(&[ROWS, WIDTH], &[WIDTH])?)?;
    let layer = context.bind_async(&layer_plan, &Operands::new(&x, &y)).await?;
    let rms_plan = context.plan(&RmsNorm::new(&[ROWS, WIDTH], &[WIDTH])?)?;
    let rms = context.bind_async(&rms_plan, &Operands::in_place(&y)).await?;
    println!("{layer_plan}\n{rms_plan}");

    let pipeline = relu_pipeline(&device);
    let (relu_x, relu_y) = (bind_data(&device, &pipeline, &x), bind_data(&device, &pipeline, &y));

    let input: Vec<f32> = (0..LENGTH).map(|i| ((i * i) % 1009) as f32 / 100.0 - 5.0).collect();
    queue.write_buffer(&x, 0, bytemuck::cast_slice(&input));
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        record_relu(&mut pass, &pipeline, &relu_x);
        // Takes over the pipeline and bind group 0, so set yours again after it.
        layer.record(&mut pass);
        record_relu(&mut pass, &pipeline, &relu_y);
        rms.record(&mut pass);
    }
    encoder.copy_buffer_to_buffer(&y, 0, &staging, 0, BYTES);
    queue.submit([encoder.finish()]);

    staging.map_async(wgpu::MapMode::Read, .., |_| {});
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let got: Vec<f32> = bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..)?);

    let worst = got.iter().zip(expected(&input)).map(|(&got, want)| (f64::from(got) - want).abs()).fold(0.0, f64::max);
    println!("relu, LayerNorm, relu, RmsNorm in one pass: off by {worst:.1e} at most");
    assert!(worst < 1e-5, "{worst}");
    Ok(())
}

fn relu_pipeline(device: &wgpu::Device) -> wgpu::ComputePipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("relu"),
        source: wgpu::ShaderSource::Wgsl(RELU.into()),
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("relu"),
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    })
}

fn bind_data(device: &wgpu::Device, pipeline: &wgpu::ComputePipeline, data: &wgpu::Buffer) -> wgpu::BindGroup {
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("relu"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: data.as_entire_binding() }],
    })
}

fn record_relu(pass: &mut wgpu::ComputePass<'_>, pipeline: &wgpu::ComputePipeline, data: &wgpu::BindGroup) {
    pass.set_pipeline(pipeline);
    pass.set_bind_group(0, data, &[]);
    pass.dispatch_workgroups(LENGTH.div_ceil(64) as u32, 1, 1);
}

/// The four steps in float64.
fn expected(input: &[f32]) -> Vec<f64> {
    let mean = |row: &[f64]| row.iter().sum::<f64>() / WIDTH as f64;
    let mean_square = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>() / WIDTH as f64;
    let mut y: Vec<f64> = input.iter().map(|&v| f64::from(v).max(0.0)).collect();
    for row in y.chunks_mut(WIDTH) {
        let mean = mean(row);
        row.iter_mut().for_each(|v| *v -= mean);
        let std = (mean_square(row) + EPS).sqrt();
        row.iter_mut().for_each(|v| *v = (*v / std).max(0.0));
        let rms = (mean_square(row) + EPS).sqrt();
        row.iter_mut().for_each(|v| *v /= rms);
    }
    y
}
