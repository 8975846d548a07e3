//! How wrong and how fast a case is.

use std::error::Error;
use std::time::Instant;

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::sample::output;
use wgpu_norm::{Bound, Gpu, Operands, wgpu};

use crate::case::Case;

pub const METHOD: &str = "several are recorded in one pass, the wall time from\n        \
    submitting to the end of waiting is divided by their number, and of 7 such times this is the median";

/// The results of a case and how far they are from float64.
pub struct Checked {
    pub y: ArrayD<f32>,
    /// What errors are measured by, for each element.
    pub scale: ArrayD<f64>,
    pub error: f64,
}

/// Arrays in, arrays out, and the same in float64.
pub fn check(gpu: &Gpu, case: &Case<'_>) -> Result<Checked, Box<dyn Error>> {
    let mut inputs = case.parameters.map(|array| array.view()).beside(case.x.view());
    if let Some(batches) = case.batches {
        inputs = inputs.num_batches_tracked(batches);
    }
    let out = gpu.run_array_blocking(&*case.norm, inputs)?;
    let mut error: f64 = 0.0;
    let mut wanted = case.wanted();
    for wanted in &wanted {
        if let Some(got) = output(&out, wanted.output) {
            error = error.max(wanted.worst(got).map_or(0.0, |worst| worst.relative));
        }
    }
    Ok(Checked { y: out.y, scale: wanted.swap_remove(0).scale, error })
}

/// What timing a case gave.
pub struct Speed {
    pub passes: String,
    pub seconds: f64,
    pub gigabytes_per_second: f64,
}

/// A run should take about this long: long against submitting and waking up, short against patience.
const SECONDS_PER_RUN: f64 = 0.05;
const RUNS: usize = 7;
const MOST_REPEATS: f64 = 500.0;

/// Buffers bound once, recorded many times.
pub fn time(gpu: &Gpu, case: &Case<'_>) -> Result<Speed, Box<dyn Error>> {
    let plan = gpu.context().plan(&*case.norm)?;
    let x = upload(gpu, bytemuck::cast_slice(case.x.as_slice().ok_or("x is not row-major")?));
    let y = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("y"),
        size: x.size(),
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let small = |array: &ArrayD<f32>| upload(gpu, bytemuck::cast_slice(array.as_slice().unwrap_or_default()));
    let parameters = case.parameters.map(small);
    let batches = case.batches.map(|batches| upload(gpu, bytemuck::bytes_of(&batches)));
    let mut operands = parameters.among(Operands::new(&x, &y));
    if let Some(batches) = &batches {
        operands = operands.num_batches_tracked(batches);
    }
    let bound = gpu.context().bind(&plan, &operands)?;

    let seconds = median_seconds(gpu, &bound)?;
    Ok(Speed {
        passes: plan.passes().iter().map(|pass| pass.name()).collect::<Vec<_>>().join(" > "),
        seconds,
        gigabytes_per_second: plan.bytes_moved() as f64 / seconds / 1e9,
    })
}

fn upload(gpu: &Gpu, contents: &[u8]) -> wgpu::Buffer {
    let usage = wgpu::BufferUsages::STORAGE;
    let descriptor = wgpu::util::BufferInitDescriptor { label: None, contents, usage };
    wgpu::util::DeviceExt::create_buffer_init(gpu.device(), &descriptor)
}

fn median_seconds(gpu: &Gpu, bound: &Bound) -> Result<f64, Box<dyn Error>> {
    // The first is for the driver to compile and the memory to come; the second tells how many to record.
    seconds_of(gpu, bound, 1)?;
    let once = seconds_of(gpu, bound, 1)?;
    let repeats = (SECONDS_PER_RUN / once).clamp(1.0, MOST_REPEATS) as u32;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        times.push(seconds_of(gpu, bound, repeats)? / f64::from(repeats));
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}

fn seconds_of(gpu: &Gpu, bound: &Bound, repeats: u32) -> Result<f64, Box<dyn Error>> {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for _ in 0..repeats {
        bound.record(&mut pass);
    }
    drop(pass);
    let commands = encoder.finish();
    let start = Instant::now();
    gpu.queue().submit([commands]);
    gpu.device().poll(wgpu::PollType::wait_indefinitely())?;
    Ok(start.elapsed().as_secs_f64())
}

/// The worst of all cases.
#[derive(Default)]
pub struct Worst {
    pub error: f64,
    place: String,
}

impl Worst {
    pub fn see(&mut self, error: f64, case: &Case<'_>) {
        if error > self.error {
            *self = Self { error, place: format!("{} of {}", case.name, case.input) };
        }
    }

    /// An error if the bound does not hold.
    pub fn verdict(&self, bound: f64) -> Result<(), String> {
        if self.error <= bound {
            return Ok(());
        }
        Err(format!("{} is off by {:.1e}, which is more than the bound of {bound:.0e}", self.place, self.error))
    }
}
