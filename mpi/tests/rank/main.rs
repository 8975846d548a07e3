//! What the tests start as a rank: `rank check 60,0,70,7` holds batch norm of such parts to float64, to the whole batch on one device, and
//! to the other ranks; other words make a rank fail in one way or another.

use std::env;
use std::fmt::Debug;
use std::ops::Range;
use std::process::{Command, ExitCode};
use std::time::Duration;

use wgpu_norm::half::{bf16, f16};
use wgpu_norm::ndarray::{ArrayD, ArrayViewD, Axis, Slice};
use wgpu_norm::nn::{
    BatchNormLayer, BatchNormOptions, GradOutput, GroupNormLayer, GroupNormOptions, RunningStatistics,
};
use wgpu_norm::reference::{self, largest_error_of};
use wgpu_norm::{
    Activation, Backward, BatchNorm, Cpu, Element, Engine, Gpu, Inputs, Merged, Moments, Momentum, Norm, Number,
    Outputs, VarianceEstimator, cpu, wgpu,
};
use wgpu_norm_mpi::mpi::topology::{Color, SimpleCommunicator};
use wgpu_norm_mpi::mpi::traits::Communicator;
use wgpu_norm_mpi::{Ranks, Spent, SyncBatchNorm, SyncLayer, convert, run};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Of float64, and of the whole batch, relative to the largest term, before what 16 bits round.
const BOUND: f64 = 4e-6;

const CHANNELS: [usize; 3] = [6, 48, 2048];

/// What is in rows of an odd width as well.
const OF_16_BITS: [(usize, Element); 2] = [(5, Element::F16), (48, Element::Bf16)];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let limit = env::var("DEADLINE_MS").ok().and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    let program = |ranks: &Ranks| {
        if let Some(limit) = limit {
            ranks.set_deadline(limit);
        }
        match words[..] {
            ["check", parts] => check(ranks, &numbers(parts)?)?,
            ["groups", parts] => groups(&numbers(parts)?)?,
            [failure] => return fail(ranks, failure),
            _ => return Err("check PARTS, groups PARTS, alone PARTS, or a way to fail".into()),
        }
        println!("rank {} of {}: all is well", ranks.rank(), ranks.size());
        Result::Ok(())
    };
    if let ["alone", parts] = words[..] {
        let alone = Ranks::alone();
        let checked = numbers(parts).and_then(|parts| check(&alone, &parts));
        return match checked {
            Ok(()) => {
                println!("rank 0 of 1: all is well");
                ExitCode::SUCCESS
            }
            Err(error) => alone.abort(&error),
        };
    }
    run(program)
}

fn numbers(words: &str) -> Result<Vec<usize>> {
    Ok(words.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?)
}

/// A way to fail, for the last rank; the others find out.
fn fail(ranks: &Ranks, how: &str) -> Result<()> {
    let x = vec![1.0; 8 * 48];
    let forward = |channels: usize| {
        let norm = SyncBatchNorm::new(BatchNorm::channels_last(&[8, channels])?, ranks);
        norm.run(&Cpu::new().into(), Inputs::new(&x[..8 * channels])).map_err(Box::<dyn std::error::Error>::from)
    };
    forward(48)?;
    if ranks.rank() + 1 == ranks.size() {
        match how {
            "hang" => std::thread::sleep(Duration::from_secs(60)),
            "kill" => drop(Command::new("kill").args(["-9", &std::process::id().to_string()]).status()?),
            "exit" => std::process::exit(3),
            "panic" => panic!("this rank panics"),
            "return" => return Ok(()),
            "error" => return Err("this rank cannot read its file".into()),
            "channels" => drop(forward(24)?),
            "order" => drop(ranks.sum(&x)?),
            _ => return Err(format!("no way to fail is called {how}").into()),
        }
    }
    let error = match forward(48) {
        Ok(_) => return Err("nothing failed".into()),
        Err(error) => error,
    };
    // Out of step for good.
    let again = forward(48).err().ok_or("it went on")?;
    if again.to_string() != error.to_string() {
        return Err(format!("first {error}, then {again}").into());
    }
    Err(error)
}

