//! The library on buffers of one's own: `x` apart from `y`, since arrays go in and out in place, and the gradient of `x`
//! over that of `y`, since theirs do not.

use ndarray::{ArrayD, IxDyn};

use super::prepared::Prepared;
use crate::backward::Backward;
use crate::element::Element;
use crate::error::Error;
use crate::gpu::Gpu;
use crate::gpu::bind::{Bound, Operands};
use crate::sample::Parameters;

/// `y`.
pub(super) async fn y(gpu: &Gpu, prepared: &Prepared) -> Result<Vec<f32>, Error> {
    let norm = prepared.norm.as_ref();
    let (x, parameters) = uploaded(gpu, prepared).await?;
    let element = prepared.case.element;
    let y = zeros(gpu, norm.shape(), element).await?;
    let plan = gpu.context().plan(norm)?;
    let bound = gpu.context().bind_async(&plan, &parameters.among(Operands::new(&x, &y))).await?;
    let values = run(gpu, &bound, &[("y", &y)]).await?.into_iter().flatten().collect();
    Ok(values_of(element, values, prepared.x.len()))
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
    let element = prepared.case.element;
    let (dweight, dbias) = (zeros(gpu, &shape, Element::F32).await?, zeros(gpu, &shape, Element::F32).await?);
    let mut statistics = None;
    if wanted == wanted.saved_statistics() {
        let mut shape = norm.statistics_shape();
        shape.push(4);
        let (y, saved) = (zeros(gpu, norm.shape(), element).await?, zeros(gpu, &shape, Element::F32).await?);
        let plan = gpu.context().plan(norm)?;
        let bound =
            gpu.context().bind_async(&plan, &parameters.among(Operands::new(&x, &y)).statistics(&saved)).await?;
        run(gpu, &bound, &[]).await?;
        statistics = Some(saved);
    }
    let dx = buffer(gpu, dy, element).await?;
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
    let mut values = run(gpu, &bound, &results).await?;
    if let Some(dx) = values.first_mut() {
        *dx = values_of(element, std::mem::take(dx), prepared.x.len());
    }
    Ok(values)
}

/// `x`, and what a norm takes beside it.
async fn uploaded(gpu: &Gpu, prepared: &Prepared) -> Result<(wgpu::Buffer, Parameters<wgpu::Buffer>), Error> {
    let Parameters { weight, bias, running_mean, running_var } = &prepared.parameters;
    let mut made = [const { None }; 4];
    for (made, values) in made.iter_mut().zip([weight, bias, running_mean, running_var]) {
        if let Some(values) = values {
            *made = Some(buffer(gpu, values, Element::F32).await?);
        }
    }
    let [weight, bias, running_mean, running_var] = made;
    Ok((buffer(gpu, &prepared.x, prepared.case.element).await?, Parameters { weight, bias, running_mean, running_var }))
}

async fn buffer(gpu: &Gpu, values: &ArrayD<f32>, element: Element) -> Result<wgpu::Buffer, Error> {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let bytes = element.bytes_of(values.as_slice().unwrap_or_default());
    gpu.buffer("doctor", (bytes.len() as u64).next_multiple_of(4), usage, Some(&bytes)).await
}

async fn zeros(gpu: &Gpu, shape: &[usize], element: Element) -> Result<wgpu::Buffer, Error> {
    buffer(gpu, &ArrayD::zeros(IxDyn(shape)), element).await
}

/// So many values of what is stored in words.
fn values_of(element: Element, words: Vec<f32>, count: usize) -> Vec<f32> {
    let mut values = element.values_of(bytemuck::cast_slice(&words));
    values.truncate(count);
    values
}

async fn run(gpu: &Gpu, bound: &Bound, read: &[(&'static str, &wgpu::Buffer)]) -> Result<Vec<Vec<f32>>, Error> {
    gpu.submit(|encoder| bound.record(&mut encoder.begin_compute_pass(&Default::default())), read).await
}
