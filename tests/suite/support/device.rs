//! Buffers of f32 on a device, for tests that bind their own.

use wgpu_norm::{Gpu, Operands, Plan, View, wgpu};

/// What lies in a result before, and around it: a NaN, so that what is left of it, or read of it, is seen.
const GUARD: u32 = 0x7fc0_0bad;

/// A tensor somewhere in a buffer.
pub struct Tensor<'a> {
    gpu: &'a Gpu,
    pub buffer: wgpu::Buffer,
    offset: usize,
    length: usize,
}

impl<'a> Tensor<'a> {
    pub fn new(gpu: &'a Gpu, values: &[f32]) -> Self {
        Self::at(gpu, 0, values)
    }

    /// After so many elements of something else.
    pub fn at(gpu: &'a Gpu, offset: usize, values: &[f32]) -> Self {
        let guard = f32::from_bits(GUARD);
        let mut image = vec![guard; offset];
        image.extend_from_slice(values);
        image.extend([guard; 4]);
        let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * image.len() as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: true,
        });
        buffer.get_mapped_range_mut(..).unwrap().copy_from_slice(bytemuck::cast_slice(&image));
        buffer.unmap();
        Self { gpu, buffer, offset, length: values.len() }
    }

    /// To be written.
    pub fn unwritten(gpu: &'a Gpu, length: usize) -> Self {
        Self::new(gpu, &vec![f32::from_bits(GUARD); length])
    }

    pub fn view(&self) -> View<'_> {
        View::new(&self.buffer, 4 * self.offset as u64)
    }

    /// Its values; around it nothing may have changed.
    pub fn read(&self) -> Vec<f32> {
        let mut values: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes_of(self.gpu, &self.buffer));
        let behind = values.split_off(self.offset + self.length);
        let inside = values.split_off(self.offset);
        assert!(values.iter().chain(&behind).all(|v| v.to_bits() == GUARD), "written around a tensor");
        inside
    }

    pub fn bits(&self) -> Vec<u32> {
        self.read().into_iter().map(f32::to_bits).collect()
    }
}

/// All that is in a buffer.
pub fn bytes_of(gpu: &Gpu, buffer: &wgpu::Buffer) -> Vec<u8> {
    let device = gpu.device();
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let descriptor = wgpu::BufferDescriptor { label: None, size: buffer.size(), usage, mapped_at_creation: false };
    let staging = device.create_buffer(&descriptor);
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    gpu.queue().submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    staging.get_mapped_range(..).unwrap().to_vec()
}

/// Binds a plan and runs it once.
pub fn run(gpu: &Gpu, plan: &Plan, operands: &Operands<'_>) {
    let bound = gpu.context().bind(plan, operands).unwrap_or_else(|error| panic!("{error}\n{plan}"));
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    bound.record(&mut encoder.begin_compute_pass(&Default::default()));
    gpu.queue().submit([encoder.finish()]);
}
