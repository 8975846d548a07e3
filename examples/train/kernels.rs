//! Pipelines of `kernels.wgsl`, and bind groups of them: what a program has on its own device.

use std::collections::HashMap;

use wgpu_norm::wgpu;
use wgpu_norm::wgpu::util::DeviceExt as _;

pub struct Kernels {
    device: wgpu::Device,
    pipelines: HashMap<&'static str, wgpu::ComputePipeline>,
}

/// As in `kernels.wgsl`.
#[derive(Clone, Copy, Default)]
pub struct Params {
    pub rows: usize,
    pub columns: usize,
    pub k: usize,
    /// From one element to the next: along the rows and the summed axis of `a`, the summed axis and the columns of `b`.
    pub strides: [usize; 4],
    pub momentum: f32,
}

/// A kernel with its buffers: recorded as often as one likes.
pub struct Op {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    grid: [u32; 2],
}

const ENTRIES: [&str; 7] = ["multiply", "linear", "column_sums", "relu", "relu_gradient", "cross_entropy", "descend"];

impl Kernels {
    pub fn new(device: &wgpu::Device) -> Self {
        let module = device.create_shader_module(wgpu::include_wgsl!("kernels.wgsl"));
        let pipeline = |entry| {
            let descriptor = wgpu::ComputePipelineDescriptor {
                label: Some(entry),
                layout: None,
                module: &module,
                entry_point: Some(entry),
                compilation_options: Default::default(),
                cache: None,
            };
            (entry, device.create_compute_pipeline(&descriptor))
        };
        Self { device: device.clone(), pipelines: ENTRIES.into_iter().map(pipeline).collect() }
    }

    /// Binds a kernel to the buffers it names `a`, `b`, `c` and `d`, in this order.
    pub fn op(&self, entry: &str, params: Params, buffers: &[&wgpu::Buffer]) -> Op {
        let Params { rows, columns, k, strides: [a_row, a_k, b_k, b_column], momentum } = params;
        let whole = [rows, columns, k, a_row, a_k, b_k, b_column].map(|n| n as u32);
        let words: Vec<u32> = whole.into_iter().chain([momentum.to_bits()]).collect();
        let uniform = self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some(entry),
            contents: bytemuck::cast_slice(&words),
            usage: wgpu::BufferUsages::UNIFORM,
        });
        let pipeline = self.pipelines[entry].clone();
        let entries: Vec<_> = std::iter::once(&uniform)
            .chain(buffers.iter().copied())
            .zip(0..)
            .map(|(buffer, binding)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(entry),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let grid = match entry {
            "multiply" | "linear" => [columns.div_ceil(8), rows.div_ceil(8)],
            "relu" | "relu_gradient" => [(rows * columns).div_ceil(64), 1],
            "column_sums" => [columns.div_ceil(64), 1],
            _ => [rows.div_ceil(64), 1],
        };
        Op { pipeline, group, grid: grid.map(|n| n as u32) }
    }
}

impl Op {
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}
