//! What the norms of this package save: a training step of two small networks, and single norms, with burn's norms and with ours.
//!
//!     cargo run --release --example step
//!
//! Both take turns on one device, and results are kept until it is done with them: burn's fusion leaves out what nobody reads.

mod models;

use std::time::{Duration, Instant};

use burn::nn;
use burn::nn::loss::{MseLoss, Reduction};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Tensor};
use wgpu_norm_burn as ours;

use models::{with_burn, with_ours};

/// A norm that runs by burn and by ours.
struct Case {
    name: &'static str,
    shape: [usize; 4],
    burn: Module,
    ours: Module,
}

type Module = Box<dyn Fn(Tensor<4>) -> Tensor<4>>;

macro_rules! case {
    ($name:literal, $shape:expr, $device:expr, $config:ident($($argument:expr),*)) => {{
        let burn = nn::$config::new($($argument),*).init($device);
        let ours = ours::$config::new($($argument),*).init($device);
        Case {
            name: $name,
            shape: $shape,
            burn: Box::new(move |x| burn.forward(x)),
            ours: Box::new(move |x| ours.try_forward(x).expect("this package computes it")),
        }
    }};
}

fn cases(device: &Device) -> Vec<Case> {
    vec![
        case!("LayerNorm", [1, 1, 4096, 768], device, LayerNormConfig(768)),
        case!("LayerNorm", [1, 1, 512, 1024], device, LayerNormConfig(1024)),
        case!("RmsNorm", [1, 1, 4096, 768], device, RmsNormConfig(768)),
        case!("GroupNorm", [4, 64, 64, 64], device, GroupNormConfig(32, 64)),
        case!("InstanceNorm", [4, 64, 64, 64], device, InstanceNormConfig(64)),
        case!("BatchNorm", [16, 64, 32, 32], device, BatchNormConfig(64)),
        case!("LayerNorm", [1, 1, 64, 768], device, LayerNormConfig(768)),
        case!("BatchNorm", [8, 16, 4, 4], device, BatchNormConfig(16)),
        case!("LayerNorm", [1, 1, 1, 64], device, LayerNormConfig(64)),
        case!("RmsNorm", [1, 1, 1, 64], device, RmsNormConfig(64)),
    ]
}

const MEGABYTE: usize = 1 << 20;
/// How often burn and ours take turns; the median of each counts.
const TURNS: usize = 7;

/// The median times of `burn` and `ours` by turns.
fn by_turns(mut burn: impl FnMut() -> Duration, mut ours: impl FnMut() -> Duration) -> [Duration; 2] {
    // Shaders are compiled and tuned first.
    burn();
    ours();
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..TURNS {
        times[0].push(burn());
        times[1].push(ours());
    }
    times.map(|mut times| {
        times.sort();
        times[TURNS / 2]
    })
}

/// The time of one of `count` calls, whose results live until the device is done.
fn timed<T>(device: &Device, count: usize, mut call: impl FnMut() -> T) -> Duration {
    device.sync().expect("the device answers");
    let start = Instant::now();
    let kept: Vec<T> = (0..count).map(|_| call()).collect();
    device.sync().expect("the device answers");
    let time = start.elapsed() / count as u32;
    drop(kept);
    time
}

fn line(name: &str, what: &str, [burn, ours]: [Duration; 2]) -> f64 {
    let ratio = burn.as_secs_f64() / ours.as_secs_f64();
    let [burn, ours] = [burn, ours].map(|time| time.as_secs_f64() * 1e3);
    println!("{name:<32} {what:<18} {burn:9.3} ms {ours:9.3} ms {ratio:7.2} x");
    ratio
}

fn main() -> Result<(), ours::DeviceError> {
    let device = ours::init(Device::wgpu_options())?;
    let training = device.clone().autodiff();
    println!("{:<32} {:<18} {:>12} {:>12} {:>9}", "", "", "burn", "wgpu-norm", "");
    // burn tunes its matrix products and convolutions first, which takes minutes on a GPU in software.
    networks(&training);

    let mut large: [Vec<f64>; 2] = Default::default();
    for (case, trained) in cases(&device).iter().zip(cases(&training)) {
        let elements: usize = case.shape.iter().product();
        let is_large = 4 * elements >= MEGABYTE;
        let count = if is_large { 3 } else { 50 };
        let name = format!("{} {:?}", case.name, case.shape);

        let x = Tensor::random(case.shape, Distribution::Default, &device);
        let forward = |module: &Module| timed(&device, count, || module(x.clone()));
        let forward = line(&name, "forward", by_turns(|| forward(&case.burn), || forward(&case.ours)));

        let x = Tensor::random(case.shape, Distribution::Default, &training).require_grad();
        let target = Tensor::random(case.shape, Distribution::Default, &training);
        let both = |module: &Module| {
            timed(&training, count, || {
                let gradients = (module(x.clone()) * target.clone()).sum().backward();
                (x.grad(&gradients), gradients)
            })
        };
        let both = line("", "and back, a loss", by_turns(|| both(&trained.burn), || both(&trained.ours)));
        if is_large {
            large[0].push(forward);
            large[1].push(both);
        }
    }
    let [forward, both] = large.map(|all| (all.iter().map(|ratio| ratio.ln()).sum::<f64>() / all.len() as f64).exp());
    println!("geometric mean from 1 MB on: forward {forward:.2} x, forward and back with a loss {both:.2} x");

    Ok(())
}

/// A training step, with forward, loss, backward and optimizer: of a transformer of 2 layers of width 128 for 4 sequences of 32, and of
/// a residual network with 16 channels for 4 images of 32 x 32.
fn networks(device: &Device) {
    macro_rules! step {
        ($networks:ident, $config:ident($($size:expr),*), $x:ident, $target:ident) => {{
            let mut model = Some($networks::$config::new($($size),*).init(device));
            let mut optimizer = AdamConfig::new().init();
            let (x, target) = ($x.clone(), $target.clone());
            move || {
                timed(device, 2, || {
                    let now = model.take().expect("it is put back");
                    let loss = MseLoss::new().forward(now.forward(x.clone()), target.clone(), Reduction::Mean);
                    let gradients = GradientsParams::from_grads(loss.backward(), &now);
                    model = Some(optimizer.step(1e-3, now, gradients));
                    loss
                })
            }
        }};
    }
    macro_rules! network {
        ($name:literal, $config:ident($($size:expr),*), $from:expr, $to:expr) => {
            let x = Tensor::random($from, Distribution::Default, device);
            let target = Tensor::random($to, Distribution::Default, device);
            let burn = step!(with_burn, $config($($size),*), x, target);
            let ours = step!(with_ours, $config($($size),*), x, target);
            line($name, "a training step", by_turns(burn, ours));
        };
    }
    network!("transformer", TransformerConfig(2, 128, 4), [4, 32, 128], [4, 32, 128]);
    network!("ResNet", ResNetConfig(16), [4, 3, 32, 32], [4, 16, 32, 32]);
}
