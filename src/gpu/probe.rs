//! How a device's floating point behaves, found by running it.

use half::f16;

use crate::error::{Error, RunError};
use crate::gpu::bind::fill;
use crate::gpu::context::module;
use crate::gpu::plan::Capabilities;
use crate::gpu::scope::Scopes;
use crate::gpu::shader::{ENTRY, files, text};
use crate::gpu::{Gpu, Safety};

/// How a device's floating point behaves, found by running a few small shaders with the arithmetic that norms use.
///
/// [`Capabilities::of`](crate::Capabilities::of) uses a static rule: only software Vulkan is trusted to compute
/// `(x - shift) - delta` as written. A probe measures it. To plan with the result:
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::Gpu;
///
/// let gpu = Gpu::new_blocking()?.probed_blocking()?;
/// # Ok(())
/// # }
/// ```
///
/// On your own device:
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Capabilities, Context, Probe};
///
/// # let gpu = wgpu_norm::Gpu::new_blocking()?;
/// # let (device, queue) = (gpu.device(), gpu.queue());
/// let probe = Probe::of_blocking(device, queue)?;
/// assert!(probe.keeps_hidden(), "no norm is right at a mean far from 0 here");
/// let context = Context::with_capabilities(device, Capabilities::of(device).after(&probe));
/// # Ok(())
/// # }
/// ```
///
/// The command `wgpu-norm doctor` checks whole norms.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Probe {
    /// The largest error of a plain `(x - shift) - delta`, for data of mean 1e6 and standard deviation 1, in standard
    /// deviations: about 1e-7, or 0.03 if the compiler turns it into `x - (shift + delta)`.
    pub plain_error: f64,
    /// The same error if the subtraction is hidden from the compiler, as in plans for devices that
    /// [reassociate](crate::Capabilities::reassociates).
    pub hidden_error: f64,
    /// The largest error from moving the centre of a mean stored as `shift + delta`, in standard deviations.
    pub two_sum_error: f64,
    /// Whether denormal operands are flushed to 0.
    pub flushes_denormal_operands: bool,
    /// Whether denormal results are flushed to 0.
    pub flushes_denormal_results: bool,
    /// Whether `a * b + c` is rounded once rather than twice.
    pub fuses_multiply_add: bool,
    /// The largest error of a division, in units in the last place. The best possible is 0.5.
    pub division_ulp: f64,
    /// The largest error of a square root, in units in the last place.
    pub sqrt_ulp: f64,
    /// Whether `pack2x16float` rounds to the nearest f16, ties to even, and beyond the largest to infinity, products as well, each of which
    /// is a number of f32 first.
    pub packs_exactly: bool,
    /// Number of iterations that one invocation ran of a loop of [`Probe::ITERATIONS`].
    pub iterations: u32,
    /// Number of iterations that it ran of two consecutive loops of half as many each. Some drivers limit the sum.
    pub iterations_of_two: u32,
    /// Rules of IEEE 754 on NaN and infinities that do not hold.
    pub not_ieee: Vec<&'static str>,
}

/// Most error, in standard deviations, that is rounding. What it is told from is some ten thousand times larger.
const ROUNDING: f64 = 1e-6;

/// What a driver that stops at 65,535 iterations leaves of two loops. Every plan stays below.
const ENOUGH_ITERATIONS: u32 = 65_534;

/// Where numbers lie in the buffers of `shaders/probe/arithmetic.wgsl`: single ones, centres that move, and pairs.
const CENTERS: usize = 16;
const PAIRS: usize = 32;
const PAIR_COUNT: usize = 4096;

/// A denormal that becomes normal when multiplied by this.
const DENORMAL: f32 = f32::MIN_POSITIVE / 1024.0;
const LARGE: f32 = 16_777_216.0;

/// `FACTOR * FACTOR` is halfway between two numbers, the lower of which is `-ADDEND`.
const FACTOR: f32 = 1.0 + 1.0 / 4096.0;
const ADDEND: f32 = -(1.0 + 1.0 / 2048.0);

