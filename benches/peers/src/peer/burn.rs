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
        if case.direction == Direction::Both {
            return Err("no gradients by burn yet".into());
        }
        // What makes batch norm train is a device that could differentiate.
        let device = match case.kind {
            Kind::BatchTrain => self.device.clone().autodiff(),
            _ => self.device.clone(),
        };
        let module = Module::new(case, tensors, &device);
        let x = TensorData::new(tensors.x.iter().copied().collect(), case.shape);
        let to_first = case.channels_last() && case.kind == Kind::Group;
        Ok(match case.shape.len() {
            2 => Box::new(Forward::<2> { x: Tensor::from_data(x, &device), device, module, to_first }),
            3 => Box::new(Forward::<3> { x: Tensor::from_data(x, &device), device, module, to_first }),
            _ => Box::new(Forward::<4> { x: Tensor::from_data(x, &device), device, module, to_first }),
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
                Self::Batch(BatchNorm { gamma, beta, running_mean, running_var, ..config.init(device) })
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
}

struct Forward<const D: usize> {
    device: Device,
    module: Module,
    x: Tensor<D>,
    /// The layer wants channels first, the data have them last.
    to_first: bool,
}

impl<const D: usize> Forward<D> {
    fn forward(&self) -> Tensor<D> {
        let x = self.x.clone();
        if !self.to_first {
            return self.module.forward(x);
        }
        let y = self.module.forward(x.movedim(D - 1, 1)).movedim(1, D - 1);
        // Flat, and so in memory's order again, as a layer of channels last wants its input.
        let shape = y.shape();
        y.reshape([shape.num_elements()]).reshape(shape)
    }
}

impl<const D: usize> Call for Forward<D> {
    fn results(&mut self) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
        let data = self.forward().try_into_data().map_err(|error| format!("{error:?}"))?;
        Ok(vec![data.try_into_vec().map_err(|error| format!("{error:?}"))?])
    }

    fn run(&mut self, calls: u32) -> Result<f64, Box<dyn Error>> {
        let most = KEPT_BYTES / (self.x.shape().num_elements() * size_of::<f32>());
        let sync = || self.device.sync().map_err(|error| format!("{error:?}"));
        let mut kept = Vec::new();
        let start = Instant::now();
        for _ in 0..calls {
            kept.push(self.forward());
            if kept.len() >= most {
                sync()?;
                kept.clear();
            }
        }
        sync()?;
        Ok(start.elapsed().as_secs_f64())
    }
}
