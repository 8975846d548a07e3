//! A device, what it can do, and the pipelines made on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::SpecError;
use crate::norm::Norm;
use crate::plan::{Capabilities, Plan};
use crate::shader::{Access, Constants, ENTRY, Variant};

/// The library's state on one [`wgpu::Device`]: its pipelines, each made when first bound. Cheap to clone; clones share
/// the pipelines.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// # let gpu = wgpu_norm::Gpu::new_blocking()?;
/// # let device: &wgpu::Device = gpu.device();
/// use wgpu_norm::{Context, LayerNorm, wgpu};
///
/// let context = Context::new(device);
/// let plan = context.plan(&LayerNorm::new(&[4096, 768], &[768])?)?;
/// println!("{plan}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Context {
    device: wgpu::Device,
    capabilities: Capabilities,
    pipelines: Arc<Mutex<HashMap<PipelineKey, Pipeline>>>,
}

/// What makes one pipeline differ from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PipelineKey {
    pub(crate) variant: Variant,
    pub(crate) constants: Constants,
}

#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

impl Context {
    /// Uses the caller's device; a clone of the handle is kept.
    #[must_use]
    pub fn new(device: &wgpu::Device) -> Self {
        Self::with_capabilities(device, Capabilities::of(device))
    }

    /// As [`Context::new`] with capabilities set by hand: to plan without subgroups, say. They must be no more than the
    /// device has.
    #[must_use]
    pub fn with_capabilities(device: &wgpu::Device, capabilities: Capabilities) -> Self {
        Self { device: device.clone(), capabilities, pipelines: Arc::default() }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// What plans go by.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Decides how `norm` runs on this device. Touches no device: repeat it as you like.
    ///
    /// # Errors
    ///
    /// [`SpecError`] for a parameter outside its range, or a tensor larger than the device's limits.
    pub fn plan(&self, norm: &dyn Norm) -> Result<Plan, SpecError> {
        Plan::new(norm.lower()?, &self.capabilities)
    }

    /// The pipeline, and whether it is new: a new one is not remembered before [`Context::remember`].
    pub(crate) fn pipeline(&self, key: &PipelineKey) -> (Pipeline, bool) {
        let known = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        match known {
            Some(pipeline) => (pipeline, false),
            None => (self.make(key), true),
        }
    }

    /// Keeps a pipeline that turned out valid.
    pub(crate) fn remember(&self, key: PipelineKey, pipeline: Pipeline) {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).insert(key, pipeline);
    }

    fn make(&self, key: &PipelineKey) -> Pipeline {
        let label = key.variant.kernel.name();
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(key.variant.source().into()),
        });
        let uniform = layout_entry(0, wgpu::BufferBindingType::Uniform);
        let tensors = key.variant.tensors.iter().zip(1..).map(|(tensor, binding)| {
            layout_entry(binding, wgpu::BufferBindingType::Storage { read_only: tensor.access == Access::Read })
        });
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(label),
            entries: &std::iter::once(uniform).chain(tensors).collect::<Vec<_>>(),
        });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(ENTRY),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &key.constants.values(),
                // Every lane writes before any reads.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        Pipeline { pipeline, layout }
    }
}

fn layout_entry(binding: u32, ty: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}
