//! The classifier of handwritten digits of the library's example `train`, on as many ranks as there are: each has a part of every
//! batch, and all learn the same.
//!
//! `cargo build --release --examples`, then `mpirun -n 4 target/release/examples/digits`, with another number of epochs than 30 behind
//! it if you like.
//!
//! Linear layers are plain products of matrices; batch norm is by [`SyncBatchNorm`] between them. Prints what a step spends in MPI.

#[path = "../../examples/train/digits.rs"]
mod digits;

use std::error::Error;
use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wgpu_norm_mpi::wgpu_norm::ndarray::{Array2, ArrayView2, Axis, Zip};
use wgpu_norm_mpi::wgpu_norm::{Backward, BatchNorm, Engine, Inputs, Merged};
use wgpu_norm_mpi::{Ranks, Spent, SyncBatchNorm, run};

use digits::{CLASSES, Digits, Draws, PIXELS};

/// From the pixels to the classes.
const WIDTHS: [usize; 9] = [PIXELS, 48, 48, 48, 48, 48, 48, 48, CLASSES];
const LINEARS: usize = WIDTHS.len() - 1;
const HELD_OUT: usize = 360;
const BATCH: usize = 64;
const RATE: f32 = 0.08;
const MOMENTUM: f32 = 0.9;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    run(train)
}

fn train(ranks: &Ranks) -> Result<()> {
    let epochs = match std::env::args().nth(1) {
        Some(epochs) => {
            epochs.parse().map_err(|_| format!("the number of epochs is {epochs:?} but must be an integer"))?
        }
        None => 30,
    };
    let first = ranks.rank() == 0;
    let engine = ranks.engine()?;
    println!("rank {} of {} on {}", ranks.rank(), ranks.size(), engine.describe());
    let [known, unseen] = Digits::load(HELD_OUT)?;
    // The same on all ranks.
    let mut draws = Draws::new(1);
    let mut net = Net::new(&engine, ranks, &mut draws);
    let mut order: Vec<usize> = (0..known.len()).collect();
    let steps = epochs * known.len().div_ceil(BATCH);
    let mut done = 0;
    let (mut norms, mut gradients, started) = (Total::default(), Total::default(), Instant::now());
    let _ = ranks.take_spent();
    for _ in 0..epochs {
        draws.shuffle(&mut order);
        for batch in order.chunks(BATCH) {
            let own = known.select(&batch[part(batch.len(), ranks)]);
            let summed = net.gradients(&own, batch.len())?;
            norms.add(ranks.take_spent());
            net.descend(&ranks.sum(&summed)?, RATE * (1.0 - done as f32 / steps as f32));
            gradients.add(ranks.take_spent());
            done += 1;
        }
    }
    let took = started.elapsed();
    let (right, loss) = net.evaluate(&unseen.select(&part(unseen.len(), ranks).collect::<Vec<_>>()))?;
    let found = ranks.sum(&[right as f32, loss])?;
    if first {
        println!(
            "{steps} steps in {:.1} s, {:.2} ms each",
            took.as_secs_f64(),
            1e3 * took.as_secs_f64() / steps as f64
        );
        println!("a step spends in MPI: batch norm {}; gradients {}", norms.of(steps), gradients.of(steps));
        let (accuracy, loss) = (100.0 * found[0] / unseen.len() as f64, found[1] / unseen.len() as f64);
        println!("{accuracy:.2} % of {} images held out recognized, loss {loss:.4}", unseen.len());
    }
    Ok(())
}

/// This rank's part of so many.
fn part(count: usize, ranks: &Ranks) -> Range<usize> {
    let start = |rank: usize| count * rank / ranks.size();
    start(ranks.rank())..start(ranks.rank() + 1)
}

#[derive(Default)]
struct Total {
    messages: u64,
    bytes: u64,
    time: Duration,
}

