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
    let (x, parameters) = uploaded(gpu, prepared).await?;
    let y = zeros(gpu, norm.shape()).await?;
    let plan = gpu.context().plan(norm)?;
    let bound = gpu.context().bind_async(&plan, &parameters.among(Operands::new(&x, &y))).await?;
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
    let (x, parameters) = uploaded(gpu, prepared).await?;
    let shape = norm.parameter_shape();
    let (dweight, dbias) = (zeros(gpu, &shape).await?, zeros(gpu, &shape).await?);
    let mut statistics = None;
    if wanted == wanted.saved_statistics() {
        let mut shape = norm.statistics_shape();
        shape.push(4);
        let (y, saved) = (zeros(gpu, norm.shape()).await?, zeros(gpu, &shape).await?);
        let plan = gpu.context().plan(norm)?;
        let bound =
            gpu.context().bind_async(&plan, &parameters.among(Operands::new(&x, &y)).statistics(&saved)).await?;
        run(gpu, &bound, &[]).await?;
        statistics = Some(saved);
    }
    let dx = buffer(gpu, dy).await?;
    let parameters = parameters.going_back(prepared.case.kind);
    let mut operands = parameters.among(Operands::backward(&dx, &x)).grad_input(&dx);
    let mut results = vec![("grad_input", &dx)];
    if prepared.case.kind.is_affine() {
        operands = operands.grad_weight(&dweight).grad_bias(&dbias);
        results.extend([("grad_weight", &dweight), ("grad_bias", &dbias)]);
    }
    if let Some(statistics) = &statistics {
        operands = operands.statistics(statistics);
    }
    let plan = gpu.context().plan_backward(norm, wanted)?;
    let bound = gpu.context().bind_async(&plan, &operands).await?;
    run(gpu, &bound, &results).await
}

/// `x`, and what a norm takes beside it.
async fn uploaded(gpu: &Gpu, prepared: &Prepared) -> Result<(wgpu::Buffer, Parameters<wgpu::Buffer>), Error> {
    let Parameters { weight, bias, running_mean, running_var } = &prepared.parameters;
    let mut made = [const { None }; 4];
    for (made, values) in made.iter_mut().zip([weight, bias, running_mean, running_var]) {
        if let Some(values) = values {
            *made = Some(buffer(gpu, values).await?);
        }
    }
    let [weight, bias, running_mean, running_var] = made;
    Ok((buffer(gpu, &prepared.x).await?, Parameters { weight, bias, running_mean, running_var }))
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
