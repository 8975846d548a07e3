//! The library on buffers of one's own: `x` apart from `y`, since arrays go in and out in place, and the gradient of `x`
//! over that of `y`, since theirs do not.

use std::sync::mpsc;

use ndarray::{ArrayD, IxDyn};
use wgpu_norm::wgpu::{self, BufferUsages, ErrorFilter};
use wgpu_norm::{Backward, Gpu, Norm, Operands, Plan};

use super::given::Given;
use crate::failure::chain;
use crate::kind::Parameters;

/// `y`, or what went wrong.
pub(crate) fn y(gpu: &Gpu, norm: &dyn Norm, given: &Given) -> Result<ArrayD<f32>, String> {
    watched(gpu, || {
        let buffers = Buffers::new(gpu, given);
        let y = zeros(gpu, norm.shape());
        let plan = gpu.context().plan(norm).map_err(|error| chain(&error))?;
        submit(gpu, &plan, &buffers.forward(&y))?;
        read(gpu, &y, norm.shape())
    })
}

/// The gradients of `x`, weight and bias, by the statistics that a forward pass saves if `wanted` is by such.
pub(crate) fn gradients(
    gpu: &Gpu,
    norm: &dyn Norm,
    wanted: Backward,
    given: &Given,
    dy: &ArrayD<f32>,
) -> Result<[ArrayD<f32>; 3], String> {
    watched(gpu, || {
        let buffers = Buffers::new(gpu, given);
        let parameters = norm.parameter_shape();
        let (dweight, dbias) = (zeros(gpu, &parameters), zeros(gpu, &parameters));
        let mut statistics = None;
        if wanted == wanted.saved_statistics() {
            let mut shape = norm.statistics_shape();
            shape.push(4);
            let (y, saved) = (zeros(gpu, norm.shape()), zeros(gpu, &shape));
            let plan = gpu.context().plan(norm).map_err(|error| chain(&error))?;
            submit(gpu, &plan, &buffers.forward(&y).statistics(&saved))?;
            statistics = Some(saved);
        }
        let dx = buffer(gpu, dy);
        let mut operands = Operands::backward(&dx, &buffers.x).grad_input(&dx).grad_weight(&dweight).grad_bias(&dbias);
        if let Some(statistics) = &statistics {
            operands = operands.statistics(statistics);
        }
        if let Some(weight) = &buffers.weight {
            operands = operands.weight(weight);
        }
        if let (true, Some([mean, var])) = (given.is_eval(), &buffers.running) {
            operands = operands.running_mean(mean).running_var(var);
        }
        let plan = gpu.context().plan_backward(norm, wanted).map_err(|error| chain(&error))?;
        submit(gpu, &plan, &operands)?;
        let read = |buffer, shape: &[usize]| read(gpu, buffer, shape);
        Ok([read(&dx, norm.shape())?, read(&dweight, &parameters)?, read(&dbias, &parameters)?])
    })
}

/// What the device says by the way is an error, too.
fn watched<T>(gpu: &Gpu, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let device = gpu.device();
    let memory = device.push_error_scope(ErrorFilter::OutOfMemory);
    let validation = device.push_error_scope(ErrorFilter::Validation);
    let result = work();
    let (validation, memory) = (validation.pop(), memory.pop());
    match pollster::block_on(async { memory.await.or(validation.await) }) {
        Some(error) => Err(chain(&error)),
        None => result,
    }
}

/// What a norm takes.
struct Buffers {
    x: wgpu::Buffer,
    weight: Option<wgpu::Buffer>,
    bias: Option<wgpu::Buffer>,
    running: Option<[wgpu::Buffer; 2]>,
}

impl Buffers {
    fn new(gpu: &Gpu, given: &Given) -> Self {
        let Parameters { weight, bias, running_mean, running_var } = &given.parameters;
        let [weight, bias, mean, var] =
            [weight, bias, running_mean, running_var].map(|array| array.as_ref().map(|values| buffer(gpu, values)));
        Self { x: buffer(gpu, &given.x), weight, bias, running: mean.zip(var).map(Into::into) }
    }

    fn forward<'a>(&'a self, y: &'a wgpu::Buffer) -> Operands<'a> {
        let mut operands = Operands::new(&self.x, y);
        if let (Some(weight), Some(bias)) = (&self.weight, &self.bias) {
            operands = operands.weight(weight).bias(bias);
        }
        if let Some([mean, var]) = &self.running {
            operands = operands.running_mean(mean).running_var(var);
        }
        operands
    }
}

fn buffer(gpu: &Gpu, values: &ArrayD<f32>) -> wgpu::Buffer {
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("doctor"),
        size: 4 * values.len() as u64,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    if let Some(values) = values.as_slice() {
        gpu.queue().write_buffer(&buffer, 0, bytemuck::cast_slice(values));
    }
    buffer
}

fn zeros(gpu: &Gpu, shape: &[usize]) -> wgpu::Buffer {
    buffer(gpu, &ArrayD::zeros(IxDyn(shape)))
}

fn submit(gpu: &Gpu, plan: &Plan, operands: &Operands<'_>) -> Result<(), String> {
    let bound = gpu.context().bind(plan, operands).map_err(|error| chain(&error))?;
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    bound.record(&mut encoder.begin_compute_pass(&Default::default()));
    gpu.queue().submit([encoder.finish()]);
    Ok(())
}

fn read(gpu: &Gpu, buffer: &wgpu::Buffer, shape: &[usize]) -> Result<ArrayD<f32>, String> {
    let (done, wait) = mpsc::channel();
    wgpu::util::DownloadBuffer::read_buffer(gpu.device(), gpu.queue(), &buffer.slice(..), move |result| {
        // Nobody waits any more if the device was lost.
        let _ = done.send(result.map(|bytes| bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)));
    });
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).map_err(|error| chain(&error))?;
    let values = wait.recv().map_err(|error| chain(&error))?.map_err(|error| chain(&error))?;
    ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|error| chain(&error))
}