/// A centre such as data of mean 1e6 and standard deviation 1 have, and what follows the subtraction.
const SHIFT: f32 = 1_000_000.0;
const DELTA: f32 = 0.017_123;
const SCALE: f32 = 1.2345;
const BIAS: f32 = 0.3;

/// Elements before the first `x` in `shaders/probe/subtractions.wgsl`.
const BEFORE_X: usize = 4;

const SUBTRACTIONS: &str = "probe/subtractions";
const ARITHMETIC: &str = "probe/arithmetic";
const LOOPS: &str = "probe/loops";
const PACKING: &str = "probe/packing";

impl Probe {
    /// Number of loop iterations that the probe tries: more than the 65,535 at which some drivers silently stop. No plan
    /// needs as many.
    pub const ITERATIONS: u32 = 100_000;

    /// Probes a device. Unlike [`Context`](crate::Context), this submits to the queue and waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if the device refuses a buffer or the commands, if it is lost, or if the queue belongs to another device.
    pub async fn of(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Self, Error> {
        Self::of_gpu(&Gpu::from_device(device, queue)).await
    }

    async fn of_gpu(gpu: &Gpu) -> Result<Self, Error> {
        let mut plain_error = 0.0f64;
        let mut hidden_error = 0.0f64;
        for width in [1, 4] {
            for (hide, error) in [(false, &mut plain_error), (true, &mut hidden_error)] {
                let given = elements(width);
                let found = run(gpu, &source(SUBTRACTIONS, width), hide, &given).await?;
                *error = error.max(error_of_elements(width, &given, &found));
            }
        }
        let given = numbers();
        let found = run(gpu, &source(ARITHMETIC, 1), false, &given).await?;
        let (one, half) = (Self::ITERATIONS as f32, (Self::ITERATIONS / 2) as f32);
        let [mut iterations, mut iterations_of_two] = [0, 0];
        for (loops, ran) in [([one, 0.0], &mut iterations), ([half, half], &mut iterations_of_two)] {
            let counts = run(gpu, &source(LOOPS, 1), false, &loops).await?;
            *ran = counts.iter().sum::<f32>() as u32;
        }
        let packed = packs();
        let packs_exactly = match run(gpu, &source(PACKING, 1), false, &packed).await {
            Ok(found) => are_exact(&packed, &found),
            // Some devices have no such built-in, and no other norm than those of f16 needs it.
            Err(Error::Run(RunError::Submit { .. })) => false,
            Err(error) => return Err(error),
        };
        let at = |slot: usize| found.get(slot).copied().unwrap_or(f32::NAN);
        let pairs = given.chunks_exact(2).zip(found.chunks_exact(2)).skip(PAIRS / 2);
        let ulps: Vec<[f64; 2]> = pairs
            .map(|(given, found)| {
                let (a, b) = (f64::from(given[0]), f64::from(given[1]));
                [ulps(found[0], a / b), ulps(found[1], a.sqrt())]
            })
            .collect();
        Ok(Self {
            plain_error,
            hidden_error,
            two_sum_error: error_of_centers(&given, &found),
            flushes_denormal_operands: at(0) == 0.0,
            flushes_denormal_results: at(1) == 0.0,
            fuses_multiply_add: at(2) != 0.0,
            division_ulp: ulps.iter().fold(0.0, |most, ulps| largest(most, ulps[0])),
            sqrt_ulp: ulps.iter().fold(0.0, |most, ulps| largest(most, ulps[1])),
            packs_exactly,
            iterations,
            iterations_of_two,
            not_ieee: [
                ("NaN stored is NaN", at(3).is_nan()),
                ("NaN * 0 is NaN", at(4).is_nan()),
                ("Inf - Inf is NaN", at(5).is_nan()),
                ("0 * Inf is NaN", at(6).is_nan()),
                ("1 / 0 is Inf", at(7) == f32::INFINITY),
                ("NaN < 0 is false", at(8).is_nan()),
                ("the bits of NaN are NaN's", at(9) == 1.0),
                ("the bits of Inf are Inf's", at(10) == 1.0),
            ]
            .into_iter()
            .filter_map(|(rule, holds)| (!holds).then_some(rule))
            .collect(),
        })
    }

    /// [`Probe::of`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Probe::of`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn of_blocking(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Self, Error> {
        pollster::block_on(Self::of(device, queue))
    }

