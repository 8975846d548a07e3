//! A case on the device, ready to be recorded.

use ndarray::{ArrayD, IxDyn};
use wgpu_norm::reference;
use wgpu_norm::{Bound, Error, Operands, Plan, View, wgpu};

use super::{Case, Device, Ring, Trouble};
use crate::kind::{Kind, Parameters};
use crate::numbers::Numbers;

/// The data of a case, on the host.
pub(crate) struct Tensors {
    pub(crate) x: ArrayD<f32>,
    parameters: Parameters,
}

pub(crate) struct Subject {
    pub(crate) ring: Ring,
    bound: Vec<Bound>,
    next: usize,
}

/// Of the elements; their standard deviation is 1.
const MEAN: f32 = 0.5;

impl Tensors {
    /// `parameters` is the shape of weight and bias.
    pub(crate) fn new(case: &Case, parameters: &[usize]) -> Self {
        let mut numbers = Numbers::of(&case.shape);
        let x = numbers.normal(&case.shape, MEAN, 1.0);
        let mut parameters = case.kind.parameters(parameters, MEAN, &mut numbers);
        if matches!(case.kind, Kind::Rms { .. }) {
            parameters.bias = None;
        }
        Self { x, parameters }
    }
}

impl Subject {
    /// Bound once for each pair of the ring.
    pub(crate) fn new(device: &Device, plan: &Plan, tensors: &Tensors) -> Result<Self, Trouble> {
        let ring = Ring::new(device, tensors.x.as_slice().unwrap_or_default())?;
        let upload = |values: &Option<ArrayD<f32>>| {
            let contents: &[u8] = bytemuck::cast_slice(values.as_ref()?.as_slice()?);
            let buffer = device.buffer("parameters", contents.len() as u64);
            device.queue.write_buffer(&buffer, 0, contents);
            Some(buffer)
        };
        let Parameters { weight, bias, running_mean, running_var } = &tensors.parameters;
        let [weight, bias, mean, var] = [weight, bias, running_mean, running_var].map(upload);
        let mut bound = Vec::new();
        for pair in 0..ring.pairs {
            let at = ring.offset(pair);
            let mut operands = Operands::new(View::new(&ring.x, at), View::new(&ring.y, at));
            if let Some(weight) = &weight {
                operands = operands.weight(weight);
            }
            if let Some(bias) = &bias {
                operands = operands.bias(bias);
            }
            if let (Some(mean), Some(var)) = (&mean, &var) {
                operands = operands.running_mean(mean).running_var(var);
            }
            bound.push(device.context.bind(plan, &operands).map_err(Error::from)?);
        }
        device.check()?;
        Ok(Self { ring, bound, next: 0 })
    }

    /// Records the next so many of the ring.
    pub(crate) fn record(&mut self, pass: &mut wgpu::ComputePass<'_>, times: u32) {
        for _ in 0..times {
            let turn = self.next % self.bound.len().max(1);
            self.next = turn + 1;
            if let Some(bound) = self.bound.get(turn) {
                bound.record(pass);
            }
        }
    }

    /// Computes the first of the ring and gives its largest error, relative to the size of the terms.
    pub(crate) fn error(&self, device: &Device, case: &Case, tensors: &Tensors) -> Result<f64, Trouble> {
        let mut encoder = device.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        if let Some(first) = self.bound.first() {
            first.record(&mut pass);
        }
        drop(pass);
        device.run(encoder)?;
        let got = device.read(self.ring.first(&self.ring.y))?;
        let got = ArrayD::from_shape_vec(IxDyn(&case.shape), got).map_err(|error| Trouble::device(&error))?;
        let want = case.kind.oracle(&tensors.x, &tensors.parameters);
        let worst = reference::largest_error(got.view(), want.y.view(), want.scale.view());
        Ok(worst.map_or(0.0, |worst| worst.relative))
    }
}
