//! What the tests share: the device, data, and every norm as a case with its module of burn, ours and its oracle.

use std::sync::LazyLock;

use burn::module::{Param, RunningState};
use burn::nn;
use burn::tensor::wgpu::{WgpuSetup, wgpu};
use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};
use ndarray::{ArrayD, ArrayViewD};
use pollster::block_on;
use wgpu_norm::Element;
use wgpu_norm::reference::{self, Backward, Forward};
use wgpu_norm_burn as ours;

static STARTED: LazyLock<(Device, WgpuSetup)> = LazyLock::new(|| {
    let (device, setup) = Device::wgpu_options().init_with_setup().unwrap();
    ours::register(&device, &setup).unwrap();
    (device, setup)
});

/// The device of all tests, without autodiff.
pub fn device() -> Device {
    STARTED.0.clone()
}

/// The wgpu handles behind it.
pub fn setup() -> &'static WgpuSetup {
    &STARTED.1
}

/// Another device with its own instance, started by burn alone: from handles that a program has.
pub fn another() -> (Device, WgpuSetup) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    let (device, queue) = block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: adapter.features() - wgpu::Features::MAPPABLE_PRIMARY_BUFFERS,
        required_limits: adapter.limits(),
        ..Default::default()
    }))
    .unwrap();
    let backend = adapter.get_info().backend;
    let setup = WgpuSetup { instance, adapter, device, queue, backend };
    (Device::wgpu_options().setup(setup.clone()).init().unwrap(), setup)
}

/// Numbers in -1 to 1 that depend on `seed` alone.
pub fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(step).collect()
}

pub fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    tensor_of(DType::F32, values, shape, device)
}

/// A tensor of that type, which is made here: burn may have no kernels for it on the device.
pub fn tensor_of<const D: usize>(dtype: DType, values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    let data = TensorData::new(values.to_vec(), shape);
    match dtype {
        // That of data is f32.
        DType::Flex32 => Tensor::<D>::from_data(data, device).cast(dtype),
        dtype => Tensor::from_data(data.convert_dtype(dtype), (device, dtype)),
    }
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_dtype(DType::F32).try_to_vec().unwrap()
}

/// The library's name of a type.
pub fn element(dtype: DType) -> Element {
    match dtype {
        DType::F16 => Element::F16,
        DType::BF16 => Element::Bf16,
        _ => Element::F32,
    }
}

/// Fails unless `got` is within `tolerance * scale` of `want` everywhere, but for the rounding to its type.
pub fn close(what: &str, dtype: DType, got: &[f32], want: &ArrayD<f64>, scale: &ArrayD<f64>, tolerance: f64) {
    let got = ArrayViewD::from_shape(want.raw_dim(), got).unwrap();
    let worst = reference::largest_error_of(element(dtype), got, want.view(), scale.view()).unwrap();
    assert!(worst.relative <= tolerance, "{what}: {worst:?}");
}

/// Fails unless `got` is within `tolerance` of `want`, relative to the largest.
pub fn same(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(1e-6, |largest: f32, value| largest.max(value.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance * scale, "{what}: {got} and not {want} at {i}, of {scale} at most");
    }
}

/// A module of burn or ours, of inputs with four axes.
pub trait Layer {
    fn call(&self, x: Tensor<4>) -> Tensor<4>;
    fn set(&mut self, gamma: Tensor<1>, beta: Tensor<1>);
    fn gradients(&self, gradients: &Gradients) -> [Option<Tensor<1>>; 2];
    fn set_running(&mut self, _mean: Tensor<1>, _variance: Tensor<1>) {}
    /// The running mean and variance.
    fn running(&self) -> Option<[&RunningState<Tensor<1>>; 2]> {
        None
    }
}

/// A parameter that may not be there.
trait Slot {
    fn fill(&mut self, value: Tensor<1>);
    fn gradient(&self, gradients: &Gradients) -> Option<Tensor<1>>;
}

impl Slot for Param<Tensor<1>> {
    fn fill(&mut self, value: Tensor<1>) {
        *self = Param::from_tensor(value);
    }
    fn gradient(&self, gradients: &Gradients) -> Option<Tensor<1>> {
        self.val().grad(gradients)
    }
}

impl Slot for Option<Param<Tensor<1>>> {
    fn fill(&mut self, value: Tensor<1>) {
        if let Some(parameter) = self {
            parameter.fill(value);
        }
    }
    fn gradient(&self, gradients: &Gradients) -> Option<Tensor<1>> {
        self.as_ref()?.gradient(gradients)
    }
}

