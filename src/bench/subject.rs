//! A case on the device, ready to be recorded.

use ndarray::ArrayD;
use wgpu_norm::{Bound, DEFAULT_EPS, Error, Operands, Plan, View, wgpu};

use super::{Case, Device, Ring, Trouble};
use wgpu_norm::sample::{Exact, Kind, Numbers, Parameters, Wanted, wide};

/// The data of a case, on the host.
pub(crate) struct Tensors {
    pub(super) x: ArrayD<f32>,
    pub(super) grad_output: Option<ArrayD<f32>>,
    pub(super) parameters: Parameters<ArrayD<f32>>,
}

pub(crate) struct Subject {
    pub(crate) ring: Ring,
    /// Where a backward pass writes what has the shape of a parameter.
    grad_weight: Option<wgpu::Buffer>,
    grad_bias: Option<wgpu::Buffer>,
    bound: Vec<Bound>,
    next: usize,
}

/// Of the elements; their standard deviation is 1.
const MEAN: f32 = 0.5;
/// Of the gradient of y, so that its sums do not vanish.
const MEAN_GRADIENT: f32 = 0.3;
/// What offsets of bindings are multiples of, on any device.
const ALIGNMENT: u64 = 256;

impl Tensors {
    /// `parameters` is the shape of weight and bias.
    pub(crate) fn new(case: &Case, parameters: &[usize]) -> Self {
        let mut numbers = Numbers::of(&case.shape);
        let stored = |values: ArrayD<f32>| values.mapv_into(|v| case.element.rounded(v));
        let x = stored(numbers.normal(&case.shape, MEAN, 1.0));
        let mut draw = |shape: &[usize], mean, deviation| numbers.normal(shape, mean, deviation);
        let parameters = Parameters::random(case.kind, parameters, MEAN, &mut draw);
        let mut parameters = case.following.beside(parameters, &case.shape, draw);
        if matches!(case.kind, Kind::Rms { .. } | Kind::RmsOver { .. }) {
            parameters.bias = None;
        }
        if case.is_apart() {
            // What is normalized in place again and again stays as it is.
            [(&mut parameters.weight, 1.0), (&mut parameters.bias, 0.0)]
                .into_iter()
                .for_each(|(of, v)| of.iter_mut().for_each(|of| of.fill(v)));
        }
        let grad_output = case.direction.is_backward().then(|| stored(numbers.normal(&case.shape, MEAN_GRADIENT, 1.0)));
        Self { x, grad_output, parameters }
    }

    /// What float64 gives for them.
    pub(super) fn wanted(&self, case: &Case) -> Vec<Wanted> {
        let (element, activation) = (case.element, case.following.activation);
        let exact = Exact { element, activation, ..Exact::of(&self.x, &self.parameters, DEFAULT_EPS) };
        match &self.grad_output {
            Some(grad_output) => case.kind.gradients_wanted(&exact, &wide(grad_output)),
            None => case.kind.outputs(&exact, None),
        }
    }
}

impl Subject {
    /// Bound once for each turn of the ring.
    pub(crate) fn new(device: &Device, case: &Case, plan: &Plan, tensors: &Tensors) -> Result<Self, Trouble> {
        let bytes = |values: &'_ ArrayD<f32>| case.element.bytes_of(&case.spread(values)).into_owned();
        let grad_output = tensors.grad_output.as_ref().map(bytes);
        let ring = Ring::new(device, &bytes(&tensors.x), case.tensor_bytes(), grad_output.as_deref())?;
        let uploaded = tensors.parameters.map(|values| {
            let contents: &[u8] = bytemuck::cast_slice(values.as_slice().unwrap_or_default());
            let buffer = device.buffer("parameters", contents.len() as u64);
            device.queue.write_buffer(&buffer, 0, contents);
            buffer
        });
        let mut subject = Self { ring, grad_weight: None, grad_bias: None, bound: Vec::new(), next: 0 };
        if case.direction.is_backward() {
            subject.bind_backward(device, case, plan, &uploaded)?;
        } else {
            for turn in 0..subject.ring.turns {
                let operands = uploaded.among(subject.forward(case, turn));
                subject.bound.push(device.context.bind(plan, &operands).map_err(Error::from)?);
            }
        }
        device.check()?;
        Ok(subject)
    }