/// Two groups of ranks, those of even numbers and the others, each with a batch of its own.
fn groups(parts: &[usize]) -> Result<()> {
    let world = SimpleCommunicator::world();
    let color = world.rank() % 2;
    let group = world.split_by_color(Color::with_value(color)).ok_or("no group")?;
    let parts: Vec<usize> = parts.iter().skip(color as usize).step_by(2).copied().collect();
    check(&Ranks::of(&group)?, &parts)
}

/// A batch, and what it is held to.
struct Case {
    /// What `x`, `y`, `dy`, `dx` and the specification's weight are stored as.
    element: Element,
    x: ArrayD<f32>,
    dy: ArrayD<f32>,
    axis: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
    estimator: VarianceEstimator,
    activation: Option<Activation>,
    /// By float64.
    want: reference::Forward,
    back: reference::Backward,
    /// The whole batch on one CPU.
    whole: Outputs<Vec<f32>>,
    whole_dx: Vec<f32>,
}

/// What came of one rank's part.
struct Found {
    y: Vec<f32>,
    dx: Vec<f32>,
    dweight: Vec<f32>,
    dbias: Vec<f32>,
    mean: Vec<f32>,
    var: Vec<f32>,
    batches: u32,
    spent: Spent,
}

fn check(ranks: &Ranks, parts: &[usize]) -> Result<()> {
    if parts.len() != ranks.size() {
        return Err(format!("{} parts for {} ranks", parts.len(), ranks.size()).into());
    }
    let gpu = ranks.gpu()?;
    let engines: [(&str, Engine); 2] = [("the CPU", Cpu::new().into()), ("the GPU", gpu.clone().into())];
    ranks.engine()?;
    for (channels, element) in CHANNELS.map(|channels| (channels, Element::F32)).into_iter().chain(OF_16_BITS) {
        for first in [false, true] {
            let case = Case::new(parts.iter().sum(), channels, first, element, None)?;
            // All on the CPU, all on GPUs, or some on each.
            for turn in 0..3 {
                let (name, engine) = &engines[if turn < 2 { turn } else { ranks.rank() % 2 }];
                for summed in [false, true] {
                    let (found, merged) = match element {
                        Element::F16 => case.by_specification::<f16>(ranks, parts, engine, summed),
                        Element::Bf16 => case.by_specification::<bf16>(ranks, parts, engine, summed),
                        _ => case.by_specification::<f32>(ranks, parts, engine, summed),
                    }?;
                    case.hold(&format!("{name}, turn {turn}"), ranks, parts, summed, &found)?;
                    case.hold_bits(ranks, parts, &merged, engine)?;
                }
            }
            let activated = Case::new(parts.iter().sum(), channels, first, element, Some(Activation::Silu))?;
            for (case, how) in [(case, "the layer"), (activated, "the layer, then SiLU")] {
                for summed in [false, true] {
                    let found = case.by_layer(ranks, parts, &gpu, summed)?;
                    case.hold(how, ranks, parts, summed, &found)?;
                }
            }
        }
    }
    nothing(ranks, &engines)?;
    others(ranks, &gpu)
}

/// A batch that is empty on all ranks.
fn nothing(ranks: &Ranks, engines: &[(&str, Engine)]) -> Result<()> {
    for momentum in [Momentum::exponential(0.1), Momentum::cumulative()] {
        for (name, engine) in engines {
            let norm = SyncBatchNorm::new(BatchNorm::channels_last(&[0, 6])?.momentum(momentum), ranks);
            let (y, merged) = norm.run(engine, Inputs::new(&[0.0; 0][..]))?;
            let (mut mean, mut var, mut batches) = ([2.0; 6], [3.0; 6], 4);
            merged.track(&mut mean, &mut var, Some(&mut batches))?;
            equal(name, &(y, mean, var, batches), &(vec![], [2.0; 6], [3.0; 6], 4))?;
        }
        let gpu = engines.iter().find_map(|(_, engine)| engine.gpu()).ok_or("no GPU")?;
        let layer = BatchNormLayer::new_blocking(gpu, BatchNormOptions::new(6).momentum(momentum))?;
        let layer = SyncLayer::new(layer, ranks);
        let nothing = gpu.upload_blocking("x", &[])?;
        let y = gpu.upload_blocking("y", &[])?;
        let saved = layer.forward(&[0, 6], &nothing, &y)?;
        layer.backward(&saved, GradOutput::new(&nothing).grad_input(&y))?;
        let running = layer.layer().running_statistics_blocking()?.ok_or("no running statistics")?;
        equal("an empty batch", &(running.mean, running.var), &(vec![0.0; 6], vec![1.0; 6]))?;
        equal("an empty batch", &running.num_batches_tracked, &0)?;
        let gradients = layer.layer().gradients_blocking()?;
        equal("an empty batch", &gradients.weight, &Some(vec![0.0; 6]))?;
    }
    Ok(())
}

