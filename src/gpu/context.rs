//! A device, what it can do, and the pipelines made on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backward::Backward;
use crate::error::SpecError;
use crate::gpu::list::check_listed;
use crate::gpu::plan::{Capabilities, Plan, Tuning};
use crate::gpu::shader::{Access, Constants, ENTRY, Variant};
use crate::norm::Norm;
use crate::problem::Problem;

/// Plans norms for one [`wgpu::Device`], binds them to buffers, and owns the compiled pipelines.
///
/// Make one per device and keep it. A pipeline is compiled when a plan that needs it is first bound, and reused from then
/// on. A context is cheap to clone; clones share the pipelines.
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

/// Whether shaders are compiled with runtime checks: that every index is inside its buffer, and no divisor is 0. That loops end is checked in
/// neither case: all do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Safety {
    /// With checks. A bug in this library can give wrong numbers, but no access outside of a buffer.
    #[default]
    Checked,
    /// Without checks, which is a little faster. See [`Context::with_safety`].
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
    /// A context on the caller's device, which keeps a clone of the handle.
    #[must_use]
    pub fn new(device: &wgpu::Device) -> Self {
        Self::with_capabilities(device, Capabilities::of(device))
    }

    /// A context that plans for the given capabilities, to plan without subgroups, for example. They must not exceed what
    /// the device has.
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

    /// This context, with plans chosen by `tuning`.
    #[must_use]
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// This context, with shaders compiled as `safety` says. It starts without pipelines.
    ///
    /// # Safety
    ///
    /// With [`Safety::Trusted`], an index out of range accesses memory outside of the buffer. The caller must trust this
    /// library's shaders and the driver's compiler to be free of such bugs, and [`Capabilities`] must be what the device
    /// has. [`Safety::Checked`] has no requirements.
    #[must_use]
    #[allow(unsafe_code)]
    pub unsafe fn with_safety(mut self, safety: Safety) -> Self {
        self.safety = safety;
        self.pipelines = Arc::default();
        self
    }

    /// This context, with pipelines compiled through `cache`. The caller loads the cache, and saves it for the next run.
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

    /// The capabilities that plans are made for.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Plans the forward pass of `norm`. Planning is cheap and does not touch the device.
    ///
    /// # Errors
    ///
    /// [`SpecError`] if a parameter is outside its range, or a tensor exceeds the device's limits.
    pub fn plan(&self, norm: &dyn Norm) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?)
    }

    /// Plans the backward pass of `norm`: the gradients that `wanted` selects.
    ///
    /// # Errors
    ///
    /// As [`Context::plan`]. Also if the norm has no backward pass (mean-variance and Lp norm), if no gradient is wanted, or
    /// if saved statistics are wanted in eval mode.
    pub fn plan_backward(&self, norm: &dyn Norm, wanted: Backward) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.backward(wanted)?)
    }

    /// Plans the [`Moments`](crate::Moments) of each group, for one part of a batch that is split over devices or in time.
    ///
    /// Bind it to [`Operands::of`](crate::Operands::of)`(&x)` with [`moments`](crate::Operands::moments) as the output.
    /// [`Context::plan_from_moments`] then takes the moments of all parts. An empty `x` has moments of 0.
    ///
    /// # Errors
    ///
    /// As [`Context::plan`], and for a norm in eval mode.
    pub fn plan_moments(&self, norm: &dyn Norm) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.moments()?)
    }

    /// Plans the forward pass of one part of a batch, from the moments of all `parts` parts.
    ///
    /// `x` and `y` are those of this part. The [`moments`](crate::Operands::moments) of all parts lie one after the other in
    /// one buffer. The plan merges them, so all statistics, including running ones, are those of the whole batch.
    ///
    /// # Errors
    ///
    /// As [`Context::plan`], for a norm in eval mode, and if `parts` is 0 or too large.
    pub fn plan_from_moments(&self, norm: &dyn Norm, parts: usize) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.by_moments(parts)?)
    }

    /// Plans the forward pass of one part of a batch, by the [`statistics`](crate::Operands::statistics) of the whole.
    ///
    /// [`Merged`](crate::Merged) has them, merged on the host: the same bits on every device. It also updates running statistics,
    /// of which this plan takes none.
    ///
    /// # Errors
    ///
    /// As [`Context::plan`], and for a norm in eval mode.
    pub fn plan_from_statistics(&self, norm: &dyn Norm) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.by_statistics()?)
    }

    /// Plans the first half of the backward pass of one part of a batch.
    ///
    /// It computes the two sums per group that the gradient of `x` needs, of `g` and of `g * xhat`, and writes them to
    /// [`sums`](crate::Operands::sums). It reads the [`statistics`](crate::Operands::statistics) of the whole batch. The
    /// gradients of weight and bias, if wanted, are those of this part.
    ///
    /// # Errors
    ///
    /// As [`Context::plan_backward`], and for a norm in eval mode.
    pub fn plan_backward_sums(&self, norm: &dyn Norm, wanted: Backward) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.backward_sums(wanted)?)
    }

    /// Plans the second half of the backward pass of one part of a batch: the gradient of `x`.
    ///
    /// It reads the [`sums`](crate::Operands::sums) of all `parts` parts, one after the other in one buffer, and the
    /// [`statistics`](crate::Operands::statistics) of the whole batch. If the sums have been added up, `parts` is 1.
    ///
    /// # Errors
    ///
    /// As [`Context::plan_backward`], for a norm in eval mode, and if `parts` is 0 or too large.
    pub fn plan_backward_from_sums(&self, norm: &dyn Norm, parts: usize) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.by_sums(parts)?)
    }

    pub(crate) fn plan_of(&self, problem: Problem) -> Result<Plan, SpecError> {
        Plan::new(problem.checked()?, &self.capabilities, self.tuning)
    }

    /// The pipeline of `key`. A new one goes to `new`; other calls do not see it before [`Context::remember`].
    pub(crate) fn pipeline(&self, key: &PipelineKey, new: &mut Pipelines) -> Pipeline {
        let known = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(pipeline) = known.or_else(|| new.get(key).cloned()) {
            return pipeline;
        }
        let pipeline = self.make(key);
        new.insert(key.clone(), pipeline.clone());
        pipeline
    }

    /// Drops the compiled pipelines, and what memory drivers hold for them: later binds compile anew. What is bound keeps its own.
    pub fn forget_pipelines(&self) {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Keeps pipelines that turned out valid.
    pub(crate) fn remember(&self, new: Pipelines) {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
    }

    fn make(&self, key: &PipelineKey) -> Pipeline {
        check_listed(&key.variant.choice);
        let label = key.variant.choice.kernel.name();
        let module = module(&self.device, self.safety, label, key.variant.wgsl());
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
}

/// One of this library's shaders, no other.
pub(super) fn module(device: &wgpu::Device, safety: Safety, label: &str, source: String) -> wgpu::ShaderModule {
    let source = wgpu::ShaderSource::Wgsl(source.into());
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source };
    // A count of every loop's iterations keeps compilers from unrolling it, which takes a third to a half of an NVIDIA GPU's speed, or more.
    let checks = match safety {
        Safety::Checked => {
            wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() }
        }
        Safety::Trusted => wgpu::ShaderRuntimeChecks::unchecked(),
    };
    // SAFETY: all loops end. They count to constants and to numbers of the plan that nobody else can write; two go by data, for at most
    // two rounds. For the rest, who called `with_safety` with `Trusted` promised what it asks for.
    #[allow(unsafe_code)]
    unsafe {
        device.create_shader_module_trusted(descriptor, checks)
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
