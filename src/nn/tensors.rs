//! What a layer owns on the GPU.

use super::options::sealed::Kind;
use crate::element::Element;
use crate::error::{Error, RunError};
use crate::gpu::Gpu;
use crate::problem::count;
use crate::values::Values;

/// The values of weight and bias, or of their gradients.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ParameterValues {
    /// Those of the weight, if the layer has one.
    pub weight: Option<Vec<f32>>,
    /// Those of the bias, if the layer has one.
    pub bias: Option<Vec<f32>>,
}

/// The values of running statistics.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RunningStatistics {
    /// Running mean of each channel.
    pub mean: Vec<f32>,
    /// Running variance of each channel.
    pub var: Vec<f32>,
    /// Number of batches that they include.
    pub num_batches_tracked: u32,
}

/// The buffers. They stay where they are for as long as the layer lives, so what is bound to them stays bound.
#[derive(Debug)]
pub(super) struct Tensors {
    pub(super) weight: Option<Parameter>,
    pub(super) bias: Option<Parameter>,
    pub(super) running: Option<Running>,
}

#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) value: wgpu::Buffer,
    pub(super) gradient: wgpu::Buffer,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) mean: wgpu::Buffer,
    pub(super) var: wgpu::Buffer,
    pub(super) batches: wgpu::Buffer,
}

impl Tensors {
    pub(super) async fn new(gpu: &Gpu, kind: &dyn Kind) -> Result<Self, Error> {
        let (length, element) = (count(&kind.parameter_shape()) as usize, kind.storage().of_parameters());
        let affine = kind.affine();
        let mut tensors = Self { weight: None, bias: None, running: None };
        if affine.weight {
            tensors.weight =
                Some(Parameter::new(gpu, ["weight", "grad_weight"], kind.initial_weight(), length, element).await?);
        }
        if affine.bias {
            tensors.bias = Some(Parameter::new(gpu, ["bias", "grad_bias"], 0.0, length, element).await?);
        }
        if kind.tracks() {
            tensors.running = Some(Running {
                mean: filled(gpu, "running_mean", 0.0, length, Element::F32).await?,
                var: filled(gpu, "running_var", 1.0, length, Element::F32).await?,
                // A count of 0 has the bits of 0.0.
                batches: filled(gpu, "num_batches_tracked", 0.0, 1, Element::F32).await?,
            });
        }
        Ok(tensors)
    }

    pub(super) fn gradients(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        self.weight.iter().chain(&self.bias).map(|parameter| &parameter.gradient)
    }
}

impl Parameter {
    async fn new(
        gpu: &Gpu,
        names: [&'static str; 2],
        initial: f32,
        length: usize,
        element: Element,
    ) -> Result<Self, Error> {
        let [value, gradient] = names;
        Ok(Self {
            value: filled(gpu, value, initial, length, element).await?,
            gradient: filled(gpu, gradient, 0.0, length, Element::F32).await?,
        })
    }
}

/// For the layer, and for the optimizer and whoever else the caller has.
const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

async fn filled(
    gpu: &Gpu,
    tensor: &'static str,
    value: f32,
    length: usize,
    element: Element,
) -> Result<wgpu::Buffer, Error> {
    let bytes = (length as u64 * element.size()).next_multiple_of(4);
    let most = gpu.device().limits().max_buffer_size;
    if bytes > most {
        // Before there are as many values here.
        let description = format!("its max_buffer_size is {most}");
        return Err(RunError::Buffer { tensor, bytes, description }.into());
    }
    // New buffers are all zeros.
    let values = (value != 0.0).then(|| vec![value; length]);
    let stored = values.as_ref().map(|values| Values::new(values).stored_as(element));
    gpu.buffer(tensor, bytes, USAGE, stored.as_ref().map(|stored| stored.values().bytes)).await
}