    fn forward(&self, case: &Case, turn: u64) -> Operands<'_> {
        let at = self.ring.offset(turn);
        let x = View::new(&self.ring.x, at);
        if case.is_apart() { Operands::in_place(x) } else { Operands::new(x, View::new(&self.ring.out, at)) }
    }

    fn bind_backward(
        &mut self,
        device: &Device,
        case: &Case,
        plan: &Plan,
        uploaded: &Parameters<wgpu::Buffer>,
    ) -> Result<(), Trouble> {
        let norm = case.norm().map_err(Error::from)?;
        let bytes = 4 * norm.parameter_shape().iter().product::<usize>() as u64;
        let asked = |name| case.kind.is_affine() && case.direction.gradients().contains(&name);
        let gradient = |name| asked(name).then(|| device.buffer(name, bytes));
        self.grad_weight = gradient("dweight");
        self.grad_bias = gradient("dbias");
        let statistics = match case.saves_statistics() {
            true => Some(self.save_statistics(device, case, norm.as_ref(), uploaded)?),
            false => None,
        };
        let going_back = uploaded.clone().going_back(case.kind, case.following.activation);
        let mut bound = Vec::new();
        for turn in 0..self.ring.turns {
            let at = self.ring.offset(turn);
            let Some(grad_output) = &self.ring.grad_output else { continue };
            let (grad_output, x) = (View::new(grad_output, at), View::new(&self.ring.x, at));
            let mut operands = going_back.among(Operands::backward(grad_output, x));
            operands = operands.grad_input(View::new(&self.ring.out, at));
            if let Some(grad_weight) = &self.grad_weight {
                operands = operands.grad_weight(grad_weight);
            }
            if let Some(grad_bias) = &self.grad_bias {
                operands = operands.grad_bias(grad_bias);
            }
            if let Some((buffer, stride)) = &statistics {
                operands = operands.statistics(View::new(buffer, turn * stride));
            }
            bound.push(device.context.bind(plan, &operands).map_err(Error::from)?);
        }
        self.bound = bound;
        Ok(())
    }

    /// Those of the forward pass, for each turn of the ring, and how many bytes lie from one to the next.
    fn save_statistics(
        &self,
        device: &Device,
        case: &Case,
        norm: &dyn wgpu_norm::Norm,
        uploaded: &Parameters<wgpu::Buffer>,
    ) -> Result<(wgpu::Buffer, u64), Trouble> {
        let plan = device.context.plan(norm).map_err(Error::from)?;
        let groups: usize = norm.statistics_shape().iter().product();
        let stride = (16 * groups as u64).next_multiple_of(ALIGNMENT);
        let buffer = device.buffer("statistics", stride * self.ring.turns);
        for turn in 0..self.ring.turns {
            let operands = uploaded.among(self.forward(case, turn)).statistics(View::new(&buffer, turn * stride));
            let bound = device.context.bind(&plan, &operands).map_err(Error::from)?;
            run(device, &bound)?;
        }
        Ok((buffer, stride))
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
        if let Some(first) = self.bound.first() {
            run(device, first)?;
        }
        let mut error: f64 = 0.0;
        for wanted in &tensors.wanted(case) {
            let got = match wanted.output {
                "y" if case.is_apart() => Some(self.ring.x.slice(..self.ring.stride)),
                "y" | "grad_input" => Some(self.ring.first()),
                "grad_weight" => self.grad_weight.as_ref().map(|buffer| buffer.slice(..)),
                "grad_bias" => self.grad_bias.as_ref().map(|buffer| buffer.slice(..)),
                _ => None,
            };
            if let Some(got) = got {
                error = error.max(largest(device, case, got, wanted)?);
            }
        }
        Ok(error)
    }
}

fn run(device: &Device, bound: &Bound) -> Result<(), Trouble> {
    let mut encoder = device.device.create_command_encoder(&Default::default());
    bound.record(&mut encoder.begin_compute_pass(&Default::default()));
    device.run(encoder)?;
    Ok(())
}

/// The largest error of what lies there.
fn largest(device: &Device, case: &Case, got: wgpu::BufferSlice<'_>, wanted: &Wanted) -> Result<f64, Trouble> {
    let mut got = case.collected(wanted.element.values_of(&device.read(got)?));
    got.truncate(wanted.value.len());
    let got = ArrayD::from_shape_vec(wanted.value.raw_dim(), got).map_err(|error| Trouble::device(&error))?;
    Ok(wanted.worst(&got).map_or(0.0, |worst| worst.relative))
}
