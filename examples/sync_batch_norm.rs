//! Synchronized batch norm: a batch in unequal parts over two devices, forward and backward, gives what the whole batch
//! gives on one.
//!
//! Between the devices go 16 bytes a channel forward ([`Moments`], gathered) and 8 backward (two sums, added up): what an
//! engine would leave to its all-gather and its all-reduce, and this example to the CPU.
//!
//! `cargo run --example sync_batch_norm`

use std::error::Error;

use wgpu_norm::{Backward, BatchNorm, Gpu, Moments, Operands, Plan, wgpu};

const CHANNELS: usize = 6;
/// Samples of each part.
const PARTS: [usize; 2] = [100, 37];

/// A part of the batch, on a device of its own.
struct Part {
    gpu: Gpu,
    norm: BatchNorm,
    x: wgpu::Buffer,
    dy: wgpu::Buffer,
    weight: wgpu::Buffer,
    bias: wgpu::Buffer,
    running: [wgpu::Buffer; 2],
    statistics: wgpu::Buffer,
    y: wgpu::Buffer,
    dx: wgpu::Buffer,
    dweight: wgpu::Buffer,
    dbias: wgpu::Buffer,
}

/// Runs the example; an error or a panic means that a claim of it does not hold.
pub fn main() -> Result<(), Box<dyn Error>> {
    let samples: usize = PARTS.iter().sum();
    // Far from zero, where a mean kept as one f32 would be off by 0.03 standard deviations.
    let x: Vec<f32> = (0..samples * CHANNELS).map(|i| 1e6 + noise(i)).collect();
    let dy: Vec<f32> = (0..x.len()).map(|i| noise(i + x.len())).collect();

    let mut parts = Vec::new();
    let mut start = 0;
    for samples in PARTS {
        let range = start * CHANNELS..(start + samples) * CHANNELS;
        parts.push(Part::new(samples, &x[range.clone()], &dy[range])?);
        start += samples;
    }
    println!("{PARTS:?} samples on {} devices, the first {}", parts.len(), parts[0].gpu.describe());

    // Forward: each leaves its moments, and goes on by those of all.
    let gathered = parts.iter().map(Part::moments).collect::<Result<Vec<_>, _>>()?.concat();
    let all: &[Moments] = bytemuck::cast_slice(&gathered);
    let merged = all[0].merge(all[CHANNELS]);
    println!("channel 0: {} samples, mean {:.4}, variance {:.4}", merged.count(), merged.mean(), merged.variance());
    assert_eq!(merged.count() as usize, samples);
    parts.iter().try_for_each(|part| part.forward(&gathered))?;

    // Backward: each leaves two sums a channel, and goes on by what they add up to.
    let sums = parts.iter().map(Part::backward_sums).collect::<Result<Vec<_>, _>>()?;
    let added: Vec<f32> = (0..2 * CHANNELS).map(|i| sums.iter().map(|part| part[i]).sum()).collect();
    parts.iter().try_for_each(|part| part.backward(&added))?;

    // The whole batch on one device.
    let whole = Part::new(samples, &x, &dy)?;
    whole.forward(&whole.moments()?)?;
    whole.backward(&whole.backward_sums()?)?;
    let joined = |tensor: fn(&Part) -> &wgpu::Buffer| -> Result<Vec<f32>, Box<dyn Error>> {
        Ok(parts.iter().map(|part| download(&part.gpu, tensor(part))).collect::<Result<Vec<_>, _>>()?.concat())
    };
    for (name, tensor) in [("y", (|part| &part.y) as fn(&Part) -> &wgpu::Buffer), ("dx", |part| &part.dx)] {
        let off = largest_difference(&joined(tensor)?, &download(&whole.gpu, tensor(&whole))?);
        println!("{name}: off by {off:.1e} at most");
        assert!(off < 1e-5);
    }
    // The gradients of weight and bias add up as any layer's do.
    for (name, tensor) in
        [("dweight", (|part| &part.dweight) as fn(&Part) -> &wgpu::Buffer), ("dbias", |part| &part.dbias)]
    {
        let added: Vec<f32> = joined(tensor)?
            .chunks(CHANNELS)
            .fold(vec![0.0; CHANNELS], |sum, part| sum.iter().zip(part).map(|(sum, v)| sum + v).collect());
        let off = largest_difference(&added, &download(&whole.gpu, tensor(&whole))?);
        println!("{name}: off by {off:.1e} at most");
        assert!(off < 1e-4);
    }
    // Every device has the same running statistics.
    for which in [0, 1] {
        let running = |part: &Part| download(&part.gpu, &part.running[which]);
        assert_eq!(running(&parts[0])?, running(&parts[1])?);
    }
    Ok(())
}