/// Layers of other kinds, and batch norms in eval mode, run as by themselves. A layer goes back along its own way alone.
fn others(ranks: &Ranks, gpu: &Gpu) -> Result<()> {
    let group = || GroupNormLayer::new_blocking(gpu, GroupNormOptions::new(2, 6));
    let batch = || BatchNormLayer::new_blocking(gpu, BatchNormOptions::new(6));
    let mut alone = [group()?.into_any(), batch()?.into_any(), batch()?.into_any()];
    let mut layers = convert([group()?.into_any(), batch()?.into_any(), batch()?.into_any()], ranks);
    alone[1].eval();
    layers[1].layer_mut().eval();
    let values: Vec<f32> = (0..24).map(|i| noise(i + 100 * ranks.rank())).collect();
    let x = gpu.upload_blocking("x", &values)?;
    for (alone, layer) in alone.iter().zip(&layers).take(2) {
        let [y, dx] = [gpu.upload_blocking("y", &[0.0; 24])?, gpu.upload_blocking("dx", &[0.0; 24])?];
        let saved = layer.forward(&[4, 6], &x, &y)?;
        layer.backward(&saved, GradOutput::new(&x).grad_input(&dx))?;
        let found = gpu.submit_blocking(|_| {}, &[("y", &y), ("dx", &dx)])?;
        let want = [alone.run_blocking(&[4, 6], &values)?, alone.run_backward_blocking(&[4, 6], &values, &values)?];
        for (found, want) in found.iter().zip(&want) {
            if !found.iter().zip(want).all(|(found, want)| (found - want).abs() < 1e-5) {
                return Err(format!("{layer:?}: {found:?} is not {want:?}").into());
            }
        }
    }
    let y = gpu.upload_blocking("y", &[0.0; 24])?;
    let saved = layers[2].forward(&[4, 6], &x, &y)?;
    let refused = |layer: usize, saved, must: &str| match layers[layer].backward(saved, GradOutput::new(&x)) {
        Err(error) if error.to_string().contains(must) => Result::Ok(()),
        other => Err(format!("{other:?} where {must} was to be said").into()),
    };
    refused(0, &saved, "not one of those")?;
    let saved = layers[2].forward(&[4, 6], &x, &x)?;
    refused(2, &saved, "wrote y over x")?;
    let norm = SyncBatchNorm::new(BatchNorm::channels_last(&[4, 6])?, ranks).summed_gradients();
    let inputs = Inputs::new(&values[..]).grad_output(&values);
    match norm.run_backward(&Cpu::new().into(), Backward::new().accumulate(), inputs) {
        Err(wgpu_norm_mpi::Error::Accumulate) => Ok(()),
        other => Err(format!("{other:?} where nothing can be accumulated").into()),
    }
}

