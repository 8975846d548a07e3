//! The library on buffers of one's own: `x` apart from `y`, since arrays go in and out in place, and the gradient of `x`
//! over that of `y`, since theirs do not.

use ndarray::{ArrayD, IxDyn};

use super::prepared::Prepared;
use crate::backward::Backward;
use crate::error::Error;
use crate::gpu::Gpu;
use crate::gpu::bind::{Bound, Operands};
use crate::sample::Parameters;

/// `y`.
pub(super) async fn y(gpu: &Gpu, prepared: &Prepared) -> Result<Vec<f32>, Error> {
    let norm = prepared.norm.as_ref();
    let buffers = Buffers::new(gpu, prepared).await?;
    let y = zeros(gpu, norm.shape()).await?;
    let plan = gpu.context().plan(norm)?;
    let bound = gpu.context().bind_async(&plan, &buffers.forward(&y)).await?;
    let values = run(gpu, &bound, &[("y", &y)]).await?;
    Ok(values.into_iter().flatten().collect())
}

/// The gradients of `x`, weight and bias, by the statistics that a forward pass saves if `wanted` is by such.
pub(super) async fn gradients(
    gpu: &Gpu,
    wanted: Backward,
    prepared: &Prepared,
    dy: &ArrayD<f32>,
) -> Result<Vec<Vec<f32>>, Error> {
    let norm = prepared.norm.as_ref();
    let buffers = Buffers::new(gpu, prepared).await?;
    let parameters = norm.parameter_shape();
    let (dweight, dbias) = (zeros(gpu, &parameters).await?, zeros(gpu, &parameters).await?);
    let mut statistics = None;
    if wanted == wanted.saved_statistics() {
        let mut shape = norm.statistics_shape();
        shape.push(4);
        let (y, saved) = (zeros(gpu, norm.shape()).await?, zeros(gpu, &shape).await?);
        let plan = gpu.context().plan(norm)?;
        let bound = gpu.context().bind_async(&plan, &buffers.forward(&y).statistics(&saved)).await?;
        run(gpu, &bound, &[]).await?;
        statistics = Some(saved);
    }
    let dx = buffer(gpu, dy).await?;
    let mut operands = Operands::backward(&dx, &buffers.x).grad_input(&dx).grad_weight(&dweight).grad_bias(&dbias);
    if let Some(statistics) = &statistics {
        operands = operands.statistics(statistics);
    }
    if let Some(weight) = &buffers.weight {
        operands = operands.weight(weight);
    }
    if let (true, Some([mean, var])) = (prepared.case.kind.is_eval(), &buffers.running) {
        operands = operands.running_mean(mean).running_var(var);
    }
    let plan = gpu.context().plan_backward(norm, wanted)?;
    let bound = gpu.context().bind_async(&plan, &operands).await?;
    run(gpu, &bound, &[("grad_input", &dx), ("grad_weight", &dweight), ("grad_bias", &dbias)]).await
}

/// What a norm takes.
struct Buffers {
    x: wgpu::Buffer,
    weight: Option<wgpu::Buffer>,
    bias: Option<wgpu::Buffer>,
    running: Option<[wgpu::Buffer; 2]>,
}

impl Buffers {
    async fn new(gpu: &Gpu, prepared: &Prepared) -> Result<Self, Error> {
        let Parameters { weight, bias, running_mean, running_var } = &prepared.parameters;
        let mut made = [const { None }; 4];
        for (made, values) in made.iter_mut().zip([weight, bias, running_mean, running_var]) {
            if let Some(values) = values {
                *made = Some(buffer(gpu, values).await?);
            }
        }
        let [weight, bias, mean, var] = made;
        Ok(Self { x: buffer(gpu, &prepared.x).await?, weight, bias, running: mean.zip(var).map(Into::into) })
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

async fn buffer(gpu: &Gpu, values: &ArrayD<f32>) -> Result<wgpu::Buffer, Error> {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    gpu.buffer("doctor", 4 * values.len() as u64, usage, values.as_slice().map(bytemuck::cast_slice)).await
}

async fn zeros(gpu: &Gpu, shape: &[usize]) -> Result<wgpu::Buffer, Error> {
    buffer(gpu, &ArrayD::zeros(IxDyn(shape))).await
}

async fn run(gpu: &Gpu, bound: &Bound, read: &[(&'static str, &wgpu::Buffer)]) -> Result<Vec<Vec<f32>>, Error> {
    gpu.submit(|encoder| bound.record(&mut encoder.begin_compute_pass(&Default::default())), read).await
}
