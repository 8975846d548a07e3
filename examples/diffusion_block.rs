//! What diffusion models do after their norms, in the norm's own dispatch: a residual block of an image model, with SiLU and a time embedding,
//! and the modulated norms of a transformer's block. The rest of both is a shader of this example, on its device and in its compute pass.
//!
//! `cargo run --release --example diffusion_block`
//!
//! Prints how far each step is off float64, and how long a norm takes with what follows it: fused, and in passes of their own.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::Instant;

use wgpu_norm::ndarray::{ArrayD, ArrayViewD, Axis, s};
use wgpu_norm::{
    Activation, Gpu, GroupNorm, LayerNorm, Modulation, Norm, Operands, View, features_for, limits_for, reference, wgpu,
};

/// Samples, channels, rows and columns of the image model.
const IMAGE: [usize; 4] = [2, 32, 64, 64];
const GROUPS: usize = 8;
/// Samples, tokens and width of the transformer.
const TOKENS: [usize; 3] = [2, 256, 384];
const EPS: f32 = 1e-6;
/// How far a step may be off, over its largest value.
const BOUND: f64 = 1e-5;
/// How often a norm is timed, and how often it runs each time.
const ROUNDS: usize = 15;
const RUNS: u32 = 10;

/// The rest of the two networks.
const OWN: &str = include_str!("diffusion_block/own.wgsl");

/// Runs the example; an error means that a claim of it does not hold.
pub fn main() -> Result<(), Box<dyn Error>> {
    let program = Program::new()?;
    println!("on {}", program.gpu.describe());
    let mut steps = image_block(&program)?;
    steps.extend(transformer_block(&program)?);
    let (fused, separate) = (program.errors(&steps, true)?, program.errors(&steps, false)?);

    println!("{:24}{:>14}{:>10}{:>14}{:>14}{:>8}", "", "error, fused", "separate", "time, fused", "separate", "ratio");
    for ((step, fused), separate) in steps.iter().zip(&fused).zip(&separate) {
        print!("{:24}{fused:14.1e}{separate:10.1e}", step.name);
        if !step.separate.is_empty() {
            let [fused, separate] = program.times(step)?;
            print!("{:11.1} us{:11.1} us{:8.2}", 1e6 * fused, 1e6 * separate, fused / separate);
        }
        println!();
    }
    let within = fused.iter().chain(&separate).all(|&error| error <= BOUND);
    if within { Ok(()) } else { Err(format!("a step is off by more than {BOUND:.0e} of its largest value").into()) }
}