impl Part {
    fn new(samples: usize, x: &[f32], dy: &[f32]) -> Result<Self, Box<dyn Error>> {
        let gpu = Gpu::new_blocking()?;
        let of = |values: &[f32]| buffer(&gpu, values);
        let (per_channel, per_element) = (|v: f32| vec![v; CHANNELS], vec![0.0; x.len()]);
        Ok(Self {
            norm: BatchNorm::channels_last(&[samples, CHANNELS])?,
            x: of(x),
            dy: of(dy),
            weight: of(&per_channel(1.5)),
            bias: of(&per_channel(0.5)),
            running: [of(&per_channel(0.0)), of(&per_channel(1.0))],
            statistics: of(&[0.0; 4 * CHANNELS]),
            y: of(&per_element),
            dx: of(&per_element),
            dweight: of(&per_channel(0.0)),
            dbias: of(&per_channel(0.0)),
            gpu,
        })
    }

    fn moments(&self) -> Result<Vec<f32>, Box<dyn Error>> {
        let moments = buffer(&self.gpu, &[0.0; 4 * CHANNELS]);
        let plan = self.gpu.context().plan_moments(&self.norm)?;
        self.run(&plan, &Operands::of(&self.x).moments(&moments))?;
        download(&self.gpu, &moments)
    }

    fn forward(&self, gathered: &[f32]) -> Result<(), Box<dyn Error>> {
        let plan = self.gpu.context().plan_from_moments(&self.norm, gathered.len() / (4 * CHANNELS))?;
        let moments = buffer(&self.gpu, gathered);
        let operands = Operands::new(&self.x, &self.y).weight(&self.weight).bias(&self.bias).moments(&moments);
        let [mean, var] = &self.running;
        self.run(&plan, &operands.statistics(&self.statistics).running_mean(mean).running_var(var))
    }

    /// And the gradients of weight and bias.
    fn backward_sums(&self) -> Result<Vec<f32>, Box<dyn Error>> {
        let sums = buffer(&self.gpu, &[0.0; 2 * CHANNELS]);
        let plan = self.gpu.context().plan_backward_sums(&self.norm, Backward::new())?;
        let operands = Operands::backward(&self.dy, &self.x).weight(&self.weight).statistics(&self.statistics);
        self.run(&plan, &operands.sums(&sums).grad_weight(&self.dweight).grad_bias(&self.dbias))?;
        download(&self.gpu, &sums)
    }

    fn backward(&self, added: &[f32]) -> Result<(), Box<dyn Error>> {
        let sums = buffer(&self.gpu, added);
        let plan = self.gpu.context().plan_backward_from_sums(&self.norm, 1)?;
        let operands = Operands::backward(&self.dy, &self.x).weight(&self.weight).statistics(&self.statistics);
        self.run(&plan, &operands.sums(&sums).grad_input(&self.dx))
    }

    fn run(&self, plan: &Plan, operands: &Operands<'_>) -> Result<(), Box<dyn Error>> {
        let bound = self.gpu.context().bind(plan, operands)?;
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        bound.record(&mut encoder.begin_compute_pass(&Default::default()));
        self.gpu.queue().submit([encoder.finish()]);
        Ok(())
    }
}

/// In -1 to 1: multiplication by an odd number mixes bits well enough for this.
fn noise(i: usize) -> f32 {
    ((i as u32 + 1).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

fn largest_difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn buffer(gpu: &Gpu, values: &[f32]) -> wgpu::Buffer {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let descriptor = wgpu::util::BufferInitDescriptor { label: None, contents: bytemuck::cast_slice(values), usage };
    wgpu::util::DeviceExt::create_buffer_init(gpu.device(), &descriptor)
}

fn download(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<Vec<f32>, Box<dyn Error>> {
    let staging = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    gpu.queue().submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |_| {});
    gpu.device().poll(wgpu::PollType::wait_indefinitely())?;
    Ok(bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..)?))
}
