//! BatchNorm in a training loop: the running statistics stay on the GPU from the first batch to the evaluation.
//!
//! `cargo run --example batch_norm_running_stats`

use std::error::Error;

use wgpu_norm::{BatchNorm, Bound, Gpu, Momentum, Operands, VarianceEstimator, wgpu};

/// A batch: samples, positions, channels.
const SHAPE: [usize; 3] = [8, 32, CHANNELS];
const CHANNELS: usize = 4;
const LENGTH: usize = SHAPE[0] * SHAPE[1] * CHANNELS;
const BATCHES: usize = 20;
const MOMENTUM: f64 = 0.1;

/// Runs the example; an error or a panic means that a claim of it does not hold.
pub fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::new_blocking()?;
    println!("on {}", gpu.describe());
    let x = buffer(&gpu, &[0.0f32; LENGTH]);
    let y = buffer(&gpu, &[0.0f32; LENGTH]);

    // Two layers on one x, to compare the two ways of averaging. Running statistics start at mean 0 and variance 1.
    let statistics = || [buffer(&gpu, &[0.0f32; CHANNELS]), buffer(&gpu, &[1.0f32; CHANNELS])];
    let [decaying_mean, decaying_var] = statistics();
    let [average_mean, average_var] = statistics();
    let count = buffer(&gpu, &[0u32]);

    // Bound once: a step of training only records. The variance that is kept is the unbiased one, as in PyTorch.
    let norm = BatchNorm::channels_last(&SHAPE)?.running_variance(VarianceEstimator::Unbiased);
    let decaying = Operands::new(&x, &y).running_mean(&decaying_mean).running_var(&decaying_var);
    let train_decaying = bind(&gpu, &norm.clone().momentum(MOMENTUM as f32), &decaying)?;
    // The average of all batches so far weighs a batch by how many came before, so it needs their count.
    let average = Operands::new(&x, &y).running_mean(&average_mean).running_var(&average_var);
    let cumulative = norm.clone().momentum(Momentum::cumulative());
    let train_average = bind(&gpu, &cumulative, &average.num_batches_tracked(&count))?;

    let mut expected = Expected::default();
    for number in 0..BATCHES {
        let batch = batch(number);
        expected.follow(&batch);
        gpu.queue().write_buffer(&x, 0, bytemuck::cast_slice(&batch));
        submit(&gpu, &[&train_decaying, &train_average]);
        // Nothing is waited for or read back: the next step may be prepared while this one runs.
    }

    let (decaying_mean, decaying_var) = (download(&gpu, &decaying_mean)?, download(&gpu, &decaying_var)?);
    let (average_mean, average_var) = (download(&gpu, &average_mean)?, download(&gpu, &average_var)?);
    println!("after {BATCHES} batches, for each of {CHANNELS} channels");
    println!("  momentum {MOMENTUM}: mean {decaying_mean:7.3?}, variance {decaying_var:7.3?}");
    println!("  cumulative:   mean {average_mean:7.3?}, variance {average_var:7.3?}");
    assert_close(&decaying_mean, &expected.decaying_mean);
    assert_close(&decaying_var, &expected.decaying_var);
    assert_close(&average_mean, &expected.average_mean);
    assert_close(&average_var, &expected.average_var);
    assert_eq!(download(&gpu, &count)?[0].to_bits(), BATCHES as u32);

    // Evaluation: the same buffers, read and no longer updated. Its result depends on one sample alone, not on the
    // others of its batch.
    let eval = bind(&gpu, &norm.eval(), &average)?;
    let unseen = batch(BATCHES);
    gpu.queue().write_buffer(&x, 0, bytemuck::cast_slice(&unseen));
    submit(&gpu, &[&eval]);
    let normalize = |(i, &v): (usize, &f32)| {
        let (mean, var) = (expected.average_mean[i % CHANNELS], expected.average_var[i % CHANNELS]);
        (f64::from(v) - mean) / (var + 1e-5).sqrt()
    };
    let result = download(&gpu, &y)?;
    assert_close(&result, &unseen.iter().enumerate().map(normalize).collect::<Vec<_>>());
    let [mean, var] = statistics_of(&result);
    println!("an unseen batch, evaluated: mean {mean:7.3?}, variance {var:7.3?}");
    // It comes from where the others came from, so it is about standardized.
    assert!(mean.iter().all(|m| m.abs() < 0.25) && var.iter().all(|v| (v - 1.0).abs() < 0.25));
    Ok(())
}