impl Case {
    fn new(
        samples: usize,
        channels: usize,
        first: bool,
        element: Element,
        activation: Option<Activation>,
    ) -> Result<Self> {
        let shape = if first { vec![samples, channels, 3] } else { vec![samples, channels] };
        let length = shape.iter().product();
        let array = |mean: f32, from: usize| {
            ArrayD::from_shape_vec(
                shape.clone(),
                (0..length).map(|i| element.rounded(mean + noise(i + from))).collect(),
            )
        };
        let vector = |mean: f32| ArrayD::from_shape_fn(vec![channels], |c| element.rounded(mean + 0.5 * noise(c[0])));
        let mean = if element == Element::F32 { 1e6 } else { 100.0 };
        let (x, dy, weight, bias) = (array(mean, 0)?, array(0.1, length)?, vector(1.5), vector(0.5));
        let estimator = if first { VarianceEstimator::Unbiased } else { VarianceEstimator::Biased };
        let axis = 1;

        let [x64, dy64, weight64, bias64] = [&x, &dy, &weight, &bias].map(|of| of.mapv(f64::from));
        let (by, plus) = (Some(weight64.view()), Some(bias64.view()));
        let want = reference::batch_norm_train(x64.view(), axis, by.clone(), plus, 1e-5);
        let back =
            |dy: ArrayViewD<'_, f64>| reference::batch_norm_train_backward(x64.view(), dy, axis, by.clone(), 1e-5);
        let (back, want) = match activation {
            Some(activation) => (
                reference::activated_backward(&want, dy64.view(), activation, back),
                reference::activated(want, activation),
            ),
            None => (back(dy64.view()), want),
        };

        let [flat_x, flat_dy, weight, bias] = [&x, &dy, &weight, &bias].map(flat);
        let norm = BatchNorm::new(&shape, axis as isize)?.running_variance(estimator);
        let norm: Box<dyn Norm> = match activation {
            Some(activation) => Box::new(norm.then(activation)),
            None => Box::new(norm),
        };
        let given = Inputs::new(&flat_x[..]).weight(&weight);
        let inputs = given.bias(&bias);
        let (mean, var) = (vec![0.0; channels], vec![1.0; channels]);
        let whole = Cpu::new().run(norm.as_ref(), inputs.running_mean(&mean).running_var(&var))?;
        // The slope of an activation goes by the bias.
        let inputs = if activation.is_some() { inputs } else { given };
        let gradients = Cpu::new().run_backward(norm.as_ref(), Backward::new(), inputs.grad_output(&flat_dy))?;
        let whole_dx = gradients.input.ok_or("no gradient")?;
        Ok(Self { element, x, dy, axis, weight, bias, estimator, activation, want, back, whole, whole_dx })
    }

    /// Which samples are those of a rank.
    fn samples(&self, parts: &[usize], rank: usize) -> Range<usize> {
        let start = parts[..rank].iter().sum();
        start..start + parts[rank]
    }

    fn part<T: Clone>(&self, whole: &ArrayD<T>, parts: &[usize], rank: usize) -> ArrayD<T> {
        whole.slice_axis(Axis(0), Slice::from(self.samples(parts, rank))).to_owned()
    }

    fn norm(&self, samples: usize) -> Result<BatchNorm> {
        let mut shape = self.x.shape().to_vec();
        shape[0] = samples;
        Ok(BatchNorm::new(&shape, self.axis as isize)?.running_variance(self.estimator))
    }

    /// Weight and bias are of either type.
    fn by_specification<T: Number>(
        &self,
        ranks: &Ranks,
        parts: &[usize],
        engine: &Engine,
        summed: bool,
    ) -> Result<(Found, Merged)> {
        let stored = |values: &[f32]| bytemuck::pod_collect_to_vec::<u8, T>(&self.element.bytes_of(values));
        let [x, dy] = [&self.x, &self.dy].map(|whole| stored(&flat(&self.part(whole, parts, ranks.rank()))));
        let weight = stored(&self.weight);
        let norm = SyncBatchNorm::new(self.norm(parts[ranks.rank()])?, ranks);
        let norm = if summed { norm.summed_gradients() } else { norm };
        let _ = ranks.take_spent();
        let inputs = Inputs::new(&x[..]).weight(&weight);
        let (y, merged) = norm.run(engine, inputs.bias(&self.bias))?;
        let inputs = inputs.grad_output(&dy).statistics(merged.statistics());
        let gradients = norm.run_backward(engine, Backward::new(), inputs)?;
        let spent = ranks.take_spent();
        let channels = self.weight.len();
        let (mut mean, mut var, mut batches) = (vec![0.0; channels], vec![1.0; channels], 0);
        merged.track(&mut mean, &mut var, Some(&mut batches))?;
        let of = |gradient: Option<Vec<f32>>| gradient.ok_or("no gradient");
        let values = |stored: &[T]| self.element.values_of(bytemuck::cast_slice(stored));
        let (y, dx) = (values(&y), values(&gradients.input.ok_or("no gradient")?));
        let (dweight, dbias) = (of(gradients.weight)?, of(gradients.bias)?);
        Ok((Found { y, dx, dweight, dbias, mean, var, batches, spent }, merged))
    }

