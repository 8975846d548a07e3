//! QK-norm: the heads of q and k are normalized where the projection left them, side by side with v, each with a weight of its kind.
//!
//! `cargo run --example qk_norm`

use std::error::Error;
use std::time::Instant;

use wgpu_norm::{Gpu, Norm, Operands, Plan, RmsNorm, Strides, View};

const TOKENS: usize = 512;
/// Heads of q, of k and of v (grouped-query attention), of so many elements each.
const Q: usize = 12;
const K: usize = 4;
const V: usize = 4;
const HEAD: usize = 128;
const PACKED: usize = (Q + K + V) * HEAD;
const EPS: f32 = 1e-6;

/// Runs the example; an error or a panic means that a claim of it does not hold.
pub fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::new_blocking()?;
    let packed: Vec<f32> = (0..TOKENS * PACKED).map(|i| ((i * i) % 1013) as f32 / 200.0 - 2.0).collect();
    let weight: Vec<f32> = (0..2 * HEAD).map(|i| 0.5 + (i % 7) as f32 / 8.0).collect();
    let buffer = gpu.upload_blocking("packed", &packed)?;
    let weights = gpu.upload_blocking("weight", &weight)?;

    // q and k are one tensor with a pitch. Segments of its heads have a weight and an eps each.
    let strides = Strides::all(&[PACKED, HEAD, 1]);
    let both = RmsNorm::new(&[TOKENS, Q + K, HEAD], &[HEAD])?.segments(&[(Q, EPS), (K, EPS)]);
    let plan = gpu.context().plan(&both.with_strides(strides.clone()))?;
    println!("{plan}");
    let bound = gpu.context().bind(&plan, &Operands::in_place(&buffer).weight(&weights))?;
    let run = |bound: &wgpu_norm::Bound| {
        gpu.submit_blocking(
            |encoder| bound.record(&mut encoder.begin_compute_pass(&Default::default())),
            &[("packed", &buffer)],
        )
    };
    let got = run(&bound)?.swap_remove(0);
    let worst = got.iter().zip(expected(&packed, &weight)).map(|(&got, want)| (f64::from(got) - want).abs());
    let worst = worst.fold(0.0, f64::max);
    println!("q and k in one dispatch: off by {worst:.1e} at most, v as it was");
    assert!(worst < 1e-5, "{worst}");

    // The same in two, each with its part of the weights.
    let alone = |heads: usize| -> Result<Plan, Box<dyn Error>> {
        let norm = RmsNorm::new(&[TOKENS, heads, HEAD], &[HEAD])?.eps(EPS).with_strides(strides.clone());
        Ok(gpu.context().plan(&norm)?)
    };
    let bytes = |elements: usize| (elements * size_of::<f32>()) as u64;
    let (of_k, weight_of_k) = (View::new(&buffer, bytes(Q * HEAD)), View::new(&weights, bytes(HEAD)));
    let apart = [
        gpu.context().bind(&alone(Q)?, &Operands::in_place(&buffer).weight(&weights))?,
        gpu.context().bind(&alone(K)?, &Operands::in_place(of_k).weight(weight_of_k))?,
    ];
    let time = |bound: &wgpu_norm::Bound| {
        let times = (0..7).map(|_| {
            let start = Instant::now();
            run(bound).map(|_| start.elapsed())
        });
        let mut times: Vec<_> = times.collect::<Result<_, _>>()?;
        times.sort_unstable();
        Ok::<_, Box<dyn Error>>(times[3])
    };
    let [one, two] = [time(&bound)?, time(&apart.into_iter().collect())?];
    println!("with reading back: {one:.2?} together, {two:.2?} one after the other");
    Ok(())
}

/// Each head of q and k by its root mean square, in float64.
fn expected(packed: &[f32], weight: &[f32]) -> Vec<f64> {
    let mut y: Vec<f64> = packed.iter().copied().map(f64::from).collect();
    for token in y.chunks_mut(PACKED) {
        for (head, row) in token.chunks_mut(HEAD).enumerate().take(Q + K) {
            let weight = if head < Q { &weight[..HEAD] } else { &weight[HEAD..] };
            let mean_square = row.iter().map(|v| v * v).sum::<f64>() / HEAD as f64;
            let rstd = 1.0 / (mean_square + f64::from(EPS)).sqrt();
            row.iter_mut().zip(weight).for_each(|(v, &weight)| *v *= rstd * f64::from(weight));
        }
    }
    y
}
