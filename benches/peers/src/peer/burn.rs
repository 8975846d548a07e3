//! burn's own layers on its wgpu backend, on the adapter that wgpu-norm takes.

use std::error::Error;
use std::time::Instant;

use burn::module::{Param, RunningState};
use burn::nn::{
    BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm,
    LayerNormConfig, RmsNorm, RmsNormConfig,
};
use burn::tensor::{Device, Tensor, TensorData};
use wgpu_norm::Gpu;
use wgpu_norm::ndarray::ArrayD;

use super::{Call, Peer, locked_version};
use crate::case::{Case, Direction, EPS, GROUPS, Kind, MOMENTUM};
use crate::data::Tensors;

/// Results are kept to the end of a batch, for fusion may leave out what nobody reads; but not more than this.
const KEPT_BYTES: usize = 512 << 20;

pub struct Burn {
    device: Device,
    adapter: String,
}

impl Burn {
    pub fn open() -> Result<Self, Box<dyn Error>> {
        let ours = Gpu::new_blocking()?.adapter_info().clone();
        let (device, setup) = Device::wgpu_options().init_with_setup()?;
        let theirs = setup.adapter.get_info();
        if (&theirs.name, theirs.backend) != (&ours.name, ours.backend) {
            let hint = "choose it by CUBECL_WGPU_DEFAULT_DEVICE";
            return Err(format!("burn took {} ({}), not {}: {hint}", theirs.name, theirs.backend, ours.name).into());
        }
        Ok(Self { device, adapter: theirs.name })
    }
}

impl Peer for Burn {
    fn about(&self) -> String {
        format!("{} on {}", locked_version("burn"), self.adapter)
    }

    fn prepare(&mut self, case: &Case, tensors: &Tensors) -> Result<Box<dyn Call + '_>, Box<dyn Error>> {
        // What makes batch norm train is a device that could differentiate.
        let device = match (case.kind, case.direction) {
            (Kind::BatchTrain, _) | (_, Direction::Both) => self.device.clone().autodiff(),
            _ => self.device.clone(),
        };
        let module = Module::new(case, tensors, &device);
        Ok(match case.shape.len() {
            2 => Box::new(Prepared::<2>::new(case, tensors, device, module)),
            3 => Box::new(Prepared::<3>::new(case, tensors, device, module)),
            _ => Box::new(Prepared::<4>::new(case, tensors, device, module)),
        })
    }
}

enum Module {
    Layer(LayerNorm),
    Rms(RmsNorm),
    Batch(BatchNorm),
    Group(GroupNorm),
    Instance(InstanceNorm),
}

impl Module {
    fn new(case: &Case, tensors: &Tensors, device: &Device) -> Self {
        let vector = |values: &[f32]| Tensor::<1>::from_data(values, device);
        let gamma = Param::from_tensor(vector(&tensors.weight));
        let beta = Param::from_tensor(vector(&tensors.bias));
        let channels = case.channels();
        match case.kind {
            Kind::Layer => {
                let mut layer = LayerNormConfig::new(channels).with_epsilon(EPS).init(device);
                (layer.gamma, layer.beta) = (gamma, Some(beta));
                Self::Layer(layer)
            }
            Kind::Rms => Self::Rms(RmsNorm { gamma, ..RmsNormConfig::new(channels).with_epsilon(EPS).init(device) }),
            Kind::BatchTrain | Kind::BatchEval => {
                let config = BatchNormConfig::new(channels).with_epsilon(EPS).with_momentum(MOMENTUM);
                let [running_mean, running_var] =
                    [&tensors.running_mean, &tensors.running_var].map(|values| RunningState::new(vector(values)));
                // Or else it would train wherever there are gradients.
                let training = Param::from_bool(case.kind == Kind::BatchTrain);
                Self::Batch(BatchNorm { gamma, beta, training, running_mean, running_var, ..config.init(device) })
            }
            Kind::Group => {
                let layer = GroupNormConfig::new(GROUPS, channels).with_epsilon(EPS).init(device);
                Self::Group(GroupNorm { gamma: Some(gamma), beta: Some(beta), ..layer })
            }
            Kind::Instance => {
                let layer = InstanceNormConfig::new(channels).with_epsilon(EPS).init(device);
                Self::Instance(InstanceNorm { gamma: Some(gamma), beta: Some(beta), ..layer })
            }
        }
    }

    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Layer(layer) => layer.forward(x),
            Self::Rms(layer) => layer.forward(x),
            Self::Batch(layer) => layer.forward(x),
            Self::Group(layer) => layer.forward(x),
            Self::Instance(layer) => layer.forward(x),
        }
    }

    /// Weight and, if there is one, bias.
    fn parameters(&self) -> Vec<Tensor<1>> {
        let (gamma, beta) = match self {
            Self::Layer(layer) => (Some(&layer.gamma), layer.beta.as_ref()),
            Self::Rms(layer) => (Some(&layer.gamma), None),
            Self::Batch(layer) => (Some(&layer.gamma), Some(&layer.beta)),
            Self::Group(layer) => (layer.gamma.as_ref(), layer.beta.as_ref()),
            Self::Instance(layer) => (layer.gamma.as_ref(), layer.beta.as_ref()),
        };
        gamma.into_iter().chain(beta).map(|parameter| parameter.val()).collect()
    }
}

