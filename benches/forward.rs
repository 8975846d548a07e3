//! Forward passes at sizes that networks have: `cargo bench --features ndarray`.
//!
//! Only dispatches are timed: buffers are bound once, and an iteration is one recording in a pass that is submitted and
//! waited for as a whole. The throughput is that of `x` and `y`, as the plan's `bytes_moved` counts them.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wgpu_norm::ndarray::{ArrayD, ArrayViewD};
use wgpu_norm::reference::{self, Forward, TOLERANCE};
use wgpu_norm::{
    BatchNorm, Bound, DEFAULT_EPS, Gpu, GroupNorm, Inputs, LayerNorm, Norm, Operands, RmsNorm, SpecError, wgpu,
};

const EPS: f64 = DEFAULT_EPS as f64;
const GROUPS: usize = GroupNorm::DEFAULT_NUM_GROUPS;

/// A norm in float64.
type Oracle = fn(ArrayViewD<'_, f64>) -> Forward;
type Case = (&'static str, Box<dyn Norm>, Oracle);

fn cases() -> Result<[Case; 6], SpecError> {
    Ok([
        ("layer 4096x768", Box::new(LayerNorm::new(&[4096, 768], &[768])?), |x| {
            reference::layer_norm(x, 1, None, None, EPS)
        }),
        ("layer 200000x8", Box::new(LayerNorm::new(&[200_000, 8], &[8])?), |x| {
            reference::layer_norm(x, 1, None, None, EPS)
        }),
        ("rms 2048x4096", Box::new(RmsNorm::new(&[2048, 4096], &[4096])?), |x| {
            reference::rms_norm(x, 1, None, None, EPS, 0.0)
        }),
        ("batch 12544x256 train", Box::new(BatchNorm::channels_last(&[12544, 256])?), |x| {
            reference::batch_norm_train(x, 1, None, None, EPS)
        }),
        ("group 8x256x32x32", Box::new(GroupNorm::channels_first(&[8, 256, 32, 32], GROUPS)?), |x| {
            reference::group_norm(x, 1, GROUPS, None, None, EPS)
        }),
        ("group 8x32x32x256", Box::new(GroupNorm::channels_last(&[8, 32, 32, 256], GROUPS)?), |x| {
            reference::group_norm(x, 3, GROUPS, None, None, EPS)
        }),
    ])
}

fn forward(criterion: &mut Criterion) {
    let gpu = Gpu::new_blocking().expect("an adapter");
    println!("on {}", gpu.describe());
    let mut group = criterion.benchmark_group("forward");
    for (name, norm, oracle) in cases().expect("valid shapes") {
        let tensors = Tensors::new(&*norm);
        tensors.verify(&gpu, &*norm, oracle);
        let (bound, bytes) = tensors.bind(&gpu, &*norm);
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(name, |bencher| bencher.iter_custom(|times| elapsed(&gpu, &bound, times)));
    }
    group.finish();
}

/// `x`, and running statistics for those who keep some.
struct Tensors {
    x: ArrayD<f32>,
    running: Option<[ArrayD<f32>; 2]>,
}

impl Tensors {
    fn new(norm: &dyn Norm) -> Self {
        // xorshift: the same numbers every time, from -3 to 5.
        let mut state = 0x9e37_79b9_u32;
        let x = ArrayD::from_shape_simple_fn(norm.shape(), || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 8.0 - 3.0
        });
        let channels = norm.parameter_shape();
        let running = (norm.name() == "BatchNorm").then(|| [ArrayD::zeros(&channels[..]), ArrayD::ones(&channels[..])]);
        Self { x, running }
    }

    /// A wrong result is not worth timing.
    fn verify(&self, gpu: &Gpu, norm: &dyn Norm, oracle: Oracle) {
        let mut inputs = Inputs::new(self.x.view());
        if let Some([mean, var]) = &self.running {
            inputs = inputs.running_mean(mean.view()).running_var(var.view());
        }
        let got = gpu.run_array_blocking(norm, inputs).expect("a result").y;
        let want = oracle(self.x.mapv(f64::from).view());
        let worst = reference::largest_error(got.view(), want.y.view(), want.scale.view()).expect("elements");
        assert!(worst.relative <= TOLERANCE, "{}: {worst:?}", norm.name());
    }

    /// Bound to buffers, and the bytes that one recording moves.
    fn bind(&self, gpu: &Gpu, norm: &dyn Norm) -> (Bound, u64) {
        let upload = |values: &ArrayD<f32>| {
            let contents = bytemuck::cast_slice(values.as_slice().expect("row-major"));
            let usage = wgpu::BufferUsages::STORAGE;
            let descriptor = wgpu::util::BufferInitDescriptor { label: None, contents, usage };
            wgpu::util::DeviceExt::create_buffer_init(gpu.device(), &descriptor)
        };
        let (x, y) = (upload(&self.x), upload(&self.x));
        let running = self.running.as_ref().map(|statistics| statistics.each_ref().map(upload));
        let mut operands = Operands::new(&x, &y);
        if let Some([mean, var]) = &running {
            operands = operands.running_mean(mean).running_var(var);
        }
        let plan = gpu.context().plan(norm).expect("a plan");
        (gpu.context().bind(&plan, &operands).expect("fitting buffers"), plan.bytes_moved())
    }
}

/// The wall time of so many recordings in one pass, from submitting to the end of waiting.
fn elapsed(gpu: &Gpu, bound: &Bound, times: u64) -> Duration {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for _ in 0..times {
        bound.record(&mut pass);
    }
    drop(pass);
    let commands = encoder.finish();
    let start = Instant::now();
    gpu.queue().submit([commands]);
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).expect("the device");
    start.elapsed()
}

// A sample is one pass: long enough to time, short enough for drivers that end what takes seconds.
criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = forward
}
criterion_main!(benches);
