//! Up to the device, through a plan, and back.

use super::{Gradients, Inputs, Number, Outputs, Values};
use crate::element::Element;
use crate::error::{Error, RunError};
use crate::gpu::Gpu;
use crate::gpu::bind::{Operands, View, fill};
use crate::gpu::mapped::Mapped;
use crate::gpu::plan::Plan;
use crate::gpu::scope::{Scopes, is_lost, wait};
use crate::problem::Problem;
use crate::tensors::{QUAD_BYTES, Role, bytes as bytes_of, element, extent};

/// What came back: tensors of the size of `x`, and the others.
pub(super) struct Fetched<T> {
    pub(super) large: Vec<(Role, Vec<T>)>,
    pub(super) others: Vec<(Role, Vec<f32>)>,
}

impl<T: Number> Fetched<T> {
    fn new() -> Self {
        Self { large: Vec::new(), others: Vec::new() }
    }

    pub(super) fn take_large(&mut self, role: Role) -> Option<Vec<T>> {
        taken(&mut self.large, role)
    }

    pub(super) fn take(&mut self, role: Role) -> Option<Vec<f32>> {
        taken(&mut self.others, role)
    }

    /// Before anything is done: what was given, else, of a tensor whose elements lie apart, what lies between those of the one in whose place it is,
    /// else zeros.
    pub(super) fn start(problem: &Problem, inputs: &Inputs<&[T]>, results: &[Role]) -> Self {
        fn numbers<N: Number>(given: Option<&Values<'_>>, length: usize) -> Vec<N> {
            given.map_or_else(|| vec![N::zeroed(); length], |given| given.numbers())
        }
        let mut fetched = Self::new();
        for &role in results {
            let under = || in_place_of(problem, role).filter(|_| !problem.placement.is_contiguous());
            let given = inputs.get(role).or_else(|| inputs.get(under()?));
            let length = extent(problem, role) as usize;
            if role.is_large() {
                fetched.large.push((role, numbers(given, length)));
            } else {
                fetched.others.push((role, numbers(given, length)));
            }
        }
        fetched
    }

    pub(super) fn outputs(mut self) -> Outputs<Vec<T>, Vec<f32>> {
        Outputs {
            y: self.take_large(Role::Y).unwrap_or_default(),
            mean: self.take(Role::Mean),
            rstd: self.take(Role::Rstd),
            running_mean: self.take(Role::RunningMean),
            running_var: self.take(Role::RunningVar),
            num_batches_tracked: self.take(Role::Batches).and_then(|count| count.first().map(|n| n.to_bits())),
            residual_out: self.take_large(Role::ResidualOut),
            statistics: self.take(Role::Stats),
        }
    }

    pub(super) fn gradients(mut self) -> Gradients<Vec<T>, Vec<f32>> {
        let input = self.take_large(Role::GradInput);
        Gradients {
            input,
            weight: self.take(Role::GradWeight),
            bias: self.take(Role::GradBias),
            scale: self.take(Role::GradScale),
            shift: self.take(Role::GradShift),
            skip: self.take_large(Role::GradSkip),
            gate: self.take(Role::GradGate),
            embedding: self.take(Role::GradEmbedding),
            branch: self.take_large(Role::GradBranch),
        }
    }
}

fn taken<N>(tensors: &mut Vec<(Role, Vec<N>)>, role: Role) -> Option<Vec<N>> {
    let place = tensors.iter().position(|&(found, _)| found == role)?;
    Some(tensors.swap_remove(place).1)
}

/// What a result is written over, where both are stored alike: what lies between its elements stays.
fn in_place_of(problem: &Problem, role: Role) -> Option<Role> {
    let under = match role {
        Role::Y => Role::X,
        Role::ResidualOut => Role::Residual,
        _ => return None,
    };
    let steps = |role: Role| problem.placement.steps(role);
    let alike = element(problem, role) == element(problem, under) && steps(role) == steps(under);
    alike.then_some(under)
}

