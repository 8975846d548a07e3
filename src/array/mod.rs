//! Slices and `ndarray` views in and out: upload, one call, readback.

#[cfg(feature = "ndarray")]
mod ndarray;

use crate::bind::{Operands, View, fill, presence, shape};
use crate::element::Element;
use crate::error::{BindError, Error, RunError};
use crate::gpu::Gpu;
use crate::mapped::Mapped;
use crate::norm::{Norm, Problem, Source, count};
use crate::plan::Plan;
use crate::scope::Scopes;
use crate::shader::Role;

/// The tensors of one call, as slices (`T = &[f32]`, row-major) or as `ndarray` views.
///
/// Shapes are those of [`Operands`].
#[derive(Debug, Clone, Copy)]
pub struct Inputs<T> {
    given: [Option<T>; Role::GIVEN.len()],
    batches: Option<u32>,
    mean: bool,
    rstd: bool,
}

/// The results of one call: what was asked for, and updated running statistics.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outputs<T> {
    /// The normalized tensor, of the shape of `x`.
    pub y: T,
    /// Each group's mean, if asked for by [`Inputs::with_mean`]. NaN for groups without elements.
    pub mean: Option<T>,
    /// Each group's `1 / sqrt(variance + eps)`, if asked for by [`Inputs::with_rstd`]. NaN for groups without elements.
    pub rstd: Option<T>,
    /// Batch norm's running mean after training.
    pub running_mean: Option<T>,
    /// Batch norm's running variance after training.
    pub running_var: Option<T>,
    /// How many batches the running statistics have seen, if it was given.
    pub num_batches_tracked: Option<u32>,
}

impl<T> Inputs<T> {
    /// Normalizes `x`.
    #[must_use]
    pub fn new(x: T) -> Self {
        Self { given: std::array::from_fn(|_| None), batches: None, mean: false, rstd: false }.with(Role::X, x)
    }

    /// Multiplies by this.
    #[must_use]
    pub fn weight(self, weight: T) -> Self {
        self.with(Role::Weight, weight)
    }

    /// Adds this.
    #[must_use]
    pub fn bias(self, bias: T) -> Self {
        self.with(Role::Bias, bias)
    }

    /// Batch norm's running mean.
    #[must_use]
    pub fn running_mean(self, running_mean: T) -> Self {
        self.with(Role::RunningMean, running_mean)
    }

    /// Batch norm's running variance.
    #[must_use]
    pub fn running_var(self, running_var: T) -> Self {
        self.with(Role::RunningVar, running_var)
    }

    /// How many batches the running statistics have seen before this one.
    #[must_use]
    pub fn num_batches_tracked(mut self, batches: u32) -> Self {
        self.batches = Some(batches);
        self
    }

    /// Asks for each group's mean.
    #[must_use]
    pub fn with_mean(mut self) -> Self {
        self.mean = true;
        self
    }

    /// Asks for each group's `1 / sqrt(variance + eps)`.
    #[must_use]
    pub fn with_rstd(mut self) -> Self {
        self.rstd = true;
        self
    }

    fn with(mut self, role: Role, value: T) -> Self {
        if let Some(slot) = self.given.get_mut(role as usize) {
            *slot = Some(value);
        }
        self
    }
}

impl<T> Inputs<T> {
    fn get(&self, role: Role) -> Option<&T> {
        self.given.get(role as usize).and_then(Option::as_ref)
    }

    /// Refuses what the norm does not take, before anything is uploaded.
    fn check_presence(&self, problem: &Problem) -> Result<(), BindError> {
        presence(problem, |role| match role {
            Role::Y => true,
            Role::Mean => self.mean,
            Role::Rstd => self.rstd,
            Role::Batches => self.batches.is_some(),
            _ => self.get(role).is_some(),
        })
    }
}