impl Total {
    fn add(&mut self, spent: Spent) {
        self.messages += spent.messages;
        self.bytes += spent.bytes;
        self.time += spent.time;
    }

    fn of(&self, steps: usize) -> String {
        let per = |total: u64| total / steps.max(1) as u64;
        let us = 1e6 * self.time.as_secs_f64() / steps.max(1) as f64;
        format!("{} messages, {} bytes, {us:.0} us", per(self.messages), per(self.bytes))
    }
}

/// What is learned, and how fast it moves.
struct Parameter {
    value: Vec<f32>,
    velocity: Vec<f32>,
}

impl Parameter {
    fn new(value: Vec<f32>) -> Self {
        Self { velocity: vec![0.0; value.len()], value }
    }
}

/// The means and variances that a norm goes by when it does not learn.
struct Running {
    mean: Vec<f32>,
    var: Vec<f32>,
}

struct Net<'a> {
    engine: &'a Engine,
    ranks: &'a Ranks,
    /// Weight `[out, in]` and bias of each linear layer, and then of each norm.
    parameters: Vec<[Parameter; 2]>,
    running: Vec<Running>,
}

impl<'a> Net<'a> {
    fn new(engine: &'a Engine, ranks: &'a Ranks, draws: &mut Draws) -> Self {
        let linears = WIDTHS.iter().zip(&WIDTHS[1..]).map(|(&inputs, &outputs)| {
            let deviation = (2.0 / inputs as f32).sqrt();
            let weight = (0..outputs * inputs).map(|_| deviation * draws.normal()).collect();
            [Parameter::new(weight), Parameter::new(vec![0.0; outputs])]
        });
        let mut parameters: Vec<_> = linears.collect();
        let hidden = &WIDTHS[1..LINEARS];
        parameters.extend(hidden.iter().map(|&n| [Parameter::new(vec![1.0; n]), Parameter::new(vec![0.0; n])]));
        let running = hidden.iter().map(|&n| Running { mean: vec![0.0; n], var: vec![1.0; n] }).collect();
        Self { engine, ranks, parameters, running }
    }