    fn by_layer(&self, ranks: &Ranks, parts: &[usize], gpu: &Gpu, summed: bool) -> Result<Found> {
        let channels = self.weight.len();
        let options = BatchNormOptions::new(channels).channel_axis(self.axis as isize).running_variance(self.estimator);
        let options = options.stored_as(self.element).activation(self.activation);
        let layer = BatchNormLayer::new_blocking(gpu, options)?;
        let write = |buffer: Option<&wgpu::Buffer>, values: &[f32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
            buffer.map(|buffer| gpu.queue().write_buffer(buffer, 0, &bytes)).ok_or("no parameter")
        };
        write(layer.weight(), &self.weight)?;
        write(layer.bias(), &self.bias)?;
        // What was there before is added to.
        write(layer.grad_weight(), &vec![0.25; channels])?;
        let layer = SyncLayer::new(layer, ranks);
        let layer = if summed { layer.summed_gradients() } else { layer };
        let [x, dy] = [&self.x, &self.dy].map(|whole| self.part(whole, parts, ranks.rank()));
        let (shape, length) = (x.shape().to_vec(), x.len());
        let upload = |tensor, values: &[f32]| {
            let mut bytes = self.element.bytes_of(values).into_owned();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            gpu.upload_blocking(tensor, &bytemuck::pod_collect_to_vec::<u8, f32>(&bytes))
        };
        let [x, dy] = [upload("x", &flat(&x))?, upload("dy", &flat(&dy))?];
        let y = upload("y", &vec![0.0; length])?;
        let _ = ranks.take_spent();
        let saved = layer.forward(&shape, &x, &y)?;
        // In place: the gradient of y is not needed again.
        layer.backward(&saved, GradOutput::new(&dy).grad_input(&dy))?;
        let spent = ranks.take_spent();
        let found = gpu.submit_blocking(|_| {}, &[("y", &y), ("dx", &dy)])?;
        let mut found = found.into_iter().map(|words| {
            let mut values = self.element.values_of(bytemuck::cast_slice(&words));
            values.truncate(length);
            values
        });
        let (y, dx) = (found.next().unwrap_or_default(), found.next().unwrap_or_default());
        let running = layer.layer().running_statistics_blocking()?.ok_or("no running statistics")?;
        let gradients = layer.layer().gradients_blocking()?;
        let dweight = gradients.weight.unwrap_or_default().iter().map(|gradient| gradient - 0.25).collect();
        let dbias = gradients.bias.unwrap_or_default();
        let RunningStatistics { mean, var, num_batches_tracked: batches, .. } = running;
        Ok(Found { y, dx, dweight, dbias, mean, var, batches, spent })
    }