impl Gpu {
    /// Runs a plan that is not empty. `results` are read back: those that are not given, nor in the place of what is, start out as zeros.
    pub(super) async fn dispatch<T: Number>(
        &self,
        plan: &Plan,
        inputs: &Inputs<&[T]>,
        results: &[Role],
    ) -> Result<Fetched<T>, Error> {
        let problem = &plan.problem;
        let batches = inputs.batches.map(|batches| [batches]);
        let mut buffers: [Option<wgpu::Buffer>; Role::GIVEN] = Default::default();
        for role in Role::given() {
            let held = inputs.get(role).map(|values| values.stored_as(element(problem, role)));
            let bytes = match (role, &batches) {
                (Role::Batches, Some(batches)) => Some(bytemuck::cast_slice(batches)),
                _ => held.as_ref().map(|held| held.values().bytes),
            };
            // The uploaded copy of x is ours to overwrite, and so is that of the residual.
            let asked = role == Role::Y || results.contains(&role);
            let under = in_place_of(problem, role).filter(|_| asked);
            let place = under.and_then(|under| buffers[under as usize].clone());
            buffers[role as usize] = match place {
                Some(place) => Some(place),
                None if bytes.is_some() || results.contains(&role) => {
                    let mut size = bytes_of(problem, role).next_multiple_of(4);
                    if role == Role::X {
                        // Its last elements can then be read four at a time, however many there are.
                        let quads = size.next_multiple_of(QUAD_BYTES);
                        size = quads.min(self.context().capabilities().max_buffer);
                    }
                    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
                    Some(self.buffer(role.name(), size, usage, bytes).await?)
                }
                None => None,
            };
        }
        if !results.contains(&Role::Y) {
            buffers[Role::Y as usize] = None;
        }
        let buffer = |role: Role| buffers.get(role as usize).and_then(Option::as_ref);
        let views = Role::given().filter_map(|role| Some((role, View::from(buffer(role)?))));
        let operands = views.fold(Operands::none(), |operands, (role, view)| operands.with(role, view));
        let bound = self.context().bind_async(plan, &operands).await?;

        let sources: Vec<_> = results.iter().filter_map(|&role| Some((role, role.name(), buffer(role)?))).collect();
        let named: Vec<_> = sources.iter().map(|&(_, name, source)| (name, source)).collect();
        let record = |encoder: &mut wgpu::CommandEncoder| {
            bound.record(&mut encoder.begin_compute_pass(&Default::default()));
        };
        let readbacks = self.send(record, &named).await?;
        let mut fetched = Fetched::new();
        for ((role, ..), readback) in sources.into_iter().zip(readbacks) {
            let (stored, length) = (element(problem, role), extent(problem, role) as usize);
            if role.is_large() {
                fetched.large.push((role, self.fetch_numbers(readback, stored, length).await?));
            } else {
                fetched.others.push((role, self.fetch_numbers(readback, stored, length).await?));
            }
        }
        Ok(fetched)
    }

    /// A buffer that holds these values, for tensors of the caller: with the usages `STORAGE`, `COPY_SRC` and `COPY_DST`. `tensor` is
    /// its label, and its name in errors. Without values it has 4 bytes, since nothing can be bound to none.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if the device is out of memory or lost, or if it has no buffers as large.
    pub async fn upload(&self, tensor: &'static str, values: &[f32]) -> Result<wgpu::Buffer, Error> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let values = if values.is_empty() { &[0.0] } else { values };
        self.buffer(tensor, size_of_val(values) as u64, usage, Some(bytemuck::cast_slice(values))).await
    }