macro_rules! layers {
    ($($module:ty { $($slot:ident),* } $($running:ident)?;)*) => { $(
        impl Layer for $module {
            fn call(&self, x: Tensor<4>) -> Tensor<4> {
                self.forward(x)
            }
            fn set(&mut self, gamma: Tensor<1>, beta: Tensor<1>) {
                let mut given = [gamma, beta].into_iter();
                $( self.$slot.fill(given.next().unwrap()); )*
            }
            fn gradients(&self, gradients: &Gradients) -> [Option<Tensor<1>>; 2] {
                let mut all = [None, None];
                let given = [$( self.$slot.gradient(gradients) ),*];
                for (to, from) in all.iter_mut().zip(given) {
                    *to = from;
                }
                all
            }
            $( fn $running(&self) -> Option<[&RunningState<Tensor<1>>; 2]> {
                Some([&self.running_mean, &self.running_var])
            }
            fn set_running(&mut self, mean: Tensor<1>, variance: Tensor<1>) {
                (self.running_mean, self.running_var) = (RunningState::new(mean), RunningState::new(variance));
            } )?
        }
    )* };
}

layers! {
    nn::LayerNorm { gamma, beta };
    ours::LayerNorm { gamma, beta };
    nn::RmsNorm { gamma };
    ours::RmsNorm { gamma };
    nn::GroupNorm { gamma, beta };
    ours::GroupNorm { gamma, beta };
    nn::InstanceNorm { gamma, beta };
    ours::InstanceNorm { gamma, beta };
    nn::BatchNorm { gamma, beta } running;
    ours::BatchNorm { gamma, beta } running;
}

/// What a module gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    pub y: Vec<f32>,
    /// The gradients of x, gamma and beta.
    pub gradients: [Option<Vec<f32>>; 3],
    /// The running mean and variance after the call.
    pub running: Option<[Vec<f32>; 2]>,
}

/// What a module takes, of inputs of one shape.
#[derive(Clone)]
pub struct Input {
    pub shape: [usize; 4],
    pub x: Vec<f32>,
    pub dy: Vec<f32>,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub dtype: DType,
    /// The type of gamma and beta, and of running statistics.
    pub parameters: DType,
    /// Whether x is made on the device with its axes in another order, and permuted.
    pub order: [usize; 4],
}

impl Input {
    pub fn new(shape: [usize; 4], parameters: usize) -> Self {
        let count = shape.iter().product();
        Self {
            shape,
            x: random(count, 1).iter().map(|x| 2.0 * x + 0.5).collect(),
            dy: random(count, 2),
            gamma: random(parameters, 3).iter().map(|x| x + 1.5).collect(),
            beta: random(parameters, 4),
            dtype: DType::F32,
            parameters: DType::F32,
            order: [0, 1, 2, 3],
        }
    }

    /// The same of other types, rounded to them.
    pub fn stored_as(mut self, dtype: DType, parameters: DType) -> Self {
        for (values, dtype) in
            [(&mut self.x, dtype), (&mut self.dy, dtype), (&mut self.gamma, parameters), (&mut self.beta, parameters)]
        {
            values.iter_mut().for_each(|value| *value = element(dtype).rounded(*value));
        }
        Self { dtype, parameters, ..self }
    }

    /// x as it lies in memory: along `order`.
    fn tensor(&self, of: &[f32], device: &Device) -> Tensor<4> {
        let tensor = tensor(of, self.shape, device);
        let axes = self.order.map(|axis| axis as isize);
        let mut back = [0; 4];
        for (to, &from) in self.order.iter().enumerate() {
            back[from] = to as isize;
        }
        // A read writes the permuted tensor out.
        let permuted = tensor.permute(axes);
        let shape = permuted.dims();
        tensor_of(self.dtype, &values(permuted), shape, device).permute(back)
    }

    /// A call without gradients.
    pub fn forward<L: Layer>(&self, make: impl FnOnce(&Device) -> L) -> Given {
        let device = device();
        let module = self.module(make, &device);
        let y = values(module.call(self.tensor(&self.x, &device)));
        Given { y, gradients: [None, None, None], running: None }
    }

    /// A call and all gradients, on a device with autodiff.
    pub fn backward<L: Layer>(&self, make: impl FnOnce(&Device) -> L, device: &Device) -> Given {
        let module = self.module(make, device);
        let x = self.tensor(&self.x, device).require_grad();
        let y = module.call(x.clone());
        let dy = self.tensor(&self.dy, device);
        let gradients = (y.clone() * dy).sum().backward();
        let [gamma, beta] = module.gradients(&gradients);
        let dx = x.grad(&gradients);
        assert!(dx.iter().all(|dx| dx.dtype() == self.dtype));
        assert!([&gamma, &beta].into_iter().flatten().all(|gradient| gradient.dtype() == self.parameters));
        let running = module.running().map(|running| running.map(|state| values(state.value_sync())));
        Given { y: values(y), gradients: [dx.map(values), gamma.map(values), beta.map(values)], running }
    }