/// `x + convolution(silu(norm(convolution(silu(norm(x)))) * (1 + scale) + shift))`, channels first.
fn image_block(program: &Program) -> Result<Vec<Step>, Box<dyn Error>> {
    let [samples, channels, ..] = IMAGE;
    let x = program.tensor(&IMAGE, 1.0, 3.0)?;
    let (weight, bias) = (program.tensor(&[channels], 1.0, 0.5)?, program.tensor(&[channels], 0.1, 0.5)?);
    // What a linear layer makes of the time embedding: the scales of all channels, and their shifts.
    let time = program.tensor(&[samples, 2 * channels], 0.0, 0.5)?;
    let first = program.tensor(&[channels, channels, 3, 3], 0.0, 0.1)?;
    let second = program.tensor(&[channels, channels, 3, 3], 0.01, 0.1)?;
    let [a, b] = &[program.result(&IMAGE)?, program.result(&IMAGE)?];
    let [c, y] = &[program.result(&IMAGE)?, program.result(&IMAGE)?];

    let norm = GroupNorm::channels_first(&IMAGE, GROUPS)?.eps(EPS);
    let modulation = Modulation::new(&[samples, channels, 1, 1]).pitch(2 * channels);
    let of_x = Operands::new(&x.buffer, a).weight(&weight.buffer).bias(&bias.buffer);
    let of_b = Operands::new(b, c).weight(&weight.buffer).bias(&bias.buffer);
    let with_time = of_b.scale(time.chunk(0, channels)).shift(time.chunk(1, channels));
    let activated = program.norm(&norm.clone().then(Activation::Silu), &of_x)?;
    let embedded = program.norm(&norm.clone().modulated(modulation).then(Activation::Silu), &with_time)?;

    let silu = program.own("silu", &[(0, a)], 0);
    let convolve = program.own("convolve", &[(0, b), (1, a), (2, &first.buffer)], 0);
    let modulate = program.own("modulate_and_silu", &[(0, c), (4, &time.buffer)], 0);
    let last = program.own("convolve_and_add", &[(0, y), (1, c), (2, &second.buffer), (3, &x.buffer)], 0);

    let normalized = |x: &ArrayD<f64>| {
        let (weight, bias) = (Some(weight.values.view()), Some(bias.values.view()));
        reference::group_norm(x.view(), 1, GROUPS, weight, bias, f64::from(EPS))
    };
    let of_time = |chunk| Some(time.values_of(chunk, channels).insert_axis(Axis(2)).insert_axis(Axis(3)));
    let want_a = reference::activated(normalized(&x.values), Activation::Silu).y;
    let want_b = convolution(&want_a, &first.values);
    let modulated = reference::modulated(normalized(&want_b), of_time(0), of_time(1), 1.0);
    let want_c = reference::activated(modulated, Activation::Silu).y;
    let want_y = convolution(&want_c, &second.values) + &x.values;

    let (of_x, of_b) = (program.norm(&norm, &of_x)?, program.norm(&norm, &of_b)?);
    Ok(vec![
        Step::new("GroupNorm, SiLU", activated, vec![of_x, silu], a, want_a),
        Step::new("convolution", convolve, vec![], b, want_b),
        Step::new("GroupNorm, time, SiLU", embedded, vec![of_b, modulate], c, want_c),
        Step::new("convolution, x", last, vec![], y, want_y),
    ])
}

/// `x + gate * branch(norm(x) * (1 + scale) + shift)`, twice; the branches, attention and a perceptron, are left out.
fn transformer_block(program: &Program) -> Result<Vec<Step>, Box<dyn Error>> {
    let [samples, _, width] = TOKENS;
    let x = program.tensor(&TOKENS, 1.0, 3.0)?;
    // What a linear layer makes of the condition: shift, scale and gate of one branch, then of the other.
    let projection = program.tensor(&[samples, 6 * width], 0.0, 0.5)?;
    let norm = LayerNorm::new(&TOKENS, &[width])?.eps(EPS);
    let modulated = norm.clone().modulated(Modulation::new(&[samples, 1, width]).pitch(6 * width));

    let [y, sum] = &[program.result(&TOKENS)?, program.result(&TOKENS)?];
    let [second, last] = &[program.result(&TOKENS)?, program.result(&TOKENS)?];
    let chunk = |number| projection.chunk(number, width);
    let of_x = Operands::new(&x.buffer, y);
    let fused = program.norm(&modulated, &of_x.shift(chunk(0)).scale(chunk(1)))?;
    let separate = vec![program.norm(&norm, &of_x)?, program.own("modulate", &[(0, y), (4, &projection.buffer)], 0)];

    // The gate of the first branch is before the second norm.
    let of_branch = Operands::new(y, second).residual(&x.buffer).residual_out(sum).gate(chunk(2));
    let gated = program.norm(&modulated, &of_branch.shift(chunk(3)).scale(chunk(4)))?;
    let separate_of_gated = vec![
        program.own("gate_and_add", &[(0, sum), (1, y), (3, &x.buffer), (4, &projection.buffer)], 0),
        program.norm(&norm, &Operands::new(sum, second))?,
        program.own("modulate", &[(0, second), (4, &projection.buffer)], 3),
    ];
    let gate = program.own("gate_and_add", &[(0, last), (1, second), (3, sum), (4, &projection.buffer)], 3);

    let of_token = |chunk| projection.values_of(chunk, width).insert_axis(Axis(1));
    let normalized = |values: &ArrayD<f64>, first: usize| {
        let out = reference::layer_norm(values.view(), 1, None, None, f64::from(EPS));
        reference::modulated(out, Some(of_token(first + 1)), Some(of_token(first)), 1.0).y
    };
    let want = normalized(&x.values, 0);
    let want_sum = reference::gated(want.view(), Some(x.values.view()), Some(of_token(2)), None).value;
    let want_second = normalized(&want_sum, 3);
    let want_last = reference::gated(want_second.view(), Some(want_sum.view()), Some(of_token(5)), None).value;
    Ok(vec![
        Step::new("LayerNorm, modulated", fused, separate, y, want),
        Step::new("gate, x, LayerNorm", gated, separate_of_gated, second, want_second),
        Step::new("gate, x", gate, vec![], last, want_last),
    ])
}