impl Gpu {
    /// Runs `norm` on slices: row-major `x` of the norm's shape in, results out.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::{Gpu, Inputs, RmsNorm};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let out = gpu.run_blocking(&RmsNorm::new(&[1, 2], &[2])?, Inputs::new(&[3.0, 3.0][..]).weight(&[1.0, 2.0]))?;
    /// assert!((out.y[1] - 2.0).abs() < 1e-5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] if a parameter is outside its range, [`Error::Bind`] if a tensor is missing, has another length or
    /// no place here, [`Error::Run`] if the device has no room or is lost.
    pub async fn run(&self, norm: &dyn Norm, inputs: Inputs<&[f32]>) -> Result<Outputs<Vec<f32>>, Error> {
        let plan = self.context().plan(norm)?;
        let problem = &plan.problem;
        inputs.check_presence(problem)?;
        for role in Role::GIVEN {
            if let Some(given) = inputs.get(role) {
                let must = count(shape(problem, role));
                if given.len() as u64 != must {
                    let (tensor, length) = (role.name(), given.len());
                    return Err(BindError::Length { tensor, length, must, shape: shape(problem, role).to_vec() }.into());
                }
            }
        }
        if plan.passes().is_empty() {
            return Ok(nothing(problem, &inputs));
        }
        self.dispatch(&plan, &inputs).await
    }