    pub fn module<L: Layer>(&self, make: impl FnOnce(&Device) -> L, device: &Device) -> L {
        let mut module = make(device);
        let length = self.gamma.len();
        let of_type = |values: &[f32]| tensor_of(self.parameters, values, [length], device);
        module.set(of_type(&self.gamma), of_type(&self.beta));
        module.set_running(of_type(&self.running_mean()), of_type(&self.running_var()));
        module
    }

    pub fn running_mean(&self) -> Vec<f32> {
        self.beta.iter().map(|beta| 0.5 * beta).collect()
    }

    pub fn running_var(&self) -> Vec<f32> {
        self.gamma.clone()
    }
}

/// A norm: its input, both modules, and the oracle.
pub struct Case {
    pub name: &'static str,
    pub input: Input,
    pub ours: Calls,
    pub burn: Calls,
    pub oracle: Oracle,
    /// The oracle of a call without autodiff, if that is another.
    pub eval: Option<Oracle>,
}

/// The calls of one module.
pub struct Calls {
    pub forward: fn(&Input) -> Given,
    pub backward: fn(&Input, &Device) -> Given,
}

type Oracle = fn(&Input) -> (Forward, Backward);

macro_rules! calls {
    ($make:expr) => {
        Calls { forward: |input| input.forward($make), backward: |input, device| input.backward($make, device) }
    };
}

/// A case from how its module is made, by ours and by burn, and its oracle.
macro_rules! case {
    ($name:literal, $shape:expr, $parameters:expr, $ours:expr, $burn:expr, $oracle:expr) => {
        Case {
            name: $name,
            input: Input::new($shape, $parameters),
            ours: calls!($ours),
            burn: calls!($burn),
            oracle: $oracle,
            eval: None,
        }
    };
}

/// burn's module with the channels last, by permutations.
pub struct Permuted<L> {
    inner: L,
}

impl<L: Layer> Layer for Permuted<L> {
    fn call(&self, x: Tensor<4>) -> Tensor<4> {
        self.inner.call(x.permute([0, 3, 1, 2])).permute([0, 2, 3, 1])
    }
    fn set(&mut self, gamma: Tensor<1>, beta: Tensor<1>) {
        self.inner.set(gamma, beta);
    }
    fn gradients(&self, gradients: &Gradients) -> [Option<Tensor<1>>; 2] {
        self.inner.gradients(gradients)
    }
    fn set_running(&mut self, mean: Tensor<1>, variance: Tensor<1>) {
        self.inner.set_running(mean, variance);
    }
    fn running(&self) -> Option<[&RunningState<Tensor<1>>; 2]> {
        self.inner.running()
    }
}

const EPS: f64 = 1e-5;

fn array(values: &[f32], shape: &[usize]) -> ArrayD<f64> {
    ArrayD::from_shape_vec(shape, values.iter().map(|&x| f64::from(x)).collect()).unwrap()
}

/// Calls oracles with x, dy, gamma and beta in float64.
fn with(
    input: &Input,
    forward: impl Fn(ArrayViewD<f64>, ArrayViewD<f64>, ArrayViewD<f64>) -> Forward,
    backward: impl Fn(ArrayViewD<f64>, ArrayViewD<f64>, ArrayViewD<f64>) -> Backward,
) -> (Forward, Backward) {
    let [x, dy] = [&input.x, &input.dy].map(|values| array(values, &input.shape));
    let [gamma, beta] = [&input.gamma, &input.beta].map(|values| array(values, &[values.len()]));
    (forward(x.view(), gamma.view(), beta.view()), backward(x.view(), dy.view(), gamma.view()))
}

fn group(input: &Input, axis: usize, groups: usize) -> (Forward, Backward) {
    with(
        input,
        |x, gamma, beta| reference::group_norm(x, axis, groups, Some(gamma), Some(beta), EPS),
        |x, dy, gamma| reference::group_norm_backward(x, dy, axis, groups, Some(gamma), EPS),
    )
}

fn instance(input: &Input, axis: usize) -> (Forward, Backward) {
    with(
        input,
        |x, gamma, beta| reference::instance_norm(x, axis, Some(gamma), Some(beta), EPS),
        |x, dy, gamma| reference::instance_norm_backward(x, dy, axis, Some(gamma), EPS),
    )
}

fn batch(input: &Input, axis: usize) -> (Forward, Backward) {
    with(
        input,
        |x, gamma, beta| reference::batch_norm_train(x, axis, Some(gamma), Some(beta), EPS),
        |x, dy, gamma| reference::batch_norm_train_backward(x, dy, axis, Some(gamma), EPS),
    )
}

