//! Synchronized batch norm: a batch in unequal parts over two devices, forward and backward, gives what the whole batch gives on one.
//!
//! Between the devices go 16 bytes a channel forward ([`Moments`]) and 8 backward (two sums). Here they are in one process; over
//! processes and machines the package `wgpu-norm-mpi` gathers them. The same calls on buffers of your own are
//! `Context::plan_moments` and its neighbours.
//!
//! `cargo run --example sync_batch_norm`

use std::error::Error;

use wgpu_norm::{Backward, BatchNorm, Engine, Gpu, Inputs, Merged, Moments};

const CHANNELS: usize = 6;
/// Samples of each part.
const PARTS: [usize; 2] = [100, 37];

/// What the parts have together.
struct Found {
    y: Vec<f32>,
    dx: Vec<f32>,
    dweight: Vec<f64>,
    dbias: Vec<f64>,
    running: [Vec<f32>; 2],
}

/// Runs the example; an error or a panic means that a claim of it does not hold.
pub fn main() -> Result<(), Box<dyn Error>> {
    let samples: usize = PARTS.iter().sum();
    // Far from zero, where a mean kept as one f32 would be off by 0.03 standard deviations.
    let x: Vec<f32> = (0..samples * CHANNELS).map(|i| 1e6 + noise(i)).collect();
    let dy: Vec<f32> = (0..x.len()).map(|i| noise(i + x.len())).collect();
    // Of any kind: the CPU may have a part, too.
    let devices = [Engine::from(Gpu::new_blocking()?), Engine::from(Gpu::new_blocking()?)];
    println!("{PARTS:?} samples on {} devices, the first {}", devices.len(), devices[0].describe());

    let parts = synchronized(&devices, &PARTS, &x, &dy)?;
    let whole = synchronized(&devices[..1], &[samples], &x, &dy)?;
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    for (name, parts, whole, most) in [
        ("y", wide(&parts.y), wide(&whole.y), 1e-5),
        ("dx", wide(&parts.dx), wide(&whole.dx), 1e-5),
        ("dweight", parts.dweight, whole.dweight, 1e-4),
        ("dbias", parts.dbias, whole.dbias, 1e-4),
        ("running mean", wide(&parts.running[0]), wide(&whole.running[0]), 0.02),
        ("running variance", wide(&parts.running[1]), wide(&whole.running[1]), 1e-5),
    ] {
        let off = parts.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("{name}: off by {off:.1e} at most");
        assert!(off < most && parts.len() == whole.len());
    }
    Ok(())
}

/// Part after part, each on its own device.
fn synchronized(devices: &[Engine], sizes: &[usize], x: &[f32], dy: &[f32]) -> Result<Found, Box<dyn Error>> {
    let (weight, bias) = ([1.5; CHANNELS], [0.5; CHANNELS]);
    let mut parts = Vec::new();
    let mut start = 0;
    for (device, &samples) in devices.iter().zip(sizes) {
        let range = start * CHANNELS..(start + samples) * CHANNELS;
        let inputs = Inputs::new(&x[range.clone()]).weight(&weight[..]);
        parts.push((device, BatchNorm::channels_last(&[samples, CHANNELS])?, inputs, &dy[range]));
        start += samples;
    }

    // Forward: each leaves its moments, and goes on by what is merged from those of all.
    let mut moments: Vec<Moments> = Vec::new();
    for (device, norm, inputs, _) in &parts {
        moments.extend(device.run_moments_blocking(norm, *inputs)?);
    }
    let merged = Merged::new(&parts[0].1, &moments)?;
    let mut running = [vec![0.0; CHANNELS], vec![1.0; CHANNELS]];
    let [mean, var] = &mut running;
    merged.track(mean, var, None)?;
    let mut y = Vec::new();
    for (device, norm, inputs, _) in &parts {
        let inputs = inputs.bias(&bias).statistics(merged.statistics());
        y.extend(device.run_from_statistics_blocking(norm, inputs)?);
    }

    // Backward: each leaves two sums a channel, and goes on by those of all. The gradients of weight and bias add up, as those of any
    // layer do.
    let (mut sums, mut dweight, mut dbias) = (Vec::new(), vec![0.0; CHANNELS], vec![0.0; CHANNELS]);
    for (device, norm, inputs, dy) in &parts {
        let inputs = inputs.grad_output(dy).statistics(merged.statistics());
        let (of_part, gradients) = device.run_backward_sums_blocking(norm, Backward::new(), inputs)?;
        sums.extend(of_part);
        for (sum, part) in [(&mut dweight, gradients.weight), (&mut dbias, gradients.bias)] {
            sum.iter_mut().zip(part.iter().flatten()).for_each(|(sum, &v)| *sum += f64::from(v));
        }
    }
    let mut dx = Vec::new();
    for (device, norm, inputs, dy) in &parts {
        let inputs = inputs.grad_output(dy).statistics(merged.statistics());
        dx.extend(device.run_backward_from_sums_blocking(norm, inputs, &sums)?);
    }
    Ok(Found { y, dx, dweight, dbias, running })
}

/// In -1 to 1: multiplication by an odd number mixes bits well enough for this.
fn noise(i: usize) -> f32 {
    ((i as u32 + 1).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0
}
