//! Buffers in: a plan and its operands become bind groups, uniforms and pipelines, ready to record.

mod check;
mod expected;
mod operands;
mod params;
mod variant;

pub use expected::Expected;
pub use operands::{Operands, View};

use std::fmt;
use std::future::Future;

use crate::error::BindError;
use crate::gpu::context::{Context, Pipelines};
use crate::gpu::plan::{Capabilities, Pass, Plan, Schedule, Window};
use crate::gpu::scope::{Scopes, is_lost};
use crate::gpu::shader::{Constants, Variant};
use crate::problem::Problem;
use crate::strides::Span;
use crate::tensors::{Cell, QUAD_BYTES, Role, bytes, cell_bytes, owned_by_words, presence};
use variant::{Chooser, Presence};

/// A plan bound to buffers. Record it into any number of compute passes. It keeps the buffers alive.
///
/// Its `Display` prints one line per pass, as that of the plan does.
#[derive(Debug, Clone)]
pub struct Bound {
    passes: Vec<Pass>,
    dispatches: Vec<Dispatch>,
}

#[derive(Debug, Clone)]
struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 2],
}

impl Bound {
    /// The passes that are recorded, in order. They are those of the plan, unless the tensors required others: some start at no
    /// multiple of 16 bytes, or a gradient overwrites what later passes would read. Passes for tensors that are not bound are
    /// left out.
    #[must_use]
    pub fn passes(&self) -> &[Pass] {
        &self.passes
    }

    /// Records the dispatches into `pass`. It sets the pipeline and bind group 0, and leaves immediates and other bind groups
    /// unchanged. For an empty tensor it records nothing.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        for dispatch in &self.dispatches {
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.bind_group, &[]);
            pass.dispatch_workgroups(dispatch.grid[0], dispatch.grid[1], 1);
        }
    }
}

