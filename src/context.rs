//! A device, what it can do, and the pipelines made on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backward::Backward;
use crate::error::SpecError;
use crate::norm::Norm;
use crate::plan::{Capabilities, Plan, Tuning};
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
    tuning: Tuning,
    safety: Safety,
    cache: Option<wgpu::PipelineCache>,
    pipelines: Arc<Mutex<Pipelines>>,
}

/// Whether shaders are compiled with checks that every index is inside its buffer and that loops end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Safety {
    /// With them: a mistake in this library could give wrong numbers, and nothing worse.
    #[default]
    Checked,
    /// Without them, which is a little faster: see [`Context::with_safety`].
    Trusted,
}

pub(crate) type Pipelines = HashMap<PipelineKey, Pipeline>;

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
        Self {
            device: device.clone(),
            capabilities,
            tuning: Tuning::default(),
            safety: Safety::default(),
            cache: None,
            pipelines: Arc::default(),
        }
    }

    /// The same, but plans go by `tuning`.
    #[must_use]
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// The same, with shaders compiled as `safety` says; pipelines made so far are forgotten.
    ///
    /// # Safety
    ///
    /// With [`Safety::Trusted`] nothing stands between an index out of range and memory that is not ours: neither this
    /// library's shaders nor the driver's compiler may have a mistake that the tests have not found, and
    /// [`Capabilities`] must be what the device has. [`Safety::Checked`] asks nothing.
    #[must_use]
    #[allow(unsafe_code)]
    pub unsafe fn with_safety(mut self, safety: Safety) -> Self {
        self.safety = safety;
        self.pipelines = Arc::default();
        self
    }

    /// The same, with pipelines compiled by way of `cache`, which the caller loads, and saves where it lasts.
    #[must_use]
    pub fn with_pipeline_cache(mut self, cache: wgpu::PipelineCache) -> Self {
        self.cache = Some(cache);
        self
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
        Plan::new(norm.lower()?, &self.capabilities, self.tuning)
    }

    /// Decides how the gradients of `norm` are computed on this device.
    ///
    /// # Errors
    ///
    /// As [`Context::plan`]; for a norm without a backward pass (mean-variance and Lp norm); where no gradient is wanted.
    pub fn plan_backward(&self, norm: &dyn Norm, wanted: Backward) -> Result<Plan, SpecError> {
        Plan::new(norm.lower()?.backward(wanted)?, &self.capabilities, self.tuning)
    }

    /// Decides how the [`Moments`](crate::Moments) of each of `norm`'s groups are computed, to be merged with those of other
    /// parts of the same batch: bound to [`Operands::of`](crate::Operands::of)`(&x)` with
    /// [`moments`](crate::Operands::moments). An empty `x` has moments of 0.
    ///
    /// # Errors
    ///
    /// As [`Context::plan`]; for batch norm in eval mode.
    pub fn plan_moments(&self, norm: &dyn Norm) -> Result<Plan, SpecError> {
        Plan::new(norm.lower()?.moments()?, &self.capabilities, self.tuning)
    }

    /// Decides how `norm` runs by the moments of `parts` parts of its batch, one after the other in one buffer, which it
    /// merges: statistics, running ones included, are those of all parts, and `x` and `y` one of them.
    ///
    /// # Errors
    ///
    /// As [`Context::plan`]; for batch norm in eval mode; if `parts` is 0.
    pub fn plan_from_moments(&self, norm: &dyn Norm, parts: usize) -> Result<Plan, SpecError> {
        Plan::new(norm.lower()?.by_moments(parts)?, &self.capabilities, self.tuning)
    }

    /// Decides how the two sums that the gradient of `x` needs of each group, of `g` and of `g * xhat`, are computed for one
    /// part of a batch, by the [`statistics`](crate::Operands::statistics) of all: they go to
    /// [`sums`](crate::Operands::sums). The gradients of weight and bias are those of the part, where wanted.
    ///
    /// # Errors
    ///
    /// As [`Context::plan_backward`]; for batch norm in eval mode.
    pub fn plan_backward_sums(&self, norm: &dyn Norm, wanted: Backward) -> Result<Plan, SpecError> {
        Plan::new(norm.lower()?.backward_sums(wanted)?, &self.capabilities, self.tuning)
    }

    /// Decides how the gradient of `x` is computed by the sums of `parts` parts, one after the other in one buffer (1 where
    /// they have been added up), and the [`statistics`](crate::Operands::statistics) of all.
    ///
    /// # Errors
    ///
    /// As [`Context::plan_backward`]; for batch norm in eval mode; if `parts` is 0.
    pub fn plan_backward_from_sums(&self, norm: &dyn Norm, parts: usize) -> Result<Plan, SpecError> {
        Plan::new(norm.lower()?.by_sums(parts)?, &self.capabilities, self.tuning)
    }

    /// The pipeline of `key`. A new one goes to `new`, and is not found again elsewhere before [`Context::remember`].
    pub(crate) fn pipeline(&self, key: &PipelineKey, new: &mut Pipelines) -> Pipeline {
        let known = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(pipeline) = known.or_else(|| new.get(key).cloned()) {
            return pipeline;
        }
        let pipeline = self.make(key);
        new.insert(key.clone(), pipeline.clone());
        pipeline
    }

    /// Keeps pipelines that turned out valid.
    pub(crate) fn remember(&self, new: Pipelines) {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
    }

    fn make(&self, key: &PipelineKey) -> Pipeline {
        let label = key.variant.kernel.name();
        let module = self.module(label, key.variant.source());
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
            cache: self.cache.as_ref(),
        });
        Pipeline { pipeline, layout }
    }

    fn module(&self, label: &str, source: String) -> wgpu::ShaderModule {
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(source.into()) };
        match self.safety {
            Safety::Checked => self.device.create_shader_module(descriptor),
            // SAFETY: who called `with_safety` promised what it asks for.
            #[allow(unsafe_code)]
            Safety::Trusted => unsafe {
                self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            },
        }
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