/// 3 x 3, with zeros around the image, in float64.
fn convolution(x: &ArrayD<f64>, weight: &ArrayD<f64>) -> ArrayD<f64> {
    let [samples, channels, rows, columns] = IMAGE;
    let mut padded = ArrayD::zeros(vec![samples, channels, rows + 2, columns + 2]);
    padded.slice_mut(s![.., .., 1..=rows, 1..=columns]).assign(x);
    let mut y = ArrayD::zeros(x.raw_dim());
    for (at, &weight) in weight.indexed_iter() {
        let moved = padded.slice(s![.., at[1], at[2]..at[2] + rows, at[3]..at[3] + columns]);
        y.slice_mut(s![.., at[0], .., ..]).scaled_add(weight, &moved);
    }
    y
}

/// A tensor on the device, and the same in float64.
struct Tensor {
    buffer: wgpu::Buffer,
    values: ArrayD<f64>,
}

impl Tensor {
    /// Where the chunk of the first row begins.
    fn chunk(&self, number: usize, width: usize) -> View<'_> {
        View::new(&self.buffer, (number * width * size_of::<f32>()) as u64)
    }

    /// The chunk of all rows.
    fn values_of(&self, number: usize, width: usize) -> ArrayViewD<'_, f64> {
        self.values.slice_axis(Axis(1), (number * width..(number + 1) * width).into())
    }
}