fn bind(gpu: &Gpu, norm: &BatchNorm, operands: &Operands<'_>) -> Result<Bound, Box<dyn Error>> {
    Ok(gpu.context().bind(&gpu.context().plan(norm)?, operands)?)
}

fn submit(gpu: &Gpu, steps: &[&Bound]) {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for bound in steps {
        bound.record(&mut pass);
    }
    drop(pass);
    gpu.queue().submit([encoder.finish()]);
}

fn buffer<T: bytemuck::NoUninit>(gpu: &Gpu, values: &[T]) -> wgpu::Buffer {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let contents = bytemuck::cast_slice(values);
    let descriptor = wgpu::util::BufferInitDescriptor { label: None, contents, usage };
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

/// Channel `c` is spread around `3 c` by `c + 1`, and a little differently in each batch.
fn batch(number: usize) -> Vec<f32> {
    let value = |i: usize| {
        let c = (i % CHANNELS) as f32;
        // Multiplication by an odd number mixes bits well enough for this.
        let bits = ((number * LENGTH + i) as u32 + 1).wrapping_mul(2_654_435_761);
        let noise = (bits >> 8) as f32 / (1 << 24) as f32 - 0.5;
        3.0 * c + (c + 1.0) * (noise * 3.0 + 0.1 * (number as f32).sin())
    };
    (0..LENGTH).map(value).collect()
}

/// What the running statistics should be, in float64.
struct Expected {
    batches: f64,
    decaying_mean: [f64; CHANNELS],
    decaying_var: [f64; CHANNELS],
    average_mean: [f64; CHANNELS],
    average_var: [f64; CHANNELS],
}

impl Default for Expected {
    fn default() -> Self {
        let (mean, var) = ([0.0; CHANNELS], [1.0; CHANNELS]);
        Self { batches: 0.0, decaying_mean: mean, decaying_var: var, average_mean: mean, average_var: var }
    }
}

impl Expected {
    fn follow(&mut self, batch: &[f32]) {
        self.batches += 1.0;
        let [mean, var] = statistics_of(batch);
        let n = (LENGTH / CHANNELS) as f64;
        for c in 0..CHANNELS {
            let unbiased = var[c] * n / (n - 1.0);
            self.decaying_mean[c] += MOMENTUM * (mean[c] - self.decaying_mean[c]);
            self.decaying_var[c] += MOMENTUM * (unbiased - self.decaying_var[c]);
            self.average_mean[c] += (mean[c] - self.average_mean[c]) / self.batches;
            self.average_var[c] += (unbiased - self.average_var[c]) / self.batches;
        }
    }
}

/// Mean and population variance of each channel.
fn statistics_of(values: &[f32]) -> [[f64; CHANNELS]; 2] {
    let average = |c: usize, f: &dyn Fn(f64) -> f64| {
        let channel = values.iter().skip(c).step_by(CHANNELS);
        channel.map(|&v| f(f64::from(v))).sum::<f64>() * CHANNELS as f64 / values.len() as f64
    };
    let mean: [f64; CHANNELS] = std::array::from_fn(|c| average(c, &|v| v));
    let var = std::array::from_fn(|c| average(c, &|v| (v - mean[c]).powi(2)));
    [mean, var]
}

fn assert_close(got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (&got, &want) in got.iter().zip(want) {
        assert!((f64::from(got) - want).abs() < 1e-5 * want.abs().max(1.0), "{got} instead of {want}");
    }
}