    /// [`Gpu::upload`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::upload`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn upload_blocking(&self, tensor: &'static str, values: &[f32]) -> Result<wgpu::Buffer, Error> {
        pollster::block_on(self.upload(tensor, values))
    }

    /// [`Gpu::submit`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::submit`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn submit_blocking(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
        sources: &[(&'static str, &wgpu::Buffer)],
    ) -> Result<Vec<Vec<f32>>, Error> {
        pollster::block_on(self.submit(record, sources))
    }

    /// Submits what `record` records, and reads `sources` back, in their order: whole buffers, which must have the usage `COPY_SRC`.
    /// Each comes with its name in errors.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::{Gpu, Operands, RmsNorm};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let x = gpu.upload_blocking("x", &[3.0, 3.0])?;
    /// let context = gpu.context();
    /// let bound = context.bind(&context.plan(&RmsNorm::new(&[1, 2], &[2])?)?, &Operands::in_place(&x))?;
    /// let found = gpu.submit_blocking(|encoder| bound.record(&mut encoder.begin_compute_pass(&Default::default())), &[("x", &x)])?;
    /// assert!((found[0][1] - 1.0).abs() < 1e-5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if wgpu refuses what was recorded or a buffer, or if the device is out of memory or lost.
    pub async fn submit(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
        sources: &[(&'static str, &wgpu::Buffer)],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let mut values = Vec::new();
        for readback in self.send(record, sources).await? {
            values.push(self.fetch_numbers(readback, Element::F32, usize::MAX).await?);
        }
        Ok(values)
    }

    /// Submits what `record` records; what is then to be read back.
    pub(crate) async fn send(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
        sources: &[(&'static str, &wgpu::Buffer)],
    ) -> Result<Vec<Readback>, Error> {
        self.check_queue()?;
        let mut readbacks = Vec::new();
        for (tensor, source) in sources {
            readbacks.push(self.readback(tensor, source).await?);
        }
        // Nothing of the recording lives past an await, nor do the scopes.
        let submitted = {
            let scopes = Scopes::open(self.device());
            let mut encoder = self.device().create_command_encoder(&Default::default());
            record(&mut encoder);
            for Readback { source, staging, .. } in &readbacks {
                encoder.copy_buffer_to_buffer(source, 0, staging, 0, staging.size());
            }
            self.queue().submit([encoder.finish()]);
            scopes.close()
        };
        match submitted.await {
            Some(error) => return Err(self.blame(RunError::Submit { description: error.to_string() })),
            // Of a lost device wgpu says nothing here; reading back, it does.
            None if readbacks.is_empty() && is_lost(self.device()) => {
                return Err(self.blame(RunError::Submit { description: "the device takes none any more".to_owned() }));
            }
            None => {}
        }
        Ok(readbacks)
    }

    async fn readback(&self, tensor: &'static str, source: &wgpu::Buffer) -> Result<Readback, Error> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.buffer(tensor, source.size(), usage, None).await?;
        Ok(Readback { tensor, source: source.clone(), staging })
    }

    /// A buffer of `size` bytes, starting with `bytes`.
    pub(crate) async fn buffer(
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

    /// At most so many elements, which are stored as `element`.
    pub(crate) async fn fetch_numbers<T: Number>(
        &self,
        readback: Readback,
        element: Element,
        length: usize,
    ) -> Result<Vec<T>, Error> {
        let most = length.saturating_mul(element.size() as usize);
        self.fetch(readback, |bytes| Values { element, bytes: &bytes[..most.min(bytes.len())] }.numbers()).await
    }

    /// What `then` makes of the bytes of a buffer.
    pub(crate) async fn fetch<O>(&self, readback: Readback, then: impl FnOnce(&[u8]) -> O) -> Result<O, Error> {
        let Readback { tensor, staging, .. } = readback;
        let failed = |description: String| self.blame(RunError::Readback { tensor, description });
        let mapped = Mapped::default();
        let done = mapped.clone();
        let refused = {
            let scopes = Scopes::open(self.device());
            staging.map_async(wgpu::MapMode::Read, .., move |result| done.set(result));
            scopes.close()
        };
        if let Some(error) = refused.await {
            return Err(failed(error.to_string()));
        }
        // On native nobody else polls the device.
        wait(self.device()).map_err(failed)?;
        mapped.await.map_err(|error| failed(error.to_string()))?;
        let range = staging.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
        Ok(then(&range))
    }
}

/// A buffer on its way back.
pub(crate) struct Readback {
    tensor: &'static str,
    source: wgpu::Buffer,
    staging: wgpu::Buffer,
}