    /// [`Gpu::run`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(&self, norm: &dyn Norm, inputs: Inputs<&[f32]>) -> Result<Outputs<Vec<f32>>, Error> {
        pollster::block_on(self.run(norm, inputs))
    }

    /// A tensor that is not empty goes up, through the plan's passes, and back.
    async fn dispatch(&self, plan: &Plan, inputs: &Inputs<&[f32]>) -> Result<Outputs<Vec<f32>>, Error> {
        let problem = &plan.problem;
        let batches = inputs.batches.map(|batches| [batches]);
        let mut buffers: [Option<wgpu::Buffer>; Role::GIVEN.len()] = Default::default();
        for role in Role::GIVEN {
            let bytes: Option<&[u8]> = match (role, &batches) {
                (Role::Batches, Some(batches)) => Some(bytemuck::cast_slice(batches)),
                _ => inputs.get(role).map(|values| bytemuck::cast_slice(values)),
            };
            let written = (role == Role::Mean && inputs.mean) || (role == Role::Rstd && inputs.rstd);
            if bytes.is_some() || written {
                let mut size = count(shape(problem, role)) * Element::F32.size();
                if role == Role::X {
                    // Its last elements can then be read four at a time, however many there are.
                    let quads = size.next_multiple_of(4 * Element::F32.size());
                    size = quads.min(self.context().capabilities().max_buffer);
                }
                buffers[role as usize] = Some(self.upload(role.name(), bytes, size).await?);
            }
        }
        let buffer = |role: Role| buffers.get(role as usize).and_then(Option::as_ref);
        // The uploaded copy of x is ours to overwrite.
        let Some(x) = buffer(Role::X) else { return Ok(nothing(problem, inputs)) };
        let operands = Role::GIVEN
            .into_iter()
            .filter_map(|role| Some((role, View::from(buffer(role)?))))
            .fold(Operands::in_place(x), |operands, (role, view)| operands.with(role, view));
        let bound = self.context().bind_async(plan, &operands).await.map_err(|error| match error {
            BindError::DeviceLost { description } => RunError::DeviceLost { description }.into(),
            error => Error::from(error),
        })?;

        let tracked = matches!(problem.source, Source::Tracked(_));
        let read_back = |role: Role| match role {
            Role::X | Role::Mean | Role::Rstd => true,
            Role::RunningMean | Role::RunningVar | Role::Batches => tracked,
            _ => false,
        };
        let mut readbacks: Vec<(Role, Readback)> = Vec::new();
        for role in Role::GIVEN.into_iter().filter(|&role| read_back(role)) {
            if let Some(source) = buffer(role) {
                readbacks.push((role, self.readback(role.name(), source).await?));
            }
        }
        let scopes = Scopes::open(self.device());
        let mut encoder = self.device().create_command_encoder(&Default::default());
        bound.record(&mut encoder.begin_compute_pass(&Default::default()));
        for (_, readback) in &readbacks {
            let Readback { source, staging, .. } = readback;
            encoder.copy_buffer_to_buffer(source, 0, staging, 0, staging.size());
        }
        self.queue().submit([encoder.finish()]);
        if let Some(error) = scopes.close().await {
            return Err(self.blame(RunError::Submit { description: error.to_string() }));
        }
        let mut results: [Option<Vec<f32>>; Role::GIVEN.len()] = Default::default();
        for (role, readback) in readbacks {
            results[role as usize] = Some(self.fetch(readback).await?);
        }
        let mut take = |role: Role| results.get_mut(role as usize).and_then(Option::take);
        let mut y = take(Role::X).unwrap_or_default();
        y.truncate(problem.block.elements() as usize);
        Ok(Outputs {
            y,
            mean: take(Role::Mean),
            rstd: take(Role::Rstd),
            running_mean: take(Role::RunningMean),
            running_var: take(Role::RunningVar),
            num_batches_tracked: take(Role::Batches).and_then(|count| count.first().map(|n| n.to_bits())),
        })
    }

    async fn upload(&self, tensor: &'static str, bytes: Option<&[u8]>, size: u64) -> Result<wgpu::Buffer, Error> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        self.buffer(tensor, size, usage, bytes).await
    }

    async fn readback(&self, tensor: &'static str, source: &wgpu::Buffer) -> Result<Readback, Error> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.buffer(tensor, source.size(), usage, None).await?;
        Ok(Readback { tensor, source: source.clone(), staging })
    }

    async fn buffer(
        &self,
        tensor: &'static str,
        size: u64,
        usage: wgpu::BufferUsages,
        bytes: Option<&[u8]>,
    ) -> Result<wgpu::Buffer, Error> {
        let scopes = Scopes::open(self.device());
        let buffer = self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some(tensor),
            size,
            usage,
            mapped_at_creation: bytes.is_some(),
        });
        if let Some(bytes) = bytes {
            fill(&buffer, bytes);
        }
        match scopes.close().await {
            None => Ok(buffer),
            Some(error) => Err(self.blame(RunError::Buffer { tensor, bytes: size, description: error.to_string() })),
        }
    }

    async fn fetch(&self, readback: Readback) -> Result<Vec<f32>, Error> {
        let Readback { tensor, staging, .. } = readback;
        let failed = |description: String| RunError::Readback { tensor, description };
        let mapped = Mapped::default();
        let done = mapped.clone();
        staging.map_async(wgpu::MapMode::Read, .., move |result| done.set(result));
        // On native nobody else polls the device; on the web this does nothing and the callback comes by itself.
        let polled = self.device().poll(wgpu::PollType::wait_indefinitely());
        if let Err(error) = polled {
            return Err(self.blame(failed(error.to_string())));
        }
        if let Err(error) = mapped.await {
            return Err(self.blame(failed(error.to_string())));
        }
        let values = {
            let range = staging.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
            let mut values = vec![0.0f32; range.len() / size_of::<f32>()];
            bytemuck::cast_slice_mut::<f32, u8>(&mut values).copy_from_slice(&range);
            values
        };
        staging.unmap();
        Ok(values)
    }
}

/// The results for an empty tensor: nothing normalized, running statistics as they were.
fn nothing(problem: &Problem, inputs: &Inputs<&[f32]>) -> Outputs<Vec<f32>> {
    let undefined = || vec![f32::NAN; count(&problem.statistics_shape) as usize];
    let tracked = matches!(problem.source, Source::Tracked(_));
    let kept = |role: Role| inputs.get(role).filter(|_| tracked).map(|values| values.to_vec());
    Outputs {
        y: Vec::new(),
        mean: inputs.mean.then(undefined),
        rstd: inputs.rstd.then(undefined),
        running_mean: kept(Role::RunningMean),
        running_var: kept(Role::RunningVar),
        num_batches_tracked: inputs.batches,
    }
}

/// A buffer on its way back.
struct Readback {
    tensor: &'static str,
    source: wgpu::Buffer,
    staging: wgpu::Buffer,
}
