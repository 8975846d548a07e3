//! The library on buffers of one's own, `x` apart from `y`: where arrays go in and out, it works in place.

use std::sync::mpsc;

use ndarray::{ArrayD, IxDyn};
use wgpu_norm::wgpu::{self, BufferUsages, ErrorFilter};
use wgpu_norm::{Gpu, Norm, Operands};

use super::cases::Given;
use crate::failure::chain;
use crate::kind::Parameters;

/// `y`, or what went wrong.
pub(crate) fn run(gpu: &Gpu, norm: &dyn Norm, given: &Given) -> Result<ArrayD<f32>, String> {
    let device = gpu.device();
    let memory = device.push_error_scope(ErrorFilter::OutOfMemory);
    let validation = device.push_error_scope(ErrorFilter::Validation);
    let y = submit(gpu, norm, given);
    let (validation, memory) = (validation.pop(), memory.pop());
    if let Some(error) = pollster::block_on(async { memory.await.or(validation.await) }) {
        return Err(chain(&error));
    }
    let values = read(gpu, &y?)?;
    ArrayD::from_shape_vec(IxDyn(norm.shape()), values).map_err(|error| chain(&error))
}

fn submit(gpu: &Gpu, norm: &dyn Norm, given: &Given) -> Result<wgpu::Buffer, String> {
    let (device, queue) = (gpu.device(), gpu.queue());
    let buffer = |values: &ArrayD<f32>| {
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("doctor"),
            size: 4 * values.len() as u64,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        if let Some(values) = values.as_slice() {
            queue.write_buffer(&buffer, 0, bytemuck::cast_slice(values));
        }
        buffer
    };
    let (x, y) = (buffer(&given.x), buffer(&ArrayD::zeros(given.x.raw_dim())));
    let Parameters { weight, bias, running_mean, running_var } = &given.parameters;
    let [weight, bias, mean, var] = [weight, bias, running_mean, running_var].map(|array| array.as_ref().map(buffer));
    let mut operands = Operands::new(&x, &y);
    if let (Some(weight), Some(bias)) = (&weight, &bias) {
        operands = operands.weight(weight).bias(bias);
    }
    if let (Some(mean), Some(var)) = (&mean, &var) {
        operands = operands.running_mean(mean).running_var(var);
    }
    let plan = gpu.context().plan(norm).map_err(|error| chain(&error))?;
    let bound = gpu.context().bind(&plan, &operands).map_err(|error| chain(&error))?;
    let mut encoder = device.create_command_encoder(&Default::default());
    bound.record(&mut encoder.begin_compute_pass(&Default::default()));
    queue.submit([encoder.finish()]);
    Ok(y)
}

fn read(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<Vec<f32>, String> {
    let (done, wait) = mpsc::channel();
    wgpu::util::DownloadBuffer::read_buffer(gpu.device(), gpu.queue(), &buffer.slice(..), move |result| {
        // Nobody waits any more if the device was lost.
        let _ = done.send(result.map(|bytes| bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)));
    });
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).map_err(|error| chain(&error))?;
    wait.recv().map_err(|error| chain(&error))?.map_err(|error| chain(&error))
}