fn batch_eval(input: &Input, axis: usize) -> (Forward, Backward) {
    let [mean, variance] = [input.running_mean(), input.running_var()].map(|values| array(&values, &[values.len()]));
    with(
        input,
        |x, gamma, beta| {
            reference::batch_norm_eval(x, axis, mean.view(), variance.view(), Some(gamma), Some(beta), EPS)
        },
        |x, dy, gamma| reference::batch_norm_eval_backward(x, dy, axis, mean.view(), variance.view(), Some(gamma), EPS),
    )
}

fn frozen(mut module: ours::BatchNorm) -> ours::BatchNorm {
    module.training = Param::from_bool(false);
    module
}

fn frozen_burn(mut module: nn::BatchNorm) -> nn::BatchNorm {
    module.training = Param::from_bool(false);
    module
}

/// Every norm and layout.
pub fn cases() -> Vec<Case> {
    vec![
        case!(
            "LayerNorm",
            [3, 2, 5, 24],
            24,
            |device| ours::LayerNormConfig::new(24).init(device),
            |device| nn::LayerNormConfig::new(24).init(device),
            |input| with(
                input,
                |x, gamma, beta| reference::layer_norm(x, 1, Some(gamma), Some(beta), EPS),
                |x, dy, gamma| reference::layer_norm_backward(x, dy, 1, Some(gamma), EPS),
            )
        ),
        case!(
            "LayerNorm without beta",
            [2, 3, 4, 33],
            33,
            |device| ours::LayerNormConfig::new(33).with_bias(false).init(device),
            |device| nn::LayerNormConfig::new(33).with_bias(false).init(device),
            |input| with(
                input,
                |x, gamma, _| reference::layer_norm(x, 1, Some(gamma), None, EPS),
                |x, dy, gamma| reference::layer_norm_backward(x, dy, 1, Some(gamma), EPS),
            )
        ),
        case!(
            "RmsNorm",
            [3, 2, 5, 24],
            24,
            |device| ours::RmsNormConfig::new(24).init(device),
            |device| nn::RmsNormConfig::new(24).init(device),
            |input| with(
                input,
                |x, gamma, _| reference::rms_norm(x, 1, Some(gamma), None, EPS, 0.0),
                |x, dy, gamma| reference::rms_norm_backward(x, dy, 1, Some(gamma), EPS, 0.0),
            )
        ),
        case!(
            "GroupNorm",
            [3, 12, 5, 7],
            12,
            |device| ours::GroupNormConfig::new(4, 12).init(device),
            |device| nn::GroupNormConfig::new(4, 12).init(device),
            |input| group(input, 1, 4)
        ),
        case!(
            "GroupNorm, channels last",
            [3, 5, 7, 12],
            12,
            |device| ours::GroupNormConfig::new(4, 12).init(device).with_channels_last(true),
            |device| Permuted { inner: nn::GroupNormConfig::new(4, 12).init(device) },
            |input| group(input, 3, 4)
        ),
        case!(
            "GroupNorm without gamma and beta",
            [3, 12, 5, 7],
            12,
            |device| ours::GroupNormConfig::new(4, 12).with_affine(false).init(device),
            |device| nn::GroupNormConfig::new(4, 12).with_affine(false).init(device),
            |input| with(
                input,
                |x, _, _| reference::group_norm(x, 1, 4, None, None, EPS),
                |x, dy, _| reference::group_norm_backward(x, dy, 1, 4, None, EPS),
            )
        ),
        case!(
            "InstanceNorm",
            [3, 6, 5, 7],
            6,
            |device| ours::InstanceNormConfig::new(6).init(device),
            |device| nn::InstanceNormConfig::new(6).init(device),
            |input| instance(input, 1)
        ),
        case!(
            "InstanceNorm, channels last",
            [3, 5, 7, 6],
            6,
            |device| ours::InstanceNormConfig::new(6).init(device).with_channels_last(true),
            |device| Permuted { inner: nn::InstanceNormConfig::new(6).init(device) },
            |input| instance(input, 3)
        ),
        Case {
            eval: Some(|input| batch_eval(input, 1)),
            ..case!(
                "BatchNorm",
                [3, 6, 5, 7],
                6,
                |device| ours::BatchNormConfig::new(6).init(device),
                |device| nn::BatchNormConfig::new(6).init(device),
                |input| batch(input, 1)
            )
        },
        Case {
            eval: Some(|input| batch_eval(input, 3)),
            ..case!(
                "BatchNorm, channels last",
                [3, 5, 7, 6],
                6,
                |device| ours::BatchNormConfig::new(6).init(device).with_channels_last(true),
                |device| Permuted { inner: nn::BatchNormConfig::new(6).init(device) },
                |input| batch(input, 3)
            )
        },
        case!(
            "BatchNorm, frozen",
            [3, 6, 5, 7],
            6,
            |device| frozen(ours::BatchNormConfig::new(6).init(device)),
            |device| frozen_burn(nn::BatchNormConfig::new(6).init(device)),
            |input| batch_eval(input, 1)
        ),
    ]
}