    /// The weight of a linear layer.
    fn weight(&self, i: usize) -> Result<ArrayView2<'_, f32>> {
        Ok(ArrayView2::from_shape((WIDTHS[i + 1], WIDTHS[i]), &self.parameters[i][0].value)?)
    }

    fn linear(&self, i: usize, x: &Array2<f32>) -> Result<Array2<f32>> {
        Ok(x.dot(&self.weight(i)?.t()) + ArrayView2::from_shape((1, WIDTHS[i + 1]), &self.parameters[i][1].value)?)
    }

    fn norm(&self, i: usize, rows: usize) -> Result<SyncBatchNorm> {
        let norm = BatchNorm::channels_last(&[rows, WIDTHS[i + 1]])?;
        Ok(SyncBatchNorm::new(norm, self.ranks).summed_gradients())
    }

    /// The gradients of all parameters by this rank's images, of a batch of so many. Those of norms, which are summed already, count on
    /// the first rank alone.
    fn gradients(&mut self, images: &Digits, batch: usize) -> Result<Vec<f32>> {
        let rows = images.len();
        let mut inputs = vec![Array2::from_shape_vec((rows, PIXELS), images.pixels.clone())?];
        let mut normalized: Vec<(Array2<f32>, Merged)> = Vec::new();
        for i in 0..LINEARS {
            let z = self.linear(i, &inputs[i])?;
            if i + 1 == LINEARS {
                inputs.push(z);
                continue;
            }
            let [weight, bias] = &self.parameters[LINEARS + i];
            let given = Inputs::new(flat(&z)?).weight(&weight.value).bias(&bias.value);
            let (y, whole) = self.norm(i, rows)?.run(self.engine, given)?;
            let Running { mean, var } = &mut self.running[i];
            whole.track(mean, var, None)?;
            inputs.push(Array2::from_shape_vec(z.raw_dim(), y)?.mapv_into(|v| v.max(0.0)));
            normalized.push((z, whole));
        }
        let mut gradient = softmax(&inputs[LINEARS]);
        for (mut row, &label) in gradient.rows_mut().into_iter().zip(&images.labels) {
            row[label as usize] -= 1.0;
            row /= batch as f32;
        }
        let mut found: Vec<[Vec<f32>; 2]> = self.parameters.iter().map(|_| Default::default()).collect();
        for i in (0..LINEARS).rev() {
            if let Some((z, whole)) = normalized.get(i) {
                Zip::from(&mut gradient).and(&inputs[i + 1]).for_each(|g, &out| *g = if out > 0.0 { *g } else { 0.0 });
                let given = Inputs::new(flat(z)?).weight(&self.parameters[LINEARS + i][0].value[..]);
                let given = given.grad_output(flat(&gradient)?).statistics(whole.statistics());
                let gradients = self.norm(i, rows)?.run_backward(self.engine, Backward::new(), given)?;
                if self.ranks.rank() == 0 {
                    found[LINEARS + i] = [gradients.weight, gradients.bias].map(Option::unwrap_or_default);
                } else {
                    found[LINEARS + i] = [(); 2].map(|()| vec![0.0; WIDTHS[i + 1]]);
                }
                gradient = Array2::from_shape_vec(z.raw_dim(), gradients.input.unwrap_or_default())?;
            }
            let by_weight = gradient.t().dot(&inputs[i]);
            found[i] = [flat(&by_weight)?.to_vec(), gradient.sum_axis(Axis(0)).to_vec()];
            gradient = gradient.dot(&self.weight(i)?);
        }
        Ok(found.concat().concat())
    }

    /// The same on all ranks, to the bit.
    fn descend(&mut self, gradients: &[f64], rate: f32) {
        let mut gradients = gradients.iter();
        for Parameter { value, velocity } in self.parameters.iter_mut().flatten() {
            for ((value, velocity), gradient) in value.iter_mut().zip(velocity).zip(&mut gradients) {
                *velocity = MOMENTUM * *velocity + *gradient as f32;
                *value -= rate * *velocity;
            }
        }
    }

    /// How many images are recognized, and the sum of their losses.
    fn evaluate(&self, images: &Digits) -> Result<(usize, f32)> {
        let mut x = Array2::from_shape_vec((images.len(), PIXELS), images.pixels.clone())?;
        for i in 0..LINEARS {
            x = self.linear(i, &x)?;
            if let Some(Running { mean, var }) = self.running.get(i) {
                let [weight, bias] = &self.parameters[LINEARS + i];
                let given = Inputs::new(flat(&x)?).weight(&weight.value).bias(&bias.value);
                let norm = BatchNorm::channels_last(x.shape())?.eval();
                let out = self.engine.run_blocking(&norm, given.running_mean(mean).running_var(var))?;
                x = Array2::from_shape_vec(x.raw_dim(), out.y)?.mapv_into(|v| v.max(0.0));
            }
        }
        let (mut right, mut loss) = (0, 0.0);
        for (row, &label) in softmax(&x).rows().into_iter().zip(&images.labels) {
            let likely = row[label as usize];
            right += usize::from(row.iter().all(|&other| other <= likely));
            loss -= likely.max(f32::MIN_POSITIVE).ln();
        }
        Ok((right, loss))
    }
}

fn softmax(logits: &Array2<f32>) -> Array2<f32> {
    let mut likely = logits.clone();
    for mut row in likely.rows_mut() {
        let most = row.fold(f32::NEG_INFINITY, |most, &v| most.max(v));
        row.mapv_inplace(|v| (v - most).exp());
        row /= row.sum();
    }
    likely
}

fn flat(matrix: &Array2<f32>) -> Result<&[f32]> {
    matrix.as_slice().ok_or_else(|| "a matrix that is not row-major".into())
}