    /// Whether `(x - shift) - delta` is computed as written.
    #[must_use]
    pub fn keeps_subtractions(&self) -> bool {
        self.plain_error <= ROUNDING
    }

    /// Whether `(x - shift) - delta` is computed as written if it is hidden from the compiler.
    #[must_use]
    pub fn keeps_hidden_subtractions(&self) -> bool {
        self.hidden_error <= ROUNDING
    }

    /// Whether a mean keeps its accuracy when its centre is moved.
    #[must_use]
    pub fn keeps_two_sums(&self) -> bool {
        self.two_sum_error <= ROUNDING
    }

    /// Whether an invocation can run as many loop iterations as a norm may need.
    #[must_use]
    pub fn runs_loops(&self) -> bool {
        self.iterations.min(self.iterations_of_two) >= ENOUGH_ITERATIONS
    }

    /// Whether all arithmetic that is hidden from the compiler is computed as written. Every norm needs this. If it does not
    /// hold, do not use the device.
    #[must_use]
    pub fn keeps_hidden(&self) -> bool {
        self.keeps_hidden_subtractions() && self.keeps_two_sums()
    }
}

impl Capabilities {
    /// These capabilities, with [`reassociates`](Self::reassociates) set if `probe` found subtractions that are not computed as
    /// written. A probe never clears it: that one small shader came out right proves nothing for the other kernels. It sets
    /// [`exact_pack`](Self::exact_pack), which is of one instruction, unless the adapter is a software one.
    #[must_use]
    pub fn after(mut self, probe: &Probe) -> Self {
        self.reassociates |= !probe.keeps_subtractions();
        self.exact_pack = probe.packs_exactly && !self.software;
        self
    }
}

impl Gpu {
    /// Probes how the floating point of this device behaves.
    ///
    /// # Errors
    ///
    /// As [`Probe::of`].
    pub async fn probe(&self) -> Result<Probe, Error> {
        Probe::of_gpu(self).await
    }

    /// [`Gpu::probe`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::probe`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn probe_blocking(&self) -> Result<Probe, Error> {
        pollster::block_on(self.probe())
    }

    /// This device, with plans that take into account what a [`Probe`] finds. [`Gpu::new`] does not probe, since that compiles
    /// a few small shaders.
    ///
    /// # Errors
    ///
    /// As [`Gpu::probe`].
    pub async fn probed(self) -> Result<Self, Error> {
        let capabilities = self.context().capabilities().clone().after(&self.probe().await?);
        Ok(self.with_capabilities(capabilities))
    }

    /// [`Gpu::probed`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::probed`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn probed_blocking(self) -> Result<Self, Error> {
        pollster::block_on(self.probed())
    }
}

/// A shader that takes so many elements at a time.
fn source(kernel: &'static str, width: usize) -> String {
    text(&files(kernel, |slot| match (slot, width) {
        ("value", _) => "slots/value/group",
        (_, 1) => "slots/width/scalar",
        _ => "slots/width/quad",
    }))
}

/// Numbers that are the same on every run, in 0 to 1.
fn uniform(seed: u32) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // As many bits as an f32 holds.
        (state >> 8) as f32 / 16_777_216.0
    }
}

/// Centre, factor and bias, then data of mean 1e6, in packs of `width`.
fn elements(width: usize) -> Vec<f32> {
    let mut next = uniform(1);
    let constants = [SHIFT, DELTA, SCALE, BIAS].into_iter().flat_map(|v| std::iter::repeat_n(v, width));
    constants.chain((0..64 * width).map(|_| SHIFT + 8.0 * next() - 4.0)).collect()
}

/// What `shaders/probe/subtractions.wgsl` is off by, before the factor.
fn error_of_elements(width: usize, given: &[f32], found: &[f32]) -> f64 {
    let errors = given.iter().zip(found).skip(BEFORE_X * width).map(|(&x, &found)| {
        let e = f64::from(x) - f64::from(SHIFT) - f64::from(DELTA);
        // Relative to the largest there is, 4 standard deviations.
        ((f64::from(found) - f64::from(BIAS)) / f64::from(SCALE) - e).abs() / 4.0
    });
    errors.fold(0.0, largest)
}

