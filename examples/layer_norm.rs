//! Arrays in, arrays out, one line a norm.
//!
//! `cargo run --example layer_norm`

use std::error::Error;

use wgpu_norm::ndarray::array;
use wgpu_norm::{BatchNorm, Engine, GroupNorm, Inputs, InstanceNorm, LayerNorm, RmsNorm};

/// Two samples of two positions and two channels. The norms differ only in which of these eight share a mean.
const X: [f32; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
const SHAPE: [usize; 3] = [2, 2, 2];

/// Runs the example; an error or a panic means that a claim of it does not hold.
pub fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::new_blocking()?;
    println!("on {}: {}", engine.describe(), engine.reason());
    slices(&engine)?;
    arrays(&engine)
}

/// Row-major slices: the shape is that of the norm.
fn slices(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let x = || Inputs::new(&X[..]).with_mean();

    let layer = engine.run_blocking(&LayerNorm::new(&SHAPE, &[2])?, x())?;
    let group = engine.run_blocking(&GroupNorm::channels_last(&SHAPE, 1)?, x())?;
    let instance = engine.run_blocking(&InstanceNorm::channels_last(&SHAPE)?, x())?;
    let batch = engine.run_blocking(&BatchNorm::channels_last(&SHAPE)?.without_tracking(), x())?;
    // RMS norm subtracts no mean, so it has none to give.
    let rms = engine.run_blocking(&RmsNorm::new(&SHAPE, &[2])?, Inputs::new(&X[..]))?;

    println!("x             {X:6.3?}");
    println!("LayerNorm     {:6.3?}", layer.y);
    println!("GroupNorm     {:6.3?}", group.y);
    println!("InstanceNorm  {:6.3?}", instance.y);
    println!("BatchNorm     {:6.3?}", batch.y);
    println!("RmsNorm       {:6.3?}", rms.y);

    // One mean for each position of each sample, each sample, each channel of each sample, each channel.
    assert_eq!(layer.mean, Some(vec![1.5, 3.5, 5.5, 7.5]));
    assert_eq!(group.mean, Some(vec![2.5, 6.5]));
    assert_eq!(instance.mean, Some(vec![2.0, 3.0, 6.0, 7.0]));
    assert_eq!(batch.mean, Some(vec![4.0, 5.0]));
    // The root mean square of 1 and 2 is sqrt(2.5). What is left of 1e-4 is eps, 1e-5 unless set.
    assert!((rms.y[0] - 1.0 / 2.5f32.sqrt()).abs() < 1e-4);
    // A row of two values, whatever they are, becomes -1 and 1.
    assert!(layer.y.chunks(2).all(|row| (row[0] + 1.0).abs() < 1e-4 && (row[1] - 1.0).abs() < 1e-4));
    Ok(())
}

/// `ndarray` views: the results have shapes as well, and x may lie in memory as it likes.
fn arrays(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let x = array![[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]].into_dyn();
    let (weight, bias) = (array![10.0, 1.0].into_dyn(), array![0.5, 0.0].into_dyn());

    let inputs = Inputs::new(x.view()).weight(weight.view()).bias(bias.view()).with_mean();
    let layer = engine.run_array_blocking(&LayerNorm::new(x.shape(), &[2])?, inputs)?;
    println!("LayerNorm with weight {weight} and bias {bias}:\n{:.3}", layer.y);
    assert_eq!(layer.mean, Some(array![[[1.5], [3.5]], [[5.5], [7.5]]].into_dyn()));
    assert!((layer.y[[0, 0, 0]] - (-10.0 + 0.5)).abs() < 1e-3);

    // The same numbers seen as (N, C, *): nothing is copied by hand, and each channel keeps its mean.
    let first = x.view().permuted_axes(vec![0, 2, 1]);
    let batch = BatchNorm::channels_first(first.shape())?.without_tracking();
    let batch = engine.run_array_blocking(&batch, Inputs::new(first).with_mean())?;
    assert_eq!(batch.mean, Some(array![4.0, 5.0].into_dyn()));
    Ok(())
}