    /// To float64, to the whole batch on the CPU, and to the other ranks.
    fn hold(&self, how: &str, ranks: &Ranks, parts: &[usize], summed: bool, found: &Found) -> Result<()> {
        let Self { want, back, whole, .. } = self;
        let channels = self.weight.len();
        let what = format!("{parts:?}, {channels} channels of {:?} {}, by {how}", self.x.shape(), self.element);
        let rank = ranks.rank();
        let mut line = String::new();
        let mut near_of = |element, name: &str, got: &[f32], want: ArrayViewD<'_, f64>, scale: ArrayViewD<'_, f64>| {
            let got = ArrayD::from_shape_vec(want.raw_dim(), got.to_vec())?;
            let off = largest_error_of(element, got.view(), want, scale).map_or(0.0, |worst| worst.relative);
            line += &format!(" {name} {off:.1e}");
            if off <= BOUND { Result::Ok(()) } else { Err(format!("{what}: {name} is off by {off:.1e}").into()) }
        };
        for (name, got, want, whole, scale) in [
            ("y", &found.y, &want.y, &whole.y, &want.scale),
            ("dx", &found.dx, &back.dx, &self.whole_dx, &back.dx_scale),
        ] {
            let whole = ArrayD::from_shape_vec(self.x.shape(), whole.clone())?.mapv(f64::from);
            let [want, whole, scale] = [want, &whole, scale].map(|of| self.part(of, parts, rank));
            near_of(self.element, name, got, want.view(), scale.view())?;
            near_of(self.element, &format!("{name} of the whole"), got, whole.view(), scale.view())?;
        }
        let mut near = |name: &str, got: &[f32], want: ArrayViewD<'_, f64>, scale: ArrayViewD<'_, f64>| {
            near_of(Element::F32, name, got, want, scale)
        };
        // The gradients of this rank add up.
        let add = |gradient: &[f32]| -> Result<Vec<f32>> {
            let sums =
                if summed { gradient.to_vec() } else { ranks.sum(gradient)?.iter().map(|&v| v as f32).collect() };
            Ok(sums)
        };
        near("dweight", &add(&found.dweight)?, back.dweight.view(), back.dweight_scale.view())?;
        near("dbias", &add(&found.dbias)?, back.dbias.view(), back.dbias_scale.view())?;
        let running =
            [("running mean", &found.mean, &whole.running_mean), ("running variance", &found.var, &whole.running_var)];
        for (name, got, want) in running {
            let want = want.iter().flatten().map(|&value| f64::from(value)).collect();
            let want = ArrayD::from_shape_vec(vec![channels], want)?;
            near(name, got, want.view(), want.mapv(f64::abs).view())?;
        }
        equal(&what, &found.batches, &1)?;
        let mut bits: Vec<u32> = found.mean.iter().chain(&found.var).map(|value| value.to_bits()).collect();
        if summed {
            bits.extend(found.dweight.iter().chain(&found.dbias).map(|value| value.to_bits()));
        }
        self.same_on_all(&what, ranks, &bits)?;
        println!("rank {rank} of {}: {what}:{line}; {}", ranks.size(), found.spent);
        Ok(())
    }

    /// Statistics have the same bits on all ranks, and where one device merges the same parts.
    fn hold_bits(&self, ranks: &Ranks, parts: &[usize], merged: &Merged, engine: &Engine) -> Result<()> {
        let bits: Vec<u32> = merged.statistics().iter().map(|value| value.to_bits()).collect();
        self.same_on_all("statistics", ranks, &bits)?;
        let x = flat(&self.part(&self.x, parts, ranks.rank()));
        let norm = self.norm(parts[ranks.rank()])?.without_tracking();
        let stored = norm.clone().stored_as(self.element);
        let all: Vec<Moments> = ranks.gather(&engine.run_moments_blocking(&stored, Inputs::new(&x[..]))?)?;
        let all: &[f32] = bytemuck::cast_slice(&all);
        let (mut y, mut statistics) = (vec![0.0; x.len()], vec![0.0; merged.statistics().len()]);
        let operands = cpu::Operands::new(&x, &mut y).moments(all).statistics_out(&mut statistics);
        Cpu::new().plan_from_moments(&norm, parts.len())?.run(operands)?;
        equal("statistics of one device", &statistics[..], merged.statistics())
    }

    fn same_on_all(&self, what: &str, ranks: &Ranks, bits: &[u32]) -> Result<()> {
        for theirs in ranks.gather(bits)?.chunks(bits.len()) {
            equal(what, theirs, bits)?;
        }
        Ok(())
    }
}

fn equal<T: PartialEq + Debug + ?Sized>(what: &str, found: &T, want: &T) -> Result<()> {
    if found == want { Ok(()) } else { Err(format!("{what}: {found:?} is not {want:?}").into()) }
}

fn flat(array: &ArrayD<f32>) -> Vec<f32> {
    array.iter().copied().collect()
}

/// In -1 to 1: multiplication by an odd number mixes bits well enough for this.
fn noise(i: usize) -> f32 {
    ((i as u32 + 1).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0
}