/// The input of `shaders/probe/arithmetic.wgsl`.
fn numbers() -> Vec<f32> {
    let mut next = uniform(2);
    let single =
        [DENORMAL, LARGE, f32::MIN_POSITIVE, 0.5, f32::NAN, f32::INFINITY, 0.0, 1.0, FACTOR, ADDEND, f32::INFINITY];
    let mut numbers = single.to_vec();
    numbers.resize(CENTERS, 0.0);
    // The shift as the first element left it, a little off the mean; and once an outlier.
    for center in 0..(PAIRS - CENTERS) / 2 {
        let outlier = center == 0;
        numbers.extend(if outlier { [SHIFT, -SHIFT + DELTA] } else { [SHIFT + 4.0 * next(), 8.0 * next() - 4.0] });
    }
    numbers.extend((0..2 * PAIR_COUNT).map(|_| (1.0 + next()) * (80.0 * next() - 40.0).round().exp2()));
    numbers
}

/// Elements from one f16 to the next that the probe takes: each exponent has many.
const STEP: usize = 13;

/// The input of `shaders/probe/packing.wgsl`, in pairs: numbers of f16 and what lies halfway to the next, with its neighbours in f32, the
/// ends; then factors of each number halfway, which their product is in f32, but not exactly.
fn packs() -> Vec<f32> {
    let mut next = uniform(3);
    let mut numbers = vec![65_504.0, 65_519.996, 65_520.0, -65_520.0, 65_536.0, 1e38, f32::INFINITY, f32::NEG_INFINITY];
    numbers.extend([f32::NAN, 0.0, -0.0, 2f32.powi(-25), 2f32.powi(-25).next_up(), -(2f32.powi(-25)), 1.0, 1.0]);
    let mut factors = Vec::new();
    for bits in (0..f16::MAX.to_bits()).step_by(STEP) {
        let low = f16::from_bits(bits).to_f32();
        let halfway = f32::midpoint(low, f16::from_bits(bits + 1).to_f32());
        numbers.extend([-low, halfway, halfway.next_down(), -halfway.next_up()]);
        let pairs = (0..64).map(|_| 1.0 + next()).map(|factor| [halfway / factor, factor]);
        let inexact = |[a, b]: &[f32; 2]| a * b == halfway && f64::from(*a) * f64::from(*b) != f64::from(halfway);
        factors.extend(pairs.into_iter().find(inexact).into_iter().flatten());
    }
    numbers.extend(factors);
    numbers
}

/// Whether all pairs, and the products of each with itself the other way round, are packed as they should be.
fn are_exact(given: &[f32], found: &[f32]) -> bool {
    let is_nearest = |bits: u32, v: f32| {
        let (found, nearest) = (f16::from_bits(bits as u16), f16::from_f32(v));
        found.to_bits() == nearest.to_bits() || found.is_nan() && nearest.is_nan()
    };
    let is_packed = |word: f32, [a, b]: [f32; 2]| is_nearest(word.to_bits(), a) && is_nearest(word.to_bits() >> 16, b);
    let mut pairs = given.chunks_exact(2).zip(found.chunks_exact(2));
    pairs.all(|(of, words)| is_packed(words[0], [of[0], of[1]]) && is_packed(words[1], [of[0] * of[1]; 2]))
}

/// What the moved centres are off by.
fn error_of_centers(given: &[f32], found: &[f32]) -> f64 {
    let pairs = given.chunks_exact(2).zip(found.chunks_exact(2)).take(PAIRS / 2).skip(CENTERS / 2);
    let sum = |pair: &[f32]| f64::from(pair[0]) + f64::from(pair[1]);
    pairs.map(|(given, found)| (sum(given) - sum(found)).abs()).fold(0.0, largest)
}

/// The distance between a positive result and the true value, in units of the result's last place.
fn ulps(found: f32, exact: f64) -> f64 {
    let near = exact as f32;
    let next = f32::from_bits(near.to_bits().saturating_add(1));
    (f64::from(found) - exact).abs() / (f64::from(next) - f64::from(near))
}

