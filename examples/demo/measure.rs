//! How wrong and how fast a case is.

use std::error::Error;
use std::time::Instant;

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::sample::{Wanted, output};
use wgpu_norm::{Bound, Cpu, Engine, Gpu, Operands, cpu, wgpu};

use crate::case::Case;

pub const METHOD: &str = "one call, out of place, without copies, as the median of 7 runs: the wall time of a run is divided by\n        \
    its calls, which on an adapter are recorded in one pass, from submitting to the end of waiting";

/// Arrays in, arrays out: the result, and the largest error of all that is wanted.
pub fn check(engine: &Engine, case: &Case<'_>, wanted: &[Wanted]) -> Result<(ArrayD<f32>, f64), Box<dyn Error>> {
    let mut inputs = case.parameters.map(|array| array.view()).beside(case.x.view());
    if let Some(batches) = case.batches {
        inputs = inputs.num_batches_tracked(batches);
    }
    let out = engine.run_array_blocking(&*case.norm, inputs)?;
    let worst = wanted.iter().filter_map(|wanted| wanted.worst(output(&out, wanted.output)?));
    let error = worst.map(|worst| worst.relative).fold(0.0, f64::max);
    Ok((out.y, error))
}

/// What timing a case gave.
pub struct Speed {
    /// Of shaders.
    pub passes: Option<String>,
    pub seconds: f64,
    /// By what the passes move.
    pub gigabytes_per_second: Option<f64>,
}

/// What is there already is used again in every call.
pub fn time(engine: &Engine, case: &Case<'_>) -> Result<Speed, Box<dyn Error>> {
    match (engine.gpu(), engine.cpu()) {
        (Some(gpu), _) => time_on_gpu(gpu, case),
        (None, Some(cpu)) => {
            let seconds = time_on_cpu(cpu, case)?;
            Ok(Speed { passes: None, seconds, gigabytes_per_second: None })
        }
        (None, None) => Err("the engine is neither a GPU nor the CPU".into()),
    }
}

/// Slices, written again and again.
fn time_on_cpu(cpu: &Cpu, case: &Case<'_>) -> Result<f64, Box<dyn Error>> {
    let plan = cpu.plan(&*case.norm)?;
    let x = case.x.as_slice().ok_or("x is not row-major")?;
    let mut y = vec![0.0; x.len()];
    let (mut parameters, mut batches) = (case.parameters.clone(), case.batches);
    median_seconds(|calls| {
        let start = Instant::now();
        for _ in 0..calls {
            let mut operands = cpu::Operands::new(x, &mut y);
            if let Some(weight) = parameters.weight.as_ref().and_then(|array| array.as_slice()) {
                operands = operands.weight(weight);
            }
            if let Some(bias) = parameters.bias.as_ref().and_then(|array| array.as_slice()) {
                operands = operands.bias(bias);
            }
            let running = [&mut parameters.running_mean, &mut parameters.running_var];
            if let [Some(mean), Some(var)] = running.map(|array| array.as_mut().and_then(ArrayD::as_slice_mut)) {
                operands = match &mut batches {
                    Some(batches) => operands.tracked(mean, var).num_batches_tracked(batches),
                    None => operands.running(mean, var),
                };
            }
            plan.run(operands)?;
        }
        Ok(start.elapsed().as_secs_f64())
    })
}

/// Buffers bound once, recorded many times.
fn time_on_gpu(gpu: &Gpu, case: &Case<'_>) -> Result<Speed, Box<dyn Error>> {
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

    let seconds = median_seconds(|calls| submitted(gpu, &bound, calls))?;
    Ok(Speed {
        passes: Some(plan.passes().iter().map(|pass| pass.name()).collect::<Vec<_>>().join(" > ")),
        seconds,
        gigabytes_per_second: Some(plan.bytes_moved() as f64 / seconds / 1e9),
    })
}

fn upload(gpu: &Gpu, contents: &[u8]) -> wgpu::Buffer {
    let usage = wgpu::BufferUsages::STORAGE;
    let descriptor = wgpu::util::BufferInitDescriptor { label: None, contents, usage };
    wgpu::util::DeviceExt::create_buffer_init(gpu.device(), &descriptor)
}

/// A run should take about this long: long against submitting and waking up, short against patience.
const SECONDS_PER_RUN: f64 = 0.05;
const RUNS: usize = 7;
const MOST_CALLS: f64 = 500.0;

/// The seconds of a call, by what takes the time of some.
fn median_seconds(mut run: impl FnMut(u32) -> Result<f64, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    // The first is for the driver to compile and the memory to come; the second tells how many a run takes.
    run(1)?;
    let calls = (SECONDS_PER_RUN / run(1)?).clamp(1.0, MOST_CALLS) as u32;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        times.push(run(calls)? / f64::from(calls));
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}

fn submitted(gpu: &Gpu, bound: &Bound, calls: u32) -> Result<f64, Box<dyn Error>> {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for _ in 0..calls {
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
