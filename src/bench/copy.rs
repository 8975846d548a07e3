//! What a norm is measured by: the fastest of some kernels that copy a tensor of the same size on the same adapter.

use wgpu_norm::wgpu;

use super::{Clock, Device, Ring, Trouble};

/// How a kernel goes over a tensor.
#[derive(Clone, Copy)]
struct Shape {
    entry: &'static str,
    words: &'static str,
    /// Bytes of one invocation, unless the number of workgroups is fixed.
    bytes: Option<u64>,
}

const SHAPES: [Shape; 5] = [
    Shape { entry: "words", words: "4 bytes a lane", bytes: Some(4) },
    Shape { entry: "quads", words: "16 bytes a lane", bytes: Some(16) },
    Shape { entry: "lane_lines", words: "64 bytes of its own a lane", bytes: Some(64) },
    Shape { entry: "tiles", words: "4 times 16 bytes a lane", bytes: Some(64) },
    Shape { entry: "grid_stride", words: "16 bytes a lane in strides of the grid", bytes: None },
];
const WORKGROUP_SIZES: [u32; 2] = [64, 256];
/// Of a grid whose size does not go by the tensor's.
const GRID: u64 = 2048;
/// Every binding is a multiple of this.
const LINE: u64 = 64;

/// The pipelines of one device.
pub(crate) struct Copies {
    kernels: Vec<Kernel>,
}

struct Kernel {
    shape: Shape,
    workgroup_size: u32,
    pipeline: wgpu::ComputePipeline,
}

/// Kernels over the tensors of a ring.
pub(crate) struct Copier {
    pub(crate) kernel: String,
    pipeline: wgpu::ComputePipeline,
    /// The dispatches of each turn of the ring.
    turns: Vec<Vec<Dispatch>>,
    next: usize,
}

struct Dispatch {
    bind_group: wgpu::BindGroup,
    grid: [u32; 2],
}

impl Copies {
    pub(crate) fn new(device: &Device) -> Result<Self, Trouble> {
        let module = device.device.create_shader_module(wgpu::include_wgsl!("copy.wgsl"));
        let most = device.device.limits().max_compute_invocations_per_workgroup;
        let mut kernels = Vec::new();
        for shape in SHAPES {
            for workgroup_size in WORKGROUP_SIZES.into_iter().filter(|&size| size <= most) {
                let pipeline = device.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(shape.entry),
                    layout: None,
                    module: &module,
                    entry_point: Some(shape.entry),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &[("workgroup_size", f64::from(workgroup_size))],
                        ..Default::default()
                    },
                    cache: None,
                });
                kernels.push(Kernel { shape, workgroup_size, pipeline });
            }
        }
        device.check()?;
        Ok(Self { kernels })
    }

    /// How many there are to choose from.
    pub(crate) fn len(&self) -> usize {
        self.kernels.len()
    }

    /// The kernel of this number over this ring.
    pub(crate) fn copier(&self, device: &Device, ring: &Ring, number: usize) -> Option<Copier> {
        let kernel = self.kernels.get(number)?;
        let layout = kernel.pipeline.get_bind_group_layout(0);
        let limits = device.device.limits();
        let bytes = ring.bytes.next_multiple_of(LINE);
        // Windows start at multiples of the stride's alignment.
        let window = (limits.max_storage_buffer_binding_size.min(u64::from(u32::MAX)) / 256 * 256).max(256);
        let dispatch = |turn: u64, first: u64| {
            let size = window.min(bytes - first);
            let bind = |buffer| {
                wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: ring.offset(turn) + first,
                    size: std::num::NonZeroU64::new(size),
                })
            };
            let entries = [
                wgpu::BindGroupEntry { binding: 0, resource: bind(&ring.x) },
                wgpu::BindGroupEntry { binding: 1, resource: bind(&ring.out) },
            ];
            let descriptor = wgpu::BindGroupDescriptor { label: Some("copy"), layout: &layout, entries: &entries };
            let lanes = u64::from(kernel.workgroup_size);
            let workgroups = match kernel.shape.bytes {
                Some(bytes) => size.div_ceil(bytes * lanes),
                None => GRID.min(size.div_ceil(16 * lanes)),
            };
            let most = u64::from(limits.max_compute_workgroups_per_dimension);
            let height = workgroups.div_ceil(most);
            let grid = [workgroups.div_ceil(height) as u32, height as u32];
            Dispatch { bind_group: device.device.create_bind_group(&descriptor), grid }
        };
        let firsts = |turn| (0..bytes).step_by(window as usize).map(move |first| (turn, first));
        Some(Copier {
            kernel: kernel.name(),
            pipeline: kernel.pipeline.clone(),
            turns: (0..ring.turns)
                .map(|turn| firsts(turn).map(|(turn, first)| dispatch(turn, first)).collect())
                .collect(),
            next: 0,
        })
    }

    /// The number of the kernel that is fastest over this ring: each has its turn in every round, and its best counts,
    /// since whatever else goes on in the machine only slows it down.
    pub(crate) fn fastest(
        &self,
        device: &Device,
        clock: &mut Clock<'_>,
        ring: &Ring,
        rounds: usize,
        seconds: f64,
    ) -> Result<usize, Trouble> {
        let mut contenders = Vec::new();
        for number in 0..self.len() {
            let Some(mut copier) = self.copier(device, ring, number) else { continue };
            let times = clock.repeats(seconds, &mut |pass, times| copier.record(pass, times))?;
            contenders.push((number, copier, times, f64::INFINITY));
        }
        for _ in 0..rounds {
            for (_, copier, times, best) in &mut contenders {
                let took = clock.time(*times, &mut |pass, times| copier.record(pass, times))?;
                *best = best.min(took / f64::from(*times));
            }
        }
        let best = contenders.iter().min_by(|a, b| a.3.total_cmp(&b.3));
        Ok(best.map_or(0, |&(number, ..)| number))
    }
}

impl Kernel {
    fn name(&self) -> String {
        format!("{}, workgroups of {}", self.shape.words, self.workgroup_size)
    }
}

impl Copier {
    /// Records the next so many of the ring.
    pub(crate) fn record(&mut self, pass: &mut wgpu::ComputePass<'_>, times: u32) {
        pass.set_pipeline(&self.pipeline);
        for _ in 0..times {
            let turn = self.next % self.turns.len().max(1);
            self.next = turn + 1;
            for dispatch in self.turns.get(turn).into_iter().flatten() {
                pass.set_bind_group(0, &dispatch.bind_group, &[]);
                pass.dispatch_workgroups(dispatch.grid[0], dispatch.grid[1], 1);
            }
        }
    }

    /// Copies the whole ring once, and sees whether the last has arrived.
    pub(crate) fn check(&mut self, device: &Device, ring: &Ring) -> Result<(), Trouble> {
        let mut encoder = device.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&ring.out, 0, None);
        let mut pass = encoder.begin_compute_pass(&Default::default());
        let times = self.turns.len() as u32;
        self.record(&mut pass, times);
        drop(pass);
        device.run(encoder)?;
        let at = ring.offset(ring.turns.saturating_sub(1));
        let last = at..at + ring.words;
        let (x, y) = (device.read::<u32>(ring.x.slice(last.clone()))?, device.read::<u32>(ring.out.slice(last))?);
        if x == y { Ok(()) } else { Err(Trouble::WrongCopy { kernel: self.kernel.clone() }) }
    }
}