/// The larger, and infinity rather than NaN: NaN where there should be a number is as wrong as can be.
fn largest(most: f64, error: f64) -> f64 {
    if error.is_nan() { f64::INFINITY } else { most.max(error) }
}

/// Runs a shader of one invocation, and gives back as many numbers as it was given.
async fn run(gpu: &Gpu, source: &str, hide_subtractions: bool, given: &[f32]) -> Result<Vec<f32>, Error> {
    let scopes = Scopes::open(gpu.device());
    let (pipeline, group, output) = bind(gpu.device(), source, hide_subtractions, bytemuck::cast_slice(given));
    if let Some(error) = scopes.close().await {
        return Err(gpu.blame(RunError::Submit { description: error.to_string() }));
    }
    let record = |encoder: &mut wgpu::CommandEncoder| {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    };
    Ok(gpu.submit(record, &[("probe", &output)]).await?.into_iter().flatten().collect())
}

/// The shader, what it is bound to, and where it writes.
fn bind(
    device: &wgpu::Device,
    source: &str,
    hide_subtractions: bool,
    given: &[u8],
) -> (wgpu::ComputePipeline, wgpu::BindGroup, wgpu::Buffer) {
    let name = "wgpu-norm probe";
    let (label, module) = (Some(name), module(device, Safety::Checked, name, source.to_owned()));
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: None,
        module: &module,
        entry_point: Some(ENTRY),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[("hide_subtractions", f64::from(u8::from(hide_subtractions)))],
            ..Default::default()
        },
        cache: None,
    });
    let size = given.len() as u64;
    let buffer = |size: u64, usage: wgpu::BufferUsages, mapped: bool| {
        device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: mapped })
    };
    // New buffers are all zeros, and the one field of the uniform that is read is `zero`.
    let params = buffer(512, wgpu::BufferUsages::UNIFORM, false);
    let input = buffer(size, wgpu::BufferUsages::STORAGE, true);
    fill(&input, given);
    let output = buffer(size, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC, false);
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[(0, &params), (1, &input), (2, &output)]
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() }),
    });
    (pipeline, group, output)
}

#[cfg(test)]
mod tests {
    use naga::back::{hlsl, msl, pipeline_constants, spv};
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    use super::*;