/// Records a norm, or a dispatch of [`OWN`].
type Work = Rc<dyn Fn(&mut wgpu::ComputePass<'_>)>;

/// A step of a network: what it does, in one dispatch and, if it is a norm, in several; where its result is, and what that must be.
struct Step {
    name: &'static str,
    fused: [Work; 1],
    separate: Vec<Work>,
    result: wgpu::Buffer,
    want: ArrayD<f64>,
}

impl Step {
    fn new(name: &'static str, fused: Work, separate: Vec<Work>, result: &wgpu::Buffer, want: ArrayD<f64>) -> Self {
        Self { name, fused: [fused], separate, result: result.clone(), want }
    }

    fn record(&self, fused: bool, pass: &mut wgpu::ComputePass<'_>) {
        let works = if fused || self.separate.is_empty() { &self.fused[..] } else { &self.separate };
        works.iter().for_each(|work| work(pass));
    }
}

/// The caller of the library: its device and its shader.
struct Program {
    gpu: Gpu,
    module: wgpu::ShaderModule,
    drawn: Cell<u32>,
}

impl Program {
    fn new() -> Result<Self, Box<dyn Error>> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let (device, queue) = pollster::block_on(async {
            let adapter = wgpu::util::initialize_adapter_from_env_or_default(&instance, None).await?;
            let (required_features, required_limits) = (features_for(&adapter), limits_for(&adapter));
            let descriptor = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
            Ok::<_, Box<dyn Error>>(adapter.request_device(&descriptor).await?)
        })?;
        let ([_, channels, rows, columns], [_, tokens, width]) = (IMAGE, TOKENS);
        let image = format!("const CHANNELS = {channels}; const ROWS = {rows}; const COLUMNS = {columns};");
        let source = format!("{image} const TOKENS = {tokens}; const WIDTH = {width};\n{OWN}");
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("own"), source });
        Ok(Self { gpu: Gpu::from_device(&device, &queue), module, drawn: Cell::new(1) })
    }

    /// Numbers from `mean - spread` to `mean + spread`.
    fn tensor(&self, shape: &[usize], mean: f32, spread: f32) -> Result<Tensor, Box<dyn Error>> {
        let values = ArrayD::from_shape_simple_fn(shape, || {
            self.drawn.set(self.drawn.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
            mean + spread * (self.drawn.get() as i32 as f32 / 2f32.powi(31))
        });
        let buffer = self.gpu.upload_blocking("tensor", &values.iter().copied().collect::<Vec<_>>())?;
        Ok(Tensor { buffer, values: values.mapv(f64::from) })
    }

    /// A buffer for another tensor of this shape.
    fn result(&self, shape: &[usize]) -> Result<wgpu::Buffer, Box<dyn Error>> {
        Ok(self.gpu.upload_blocking("result", &vec![0.0; shape.iter().product()])?)
    }

    fn norm(&self, norm: &dyn Norm, operands: &Operands<'_>) -> Result<Work, Box<dyn Error>> {
        let bound = self.gpu.context().bind(&self.gpu.context().plan(norm)?, operands)?;
        Ok(Rc::new(move |pass| bound.record(pass)))
    }

    /// An entry point of [`OWN`] on these bindings, for each element of the first, which has a multiple of 64.
    fn own(&self, entry_point: &str, buffers: &[(u32, &wgpu::Buffer)], first_chunk: usize) -> Work {
        let constants = [("first_chunk", first_chunk as f64)];
        let device = self.gpu.device();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry_point),
            layout: None,
            module: &self.module,
            entry_point: Some(entry_point),
            compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
            cache: None,
        });
        let entries = buffers.iter().map(|&(binding, buffer)| {
            let resource = buffer.as_entire_binding();
            wgpu::BindGroupEntry { binding, resource }
        });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(entry_point),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries.collect::<Vec<_>>(),
        });
        let workgroups = (buffers[0].1.size() / (64 * size_of::<f32>() as u64)) as u32;
        Rc::new(move |pass| {
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(workgroups, 1, 1);
        })
    }

    /// How far each result is off, over the largest that it should have: all steps are one pass.
    fn errors(&self, steps: &[Step], fused: bool) -> Result<Vec<f64>, Box<dyn Error>> {
        let record = |encoder: &mut wgpu::CommandEncoder| {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            steps.iter().for_each(|step| step.record(fused, &mut pass));
        };
        let results: Vec<_> = steps.iter().map(|step| (step.name, &step.result)).collect();
        let found = self.gpu.submit_blocking(record, &results)?;
        let worst = |(step, found): (&Step, Vec<f32>)| {
            let largest = step.want.fold(0.0, |largest: f64, want| largest.max(want.abs()));
            let found = ArrayD::from_shape_vec(step.want.raw_dim(), found)?;
            let scale = ArrayD::from_elem(step.want.raw_dim(), largest);
            let worst = reference::largest_error(found.view(), step.want.view(), scale.view());
            Ok(worst.map_or(0.0, |worst| worst.relative))
        };
        steps.iter().zip(found).map(worst).collect()
    }

    /// Seconds that a run takes, fused and separate: medians of rounds that are by turns.
    fn times(&self, step: &Step) -> Result<[f64; 2], Box<dyn Error>> {
        let mut times = [vec![], vec![]];
        for _ in 0..ROUNDS {
            for (fused, times) in [true, false].into_iter().zip(&mut times) {
                let start = Instant::now();
                let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
                let mut pass = encoder.begin_compute_pass(&Default::default());
                (0..RUNS).for_each(|_| step.record(fused, &mut pass));
                drop(pass);
                self.gpu.queue().submit([encoder.finish()]);
                self.gpu.device().poll(wgpu::PollType::wait_indefinitely())?;
                times.push(start.elapsed().as_secs_f64() / f64::from(RUNS));
            }
        }
        Ok(times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        }))
    }
}