impl FromIterator<Self> for Bound {
    /// Joins bound plans into one that records them in order.
    fn from_iter<I: IntoIterator<Item = Self>>(all: I) -> Self {
        let mut joined = Self { passes: Vec::new(), dispatches: Vec::new() };
        for bound in all {
            joined.passes.extend(bound.passes);
            joined.dispatches.extend(bound.dispatches);
        }
        joined
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.passes.iter().map(Pass::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Context {
    /// Binds `plan` to buffers: checks them, compiles the pipelines that are new, and makes uniforms, scratch buffers and bind
    /// groups.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// # let gpu = wgpu_norm::Gpu::new_blocking()?;
    /// # let (device, queue) = (gpu.device(), gpu.queue());
    /// use wgpu_norm::{Context, LayerNorm, Operands, wgpu};
    ///
    /// # let x = device.create_buffer(&wgpu::BufferDescriptor {
    /// #     label: None, size: 64 * 768 * 4, usage: wgpu::BufferUsages::STORAGE, mapped_at_creation: false });
    /// # let y = x.clone();
    /// let context = Context::new(device);
    /// let plan = context.plan(&LayerNorm::new(&[64, 768], &[768])?)?;
    /// let bound = context.bind(&plan, &Operands::new(&x, &y))?;
    ///
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// let mut pass = encoder.begin_compute_pass(&Default::default());
    /// bound.record(&mut pass);
    /// drop(pass);
    /// queue.submit([encoder.finish()]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BindError`], which names the tensor, if one is missing, is not taken by the plan, does not fit its buffer, is
    /// misaligned, overlaps another, or is in a buffer without `STORAGE`. Also if wgpu refuses to bind.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn bind(&self, plan: &Plan, operands: &Operands<'_>) -> Result<Bound, BindError> {
        pollster::block_on(self.bind_async(plan, operands))
    }

    /// [`Context::bind`] for targets that cannot block.
    ///
    /// # Errors
    ///
    /// As [`Context::bind`].
    pub fn bind_async(
        &self,
        plan: &Plan,
        operands: &Operands<'_>,
    ) -> impl Future<Output = Result<Bound, BindError>> + use<> {
        let started = self.start(plan, operands);
        let context = self.clone();
        async move {
            let (made, verdict) = started?;
            context.judge(verdict.await)?;
            context.remember(made.pipelines);
            Ok(Bound { passes: made.passes, dispatches: made.dispatches })
        }
    }

    /// Compiles the pipelines that binding `plan` to such tensors needs, so that [`Context::bind`] is fast later.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// # let gpu = wgpu_norm::Gpu::new_blocking()?;
    /// use wgpu_norm::{Context, Expected, LayerNorm};
    ///
    /// let context = Context::new(gpu.device());
    /// let plan = context.plan(&LayerNorm::new(&[64, 768], &[768])?)?;
    /// context.warm_up(&plan, Expected::new().weight().bias())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BindError`] if a tensor is missing or not taken by the plan, or if wgpu refuses.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn warm_up(&self, plan: &Plan, expected: Expected) -> Result<(), BindError> {
        pollster::block_on(self.warm_up_async(plan, expected))
    }

    /// [`Context::warm_up`] for targets that cannot block.
    ///
    /// # Errors
    ///
    /// As [`Context::warm_up`].
    pub fn warm_up_async(
        &self,
        plan: &Plan,
        expected: Expected,
    ) -> impl Future<Output = Result<(), BindError>> + use<> {
        let started = self.start_warm_up(plan, expected);
        let context = self.clone();
        async move {
            let (pipelines, verdict) = started?;
            context.judge(verdict.await)?;
            // Of a pipeline of a lost device wgpu says nothing before it is used.
            if is_lost(context.device()) {
                return Err(BindError::DeviceLost { description: "it makes no pipelines any more".to_owned() });
            }
            context.remember(pipelines);
            Ok(())
        }
    }

    fn start_warm_up(
        &self,
        plan: &Plan,
        expected: Expected,
    ) -> Result<(Pipelines, impl Future<Output = Option<wgpu::Error>> + use<>), BindError> {
        self.check_own(plan)?;
        presence(&plan.problem, |role| expected.has(&plan.problem, role))?;
        let overwriting = plan.problem.overwriting(expected.coincide(Role::GradInput, Role::GradOutput));
        let changed = plan.changed(overwriting.as_ref(), true)?;
        let schedule = changed.as_ref().unwrap_or(&plan.schedule);
        let chooser = Chooser { schedule, ..Chooser::expecting(plan, expected) };
        let scopes = Scopes::open(self.device());
        let mut pipelines = Pipelines::new();
        for pass in chooser.passes() {
            self.pipeline(&chooser.key(pass), &mut pipelines);
        }
        Ok((pipelines, scopes.close()))
    }

    /// What the error scopes caught, as an error of ours.
    fn judge(&self, caught: Option<wgpu::Error>) -> Result<(), BindError> {
        let Some(error) = caught else { return Ok(()) };
        let description = error.to_string();
        Err(match error {
            _ if is_lost(self.device()) => BindError::DeviceLost { description },
            wgpu::Error::OutOfMemory { .. } => BindError::OutOfMemory { description },
            _ => BindError::Device { description },
        })
    }

    fn check_own(&self, plan: &Plan) -> Result<(), BindError> {
        if plan.capabilities == *self.capabilities() {
            return Ok(());
        }
        Err(BindError::ForeignPlan { norm: plan.problem.norm })
    }

    fn start(
        &self,
        plan: &Plan,
        operands: &Operands<'_>,
    ) -> Result<(Made, impl Future<Output = Option<wgpu::Error>> + use<>), BindError> {
        let problem = &plan.problem;
        self.check_own(plan)?;
        check::operands(problem, operands)?;
        let overwriting = problem.overwriting(operands.coincide(Role::GradInput, Role::GradOutput));
        let changed = plan.changed(overwriting.as_ref(), quads_are_aligned(problem, operands))?;
        let schedule = changed.as_ref().unwrap_or(&plan.schedule);
        check::halves(problem, operands, schedule)?;
        let chooser = Chooser { problem, capabilities: &plan.capabilities, schedule, given: Presence::Now(operands) };
        let binder = Binder { context: self, capabilities: &plan.capabilities, problem, operands, chooser };
        for pass in chooser.passes() {
            binder.check(pass)?;
        }
        let scopes = Scopes::open(self.device());
        let made = binder.make();
        Ok((made, scopes.close()))
    }
}

impl Plan {
    /// Other passes, if the tensors to be bound require them.
    fn changed(&self, overwriting: Option<&Problem>, quads: bool) -> Result<Option<Schedule>, BindError> {
        if overwriting.is_none() && (quads || !self.schedule.needs_quads()) {
            return Ok(None);
        }
        let problem = overwriting.unwrap_or(&self.problem);
        Schedule::new(problem, &self.capabilities, self.tuning, quads).map(Some).map_err(BindError::Limit)
    }
}

/// The shaders that a plan needs for such tensors.
pub(crate) fn shaders(plan: &Plan, expected: Expected) -> impl Iterator<Item = (Variant, Constants)> {
    let chooser = Chooser::expecting(plan, expected);
    chooser.passes().map(move |pass| {
        let key = chooser.key(pass);
        (key.variant, key.constants)
    })
}

/// Whether every tensor that is read or written four elements at a time starts at a multiple of four.
fn quads_are_aligned(problem: &Problem, operands: &Operands<'_>) -> bool {
    let parameters = if problem.index.s_div == 1 { &[Role::Weight, Role::Bias][..] } else { &[] };
    let large = Role::given().filter(|role| role.is_large());
    large
        .chain(parameters.iter().copied())
        .all(|role| operands.get(role).is_none_or(|view| view.offset.is_multiple_of(4 * cell_bytes(problem, role))))
}

/// What binding made, to be kept only if no error scope caught anything.
struct Made {
    passes: Vec<Pass>,
    dispatches: Vec<Dispatch>,
    pipelines: Pipelines,
}

/// What is bound of a tensor: bytes of its buffer, and where the tensor starts relative to them, in elements modulo 2^32.
struct Range {
    offset: u64,
    size: u64,
    start: u32,
}

struct Binder<'a> {
    context: &'a Context,
    capabilities: &'a Capabilities,
    problem: &'a Problem,
    operands: &'a Operands<'a>,
    chooser: Chooser<'a>,
}