    /// Where there is no Mac and no Windows at hand, what wgpu would tell them is at least well-formed.
    #[test]
    fn every_backend_takes_the_shaders() {
        for source in [
            source(SUBTRACTIONS, 1),
            source(SUBTRACTIONS, 4),
            source(ARITHMETIC, 1),
            source(LOOPS, 1),
            source(PACKING, 1),
        ] {
            let module = naga::front::wgsl::parse_str(&source).unwrap();
            let mut validator = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32);
            let info = validator.validate(&module).unwrap();
            let entry = Some((naga::ShaderStage::Compute, ENTRY));
            let constants = [("hide_subtractions".to_owned(), 1.0)].into_iter().collect();
            let (module, info) = pipeline_constants::process_overrides(&module, &info, entry, &constants).unwrap();
            spv::write_vec(&module, &info, &spv::Options::default(), None).unwrap();
            msl::write_string(&module, &info, &msl::Options::default(), &Default::default()).unwrap();
            let mut text = String::new();
            hlsl::Writer::new(&mut text, &hlsl::Options::default(), &Default::default())
                .write(&module, &info, None)
                .unwrap();
        }
    }

    /// As a device without f16 refuses its shader.
    #[test]
    fn a_shader_that_is_refused_is_an_error() {
        let gpu = Gpu::new_blocking().unwrap();
        let refused =
            pollster::block_on(run(&gpu, "@compute @workgroup_size(1) fn main() { nothing(); }", false, &[0.0]));
        assert!(matches!(refused, Err(Error::Run(RunError::Submit { .. }))), "{refused:?}");
    }

    /// Folded, or not written at all, the subtraction is told from rounding.
    #[test]
    fn a_folded_subtraction_is_noticed() {
        for width in [1, 4] {
            let given = elements(width);
            let apply = |e: &dyn Fn(f32) -> f32| given.iter().map(|&x| e(x) * SCALE + BIAS).collect::<Vec<_>>();
            let error = |found: Vec<f32>| error_of_elements(width, &given, &found);
            assert!(error(apply(&|x| (x - SHIFT) - DELTA)) <= ROUNDING);
            assert!(error(apply(&|x| x - (SHIFT + DELTA))) > 1e3 * ROUNDING);
            assert!(error(apply(&|x| (x - DELTA) - SHIFT)) > 1e3 * ROUNDING);
            assert_eq!(error(vec![f32::NAN; given.len()]), f64::INFINITY);
        }
    }

    /// Truncated, with ties away from 0, with NaN for infinity, flushed, or with a product that is rounded once.
    #[test]
    fn a_pack_that_is_not_exact_is_noticed() {
        let given = packs();
        let packed = |product: &dyn Fn(f32, f32) -> f64, pack: &dyn Fn(f64) -> u16| {
            let word = |[a, b]: [f64; 2]| f32::from_bits(u32::from(pack(a)) | u32::from(pack(b)) << 16);
            let found = given.chunks_exact(2).flat_map(|pair| {
                let [a, b] = [pair[0], pair[1]];
                [word([a.into(), b.into()]), word([product(a, b); 2])]
            });
            are_exact(&given, &found.collect::<Vec<_>>())
        };
        let twice: &dyn Fn(f32, f32) -> f64 = &|a, b| f64::from(a * b);
        // Of f64 at once: `f16::from_f64` leaves out its last bits.
        let nearest = |v: f64| {
            let near = f16::from_f32(v as f32);
            let off = |bits: u16| (f16::from_bits(bits).to_f64() - v).abs();
            let bits = near.to_bits();
            let beside = [bits.wrapping_sub(1), bits + 1].into_iter().find(|&beside| off(beside) < off(bits));
            if near.is_finite() { beside.unwrap_or(bits) } else { bits }
        };
        assert!(packed(twice, &nearest));
        assert!(!packed(&|a, b| f64::from(a) * f64::from(b), &nearest));
        let toward_zero = |v: f64| {
            let near = f16::from_bits(nearest(v));
            if near.to_f64().abs() > v.abs() { near.to_bits() - 1 } else { near.to_bits() }
        };
        assert!(!packed(twice, &toward_zero));
        let away = |v: f64| {
            let near = f16::from_bits(nearest(v));
            let up = f16::from_bits(near.to_bits().wrapping_add(1));
            let tie = (up.to_f64() - v).abs() == (near.to_f64() - v).abs() && up.is_finite();
            if tie && up.to_f64().abs() > near.to_f64().abs() { up.to_bits() } else { near.to_bits() }
        };
        assert!(!packed(twice, &away));
        let nan = |v: f64| {
            if v.is_finite() && f16::from_bits(nearest(v)).is_infinite() { f16::NAN.to_bits() } else { nearest(v) }
        };
        assert!(!packed(twice, &nan));
        let largest = |v: f64| if f16::from_bits(nearest(v)).is_infinite() { 0x7bff } else { nearest(v) };
        assert!(!packed(twice, &largest));
        let flushed = |v: f64| if v.abs() < f64::from(f16::MIN_POSITIVE) { 0 } else { nearest(v) };
        assert!(!packed(twice, &flushed));
    }

    #[test]
    fn a_folded_two_sum_is_noticed() {
        let given = numbers();
        let moved = |delta: &dyn Fn(f32, f32, f32) -> f32| {
            given
                .chunks_exact(2)
                .flat_map(|pair| {
                    let sum = pair[0] + pair[1];
                    [sum, delta(pair[0], pair[1], sum)]
                })
                .collect::<Vec<_>>()
        };
        let kept = moved(&|shift, mean, sum| {
            let of_mean = sum - shift;
            (shift - (sum - of_mean)) + (mean - of_mean)
        });
        assert!(error_of_centers(&given, &kept) <= ROUNDING);
        assert!(error_of_centers(&given, &moved(&|_, _, _| 0.0)) > 1e3 * ROUNDING);
    }
}
