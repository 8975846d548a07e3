//! The library on buffers of one's own: `x` apart from `y`, since arrays go in and out in place, and the gradient of `x`
//! over that of `y`, since theirs do not; and all of them as parts of larger tensors.

use ndarray::ArrayD;

use super::cases::Way;
use super::prepared::Prepared;
use crate::element::Element;
use crate::error::{Error, SpecError};
use crate::gpu::Gpu;
use crate::gpu::bind::{Bound, Operands};
use crate::norm::Norm;
use crate::sample::Parameters;
use crate::strides::Strides;

/// `y`.
pub(super) async fn y(gpu: &Gpu, prepared: &Prepared, way: Way) -> Result<Vec<f32>, Error> {
    let norm = prepared.placed(way)?;
    let (x, parameters) = uploaded(gpu, prepared, way).await?;
    let y = large(gpu, &ArrayD::zeros(norm.shape()), prepared, way).await?;
    let plan = gpu.context().plan(&norm)?;
    let bound = gpu.context().bind_async(&plan, &parameters.among(Operands::new(&x, &y))).await?;
    let values = run(gpu, &bound, &[("y", &y)]).await?.into_iter().flatten().collect();
    Ok(prepared.values_of(values, way))
}

/// The gradients of `x`, weight and bias, and of what follows the norm, by the statistics that a forward pass saves if `wanted` is by such.
pub(super) async fn gradients(
    gpu: &Gpu,
    way: Way,
    prepared: &Prepared,
    dy: &ArrayD<f32>,
) -> Result<Vec<Vec<f32>>, Error> {
    let norm = prepared.placed(way)?;
    let wanted = prepared.case.wanted(way);
    let (x, parameters) = uploaded(gpu, prepared, way).await?;
    let shape = norm.parameter_shape();
    let (dweight, dbias) = (zeros(gpu, &shape).await?, zeros(gpu, &shape).await?);
    let mut statistics = None;
    if wanted == wanted.saved_statistics() {
        let mut shape = norm.statistics_shape();
        shape.push(4);
        let y = large(gpu, &ArrayD::zeros(norm.shape()), prepared, way).await?;
        let saved = zeros(gpu, &shape).await?;
        let plan = gpu.context().plan(&norm)?;
        let bound =
            gpu.context().bind_async(&plan, &parameters.among(Operands::new(&x, &y)).statistics(&saved)).await?;
        run(gpu, &bound, &[]).await?;
        statistics = Some(saved);
    }
    let dx = large(gpu, dy, prepared, way).await?;
    let following = prepared.case.following;
    let parameters = parameters.going_back(prepared.case.kind, following.activation);
    let of_modulation = following.modulated.unwrap_or_default();
    let (dscale, dshift) = (zeros(gpu, of_modulation).await?, zeros(gpu, of_modulation).await?);
    let mut operands = parameters.among(Operands::backward(&dx, &x)).grad_input(&dx);
    let mut results = vec![("grad_input", &dx)];
    if prepared.case.kind.is_affine() {
        operands = operands.grad_weight(&dweight).grad_bias(&dbias);
        results.extend([("grad_weight", &dweight), ("grad_bias", &dbias)]);
    }
    if following.modulated.is_some() {
        operands = operands.grad_scale(&dscale).grad_shift(&dshift);
        results.extend([("grad_scale", &dscale), ("grad_shift", &dshift)]);
    }
    if let Some(statistics) = &statistics {
        operands = operands.statistics(statistics);
    }
    let plan = gpu.context().plan_backward(&norm, wanted)?;
    let bound = gpu.context().bind_async(&plan, &operands).await?;
    let mut values = run(gpu, &bound, &results).await?;
    if let Some(dx) = values.first_mut() {
        *dx = prepared.values_of(std::mem::take(dx), way);
    }
    Ok(values)
}

/// `x`, and what a norm takes beside it.
async fn uploaded(gpu: &Gpu, prepared: &Prepared, way: Way) -> Result<(wgpu::Buffer, Parameters<wgpu::Buffer>), Error> {
    let mut made = [const { None }; 9];
    for (made, values) in made.iter_mut().zip(prepared.parameters.each()) {
        if let Some(values) = values {
            *made = Some(buffer(gpu, values.as_slice().unwrap_or_default(), Element::F32).await?);
        }
    }
    let mut parameters = Parameters::of(made);
    if let Some(skip) = &prepared.parameters.skip {
        parameters.skip = Some(large(gpu, skip, prepared, way).await?);
    }
    Ok((large(gpu, &prepared.x, prepared, way).await?, parameters))
}

impl Prepared {
    /// The norm, of tensors as they lie.
    fn placed(&self, way: Way) -> Result<impl Norm, SpecError> {
        let shape = self.case.shape;
        let mut strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        if let (Some(first), Way::Strided) = (strides.first_mut(), way) {
            *first += BETWEEN;
        }
        Ok(self.case.norm(self.data)?.with_strides(Strides::all(&strides)))
    }

    /// Elements of one index of the first axis.
    fn row(&self) -> usize {
        self.case.shape.iter().skip(1).product::<usize>().max(1)
    }

    /// The values of what is stored in words, without what lies between.
    fn values_of(&self, words: Vec<f32>, way: Way) -> Vec<f32> {
        let values = self.case.element.values_of(bytemuck::cast_slice(&words));
        let (row, between) = (self.row(), if way == Way::Strided { BETWEEN } else { 0 });
        let rows = values.chunks(row + between).flat_map(|chunk| chunk.iter().take(row));
        rows.copied().take(self.x.len()).collect()
    }
}

/// Elements between the rows of the first axis.
const BETWEEN: usize = 4;

/// A tensor of the size of `x`, as it lies.
async fn large(gpu: &Gpu, values: &ArrayD<f32>, prepared: &Prepared, way: Way) -> Result<wgpu::Buffer, Error> {
    let values = values.as_slice().unwrap_or_default();
    let element = prepared.case.element;
    if way != Way::Strided {
        return buffer(gpu, values, element).await;
    }
    let between = [f32::NAN; BETWEEN];
    let rows = values.chunks(prepared.row()).flat_map(|row| row.iter().chain(&between));
    buffer(gpu, &rows.copied().collect::<Vec<f32>>(), element).await
}

async fn buffer(gpu: &Gpu, values: &[f32], element: Element) -> Result<wgpu::Buffer, Error> {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let bytes = element.bytes_of(values);
    gpu.buffer("doctor", (bytes.len() as u64).next_multiple_of(4), usage, Some(&bytes)).await
}

async fn zeros(gpu: &Gpu, shape: &[usize]) -> Result<wgpu::Buffer, Error> {
    buffer(gpu, &vec![0.0; shape.iter().product()], Element::F32).await
}

async fn run(gpu: &Gpu, bound: &Bound, read: &[(&'static str, &wgpu::Buffer)]) -> Result<Vec<Vec<f32>>, Error> {
    gpu.submit(|encoder| bound.record(&mut encoder.begin_compute_pass(&Default::default())), read).await
}