struct Prepared<const D: usize> {
    device: Device,
    module: Module,
    x: Tensor<D>,
    dy: Option<Tensor<D>>,
    /// The layer wants channels first, the data have them last.
    to_first: bool,
}

/// What a call computes, all to be kept until it is there.
struct Computed<const D: usize> {
    y: Tensor<D>,
    gradients: Option<(Tensor<D>, Vec<Tensor<1>>)>,
}

impl<const D: usize> Prepared<D> {
    fn new(case: &Case, tensors: &Tensors, device: Device, module: Module) -> Self {
        let tensor = |values: &ArrayD<f32>| {
            Tensor::from_data(TensorData::new(values.iter().copied().collect(), case.shape), &device)
        };
        let (mut x, dy) = (tensor(&tensors.x), tensors.dy.as_ref().map(tensor));
        if dy.is_some() {
            x = x.require_grad();
        }
        Self { x, dy, device, module, to_first: case.channels_last() && case.kind == Kind::Group }
    }

    fn call(&self) -> Result<Computed<D>, Box<dyn Error>> {
        let y = self.forward();
        let Some(dy) = &self.dy else {
            return Ok(Computed { y, gradients: None });
        };
        // A gradient of y can only be given as that of a loss.
        let mut gradients = (y.clone() * dy.clone()).sum().backward();
        let dx = self.x.grad_remove(&mut gradients).ok_or("no gradient of x")?;
        let parameters = self.module.parameters().into_iter();
        let of_parameters: Option<_> = parameters.map(|tensor| tensor.grad_remove(&mut gradients)).collect();
        let of_parameters = of_parameters.ok_or("no gradient of a parameter")?;
        Ok(Computed { y: y.inner(), gradients: Some((self.in_order(dx), of_parameters)) })
    }

    fn forward(&self) -> Tensor<D> {
        let x = self.x.clone();
        if !self.to_first {
            return self.module.forward(x);
        }
        self.in_order(self.module.forward(x.movedim(D - 1, 1)).movedim(1, D - 1))
    }

    /// In memory's order again where it was permuted, as a layer of channels last wants its input.
    fn in_order(&self, tensor: Tensor<D>) -> Tensor<D> {
        if !self.to_first {
            return tensor;
        }
        let shape = tensor.shape();
        tensor.reshape([shape.num_elements()]).reshape(shape)
    }
}

impl<const D: usize> Call for Prepared<D> {
    fn results(&mut self) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
        let Computed { y, gradients } = self.call()?;
        let Some((dx, of_parameters)) = gradients else {
            return Ok(vec![values(y)?]);
        };
        let mut results = vec![values(dx)?];
        for gradient in of_parameters {
            results.push(values(gradient)?);
        }
        Ok(results)
    }

    fn run(&mut self, calls: u32) -> Result<f64, Box<dyn Error>> {
        let tensors = if self.dy.is_some() { 2 } else { 1 };
        let most = KEPT_BYTES / (tensors * self.x.shape().num_elements() * size_of::<f32>());
        let sync = || self.device.sync().map_err(|error| format!("{error:?}"));
        let mut kept = Vec::new();
        let start = Instant::now();
        for _ in 0..calls {
            kept.push(self.call()?);
            if kept.len() >= most {
                sync()?;
                kept.clear();
            }
        }
        sync()?;
        Ok(start.elapsed().as_secs_f64())
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Box<dyn Error>> {
    let data = tensor.try_into_data().map_err(|error| format!("{error:?}"))?;
    data.try_into_vec().map_err(|error| format!("{error:?}").into())
}
