//! A small classifier of handwritten digits, trained on the GPU: norms by `wgpu_norm::nn` between linear layers of this
//! example's own, in one pass a step.
//!
//! `cargo run --release --features cli --example train -- --norm batch`
//!
//! Trains with the norm and without, writes the curves of both to `OUTPUT/loss.svg` and what was learned to
//! `OUTPUT/model.safetensors`, loads that anew and evaluates again.

#[path = "train/digits.rs"]
mod digits;
#[path = "train/kernels.rs"]
mod kernels;
#[path = "train/net.rs"]
mod net;
#[path = "train/plot.rs"]
mod plot;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, ValueEnum as _};
use indicatif::{ProgressBar, ProgressStyle};
use wgpu_norm::{Gpu, features_for, limits_for, safetensors, wgpu};

use digits::{Digits, Draws};
use net::{Net, NormChoice};

const HELD_OUT: usize = 360;
/// What a network that has learned anything recognizes of them.
const ENOUGH: f64 = 0.95;

/// Trains a small classifier of handwritten digits with a norm between its layers, and without.
#[derive(Parser)]
struct Arguments {
    /// The norm between the layers.
    #[arg(long, value_enum, default_value = "batch")]
    norm: NormChoice,
    /// How often every image is learned from.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    epochs: u16,
    /// How many images a step learns from.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..=360))]
    batch: u16,
    /// How far the first step follows the gradient; from there on it goes to 0 evenly.
    #[arg(long, default_value_t = 0.08)]
    rate: f32,
    /// Of the first weights, and of the order of the images.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the curves and the model go.
    #[arg(long, default_value = "train-output")]
    output: PathBuf,
}

/// Mean losses, and how many of the images held out are recognized.
pub struct Epoch {
    training: f64,
    unseen: f64,
    accuracy: f64,
}

/// One training from beginning to end.
pub struct Run {
    name: String,
    epochs: Vec<Epoch>,
}

impl Run {
    fn last(&self) -> Option<&Epoch> {
        self.epochs.last()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let gpu = own_device()?;
    println!("on {}", gpu.describe());
    let data = Digits::load(HELD_OUT)?;
    println!("{} images to learn from, {} held out", data[0].len(), data[1].len());
    fs::create_dir_all(&arguments.output)?;

    let (run, net) = train(&gpu, arguments.norm, &arguments, &data)?;
    let mut runs = vec![run];
    if arguments.norm != NormChoice::None {
        runs.push(train(&gpu, NormChoice::None, &arguments, &data)?.0);
    }
    let curves = arguments.output.join("loss.svg");
    fs::write(&curves, plot::svg(&runs)?)?;
    println!("wrote {}", curves.display());

    let model = arguments.output.join("model.safetensors");
    fs::write(&model, safetensors::serialize(&net.state()?, None)?)?;
    // Another seed: all that the two have in common is the file.
    let mut again = Net::new(&gpu, arguments.norm, HELD_OUT, &mut Draws::new(!arguments.seed))?;
    again.load(&safetensors::SafeTensors::deserialize(&fs::read(&model)?)?)?;
    let (accuracy, _) = again.evaluate(&data[1])?;
    println!("wrote {}, and loaded anew it recognizes {:.2} %", model.display(), 100.0 * accuracy);

    let trained = runs[0].last().map_or(0.0, |epoch| epoch.accuracy);
    if accuracy != trained {
        return Err(format!("the saved model recognizes {accuracy} of the images, the trained one {trained}").into());
    }
    if arguments.norm != NormChoice::None && accuracy <= ENOUGH {
        return Err(format!("it recognizes no more than {accuracy} of the images").into());
    }
    Ok(())
}

/// A device as the rest of a program has it: the layers ask for nothing beyond wgpu's defaults.
fn own_device() -> Result<Gpu, Box<dyn Error>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let (device, queue) = pollster::block_on(async {
        let adapter = wgpu::util::initialize_adapter_from_env_or_default(&instance, None).await?;
        let descriptor = wgpu::DeviceDescriptor {
            required_features: features_for(&adapter),
            required_limits: limits_for(&adapter),
            ..Default::default()
        };
        Ok::<_, Box<dyn Error>>(adapter.request_device(&descriptor).await?)
    })?;
    Ok(Gpu::from_device(&device, &queue))
}

fn train(
    gpu: &Gpu,
    choice: NormChoice,
    arguments: &Arguments,
    data: &[Digits; 2],
) -> Result<(Run, Net), Box<dyn Error>> {
    let [known, unseen] = data;
    let name = match choice.to_possible_value() {
        Some(value) if choice != NormChoice::None => format!("{} norm", value.get_name()),
        _ => "no norm".to_owned(),
    };
    let mut draws = Draws::new(arguments.seed);
    let mut net = Net::new(gpu, choice, HELD_OUT, &mut draws)?;
    println!("{}", net.describe());
    let started = Instant::now();
    let batch = usize::from(arguments.batch);
    let steps = usize::from(arguments.epochs) * known.len().div_ceil(batch);
    // Nothing is drawn where standard error is no terminal.
    let bar = ProgressBar::new(steps as u64);
    bar.set_style(ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {msg}")?);
    bar.set_prefix(name.clone());

    let losses = net::buffer(gpu, known.len());
    let mut order: Vec<usize> = (0..known.len()).collect();
    let mut run = Run { name, epochs: Vec::new() };
    for _ in 0..arguments.epochs {
        draws.shuffle(&mut order);
        let mut place = 0;
        // The last batch is what is left: a smaller one, for which the layers plan once.
        for places in order.chunks(batch) {
            let rate = arguments.rate * (1.0 - bar.position() as f32 / steps as f32);
            net.step(&known.select(places), rate, &losses, place)?;
            place += places.len();
            bar.inc(1);
        }
        let training = net::mean(&net::download(gpu, &losses, known.len())?);
        let (accuracy, unseen) = net.evaluate(unseen)?;
        bar.set_message(format!("loss {training:.4}, {:.2} % of the images held out", 100.0 * accuracy));
        run.epochs.push(Epoch { training, unseen, accuracy });
    }
    bar.finish_and_clear();
    let Epoch { training, unseen, accuracy } = run.last().ok_or("no epoch")?;
    println!(
        "{}: {steps} steps in {:.1} s, loss {training:.4}, on the images held out {unseen:.4} and {:.2} % recognized",
        run.name,
        started.elapsed().as_secs_f64(),
        100.0 * accuracy
    );
    Ok((run, net))
}