impl Binder<'_> {
    /// What the host can check of one pass against the device's limits.
    fn check(&self, pass: &Pass) -> Result<(), BindError> {
        let (tensors, within) = (self.chooser.tensors(pass), self.chooser.within(pass));
        let (needs, has) = (tensors.len() as u32, self.capabilities.max_storage_buffers);
        if needs > has {
            return Err(BindError::StorageBuffers { norm: self.problem.norm, pass: pass.name(), needs, has });
        }
        for window in &pass.windows {
            for tensor in &tensors {
                let Some(range) = self.range(tensor.role, window, &within) else { continue };
                if range.size > self.capabilities.max_binding {
                    let (needs, has) = (range.size, self.capabilities.max_binding);
                    return Err(BindError::BindingSize { tensor: tensor.role.name(), needs, has });
                }
            }
        }
        Ok(())
    }

    /// What a window binds of a user's tensor, and of those that are within one binding with it.
    fn range(&self, role: Role, window: &Window, within: &[(Role, Role)]) -> Option<Range> {
        let mut range = self.range_alone(role, window)?;
        let first = within.iter().find(|&&(of, _)| of == role).map_or(role, |&(_, by)| by);
        let others = within.iter().filter(|&&(_, by)| by == first).map(|&(of, _)| of).chain([first]);
        for other in others.filter(|&other| other != role) {
            let other = self.range_alone(other, window)?;
            let start = range.offset.min(other.offset);
            let end = (range.offset + range.size).max(other.offset + other.size);
            let before = (range.offset - start) / cell_bytes(self.problem, role);
            range = Range { offset: start, size: end - start, start: range.start.wrapping_add(before as u32) };
        }
        Some(range)
    }

    fn range_alone(&self, role: Role, window: &Window) -> Option<Range> {
        let view = self.operands.get(role)?;
        let part = match role {
            role if role.is_large() => Some(window.elements),
            Role::Weight | Role::Bias => window.parameters,
            _ => None,
        };
        let size = cell_bytes(self.problem, role);
        let Span { first, length } = match part {
            Some(part) if role.is_large() => self.problem.placement.span(role, part),
            part => part.unwrap_or(Span { first: 0, length: bytes(self.problem, role) / size }),
        };
        let at = view.offset + first * size;
        let mut end = at + length * size;
        let mut offset = self.aligned_down(at);
        if matches!(role, Role::X | Role::Y) {
            // The quad that the last elements are in, if there is one.
            end = Some(end.next_multiple_of(4 * size)).filter(|&quads| quads <= view.buffer.size()).unwrap_or(end);
        }
        // Words, of which the last may have an element of others.
        end = end.next_multiple_of(4);
        if first > 0 && end - offset < 4 * size {
            // The end of a tensor, too short to be bound by quads.
            offset = self.aligned_down(offset.saturating_sub(1));
        }
        // Shaders index the whole tensor, so its start lies before the binding of any window but the first.
        let start = ((at - offset) / size).wrapping_sub(first) as u32;
        Some(Range { offset, size: end - offset, start })
    }

    fn aligned_down(&self, offset: u64) -> u64 {
        offset - offset % self.capabilities.storage_alignment.max(QUAD_BYTES)
    }

    fn make(&self) -> Made {
        let schedule = self.chooser.schedule;
        let mut made = Made {
            passes: self.chooser.passes().cloned().collect(),
            dispatches: Vec::new(),
            pipelines: Pipelines::new(),
        };
        let scratch = |bytes: u64, label: &'static str| {
            (bytes > 0).then(|| {
                self.context.device().create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size: bytes,
                    usage: wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                })
            })
        };
        let partials = scratch(schedule.partials * Cell::Record.bytes(), "partials");
        // The user's, if given.
        let stats = scratch(schedule.statistics * Cell::Record.bytes(), "statistics")
            .filter(|_| self.operands.get(Role::Stats).is_none());
        let partial_sums = scratch(schedule.partial_sums * Cell::Pair.bytes(), "partial sums");
        let row_sums = scratch(schedule.row_sums * Cell::Pair.bytes(), "sums of rows");
        let group_sums = scratch(schedule.sums * Cell::Pair.bytes(), "sums");
        let uniforms = self.uniforms();
        let keyed = self.chooser.passes().map(|pass| (pass, self.chooser.key(pass)));
        let steps: Vec<_> =
            keyed.flat_map(|(pass, key)| pass.windows.iter().map(move |w| (pass, key.clone(), w))).collect();
        for (number, (pass, key, window)) in steps.into_iter().enumerate() {
            let pipeline = self.context.pipeline(&key, &mut made.pipelines);
            let uniform = wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &uniforms,
                    offset: number as u64 * self.uniform_stride(),
                    size: std::num::NonZeroU64::new(params::size()),
                }),
            };
            let tensors = key.variant.tensors.iter().zip(1..).filter_map(|(tensor, binding)| {
                let resource = match tensor.role {
                    Role::Partials => partials.as_ref()?.as_entire_binding(),
                    Role::PartialSums => partial_sums.as_ref()?.as_entire_binding(),
                    Role::RowSums => row_sums.as_ref()?.as_entire_binding(),
                    Role::GroupSums => group_sums.as_ref()?.as_entire_binding(),
                    Role::Stats if stats.is_some() => stats.as_ref()?.as_entire_binding(),
                    role => {
                        let range = self.range(role, window, &key.variant.within)?;
                        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                            buffer: self.operands.get(role)?.buffer,
                            offset: range.offset,
                            size: std::num::NonZeroU64::new(range.size),
                        })
                    }
                };
                Some(wgpu::BindGroupEntry { binding, resource })
            });
            let bind_group = self.context.device().create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(pass.name()),
                layout: &pipeline.layout,
                entries: &std::iter::once(uniform).chain(tensors).collect::<Vec<_>>(),
            });
            made.dispatches.push(Dispatch {
                pipeline: pipeline.pipeline,
                bind_group,
                grid: [window.grid.width, window.grid.height],
            });
        }
        made
    }

    fn uniform_stride(&self) -> u64 {
        params::size().next_multiple_of(self.capabilities.uniform_alignment.max(16))
    }

    /// One buffer for the parameters of all dispatches.
    fn uniforms(&self) -> wgpu::Buffer {
        let stride = self.uniform_stride();
        let mut bytes = Vec::new();
        for pass in self.chooser.passes() {
            let within = self.chooser.within(pass);
            for window in &pass.windows {
                let owned = owned_by_words(self.problem).and_then(|role| self.range(role, window, &[]));
                let odd = owned.is_some_and(|range| range.start % 2 == 1);
                let start = |role: Role| match self.range(role, window, &within) {
                    Some(range) => range.start,
                    // In scratch, those of a few groups at a time.
                    None if matches!(role, Role::Stats | Role::Partials) => {
                        0u32.wrapping_sub(window.first_record as u32)
                    }
                    None => 0,
                };
                let words = params::words(self.problem, pass, window, odd, start);
                bytes.extend_from_slice(bytemuck::cast_slice(&words));
                bytes.resize(bytes.len().next_multiple_of(stride as usize), 0);
            }
        }
        let buffer = self.context.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: (bytes.len() as u64).max(stride),
            usage: wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: true,
        });
        fill(&buffer, &bytes);
        buffer
    }
}

/// Writes `bytes` to the start of a buffer that was made mapped. One that could not be made is left to its error scope.
pub(crate) fn fill(buffer: &wgpu::Buffer, bytes: &[u8]) {
    if let Ok(mut mapped) = buffer.get_mapped_range_mut(..) {
        mapped.slice(..bytes.len()).copy_from_slice(bytes);
    }
    buffer.unmap();
}
