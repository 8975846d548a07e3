//! The network: linear layers by kernels of our own, norms by `wgpu_norm::nn` between them, all in one pass.

use std::collections::HashMap;
use std::error::Error;

use wgpu_norm::nn::{
    AnyLayer, BatchNormLayer, BatchNormOptions, GradOutput, LayerNormLayer, LayerNormOptions, RmsNormLayer,
    RmsNormOptions, Saved, StateDict, StateTensor, Strictness,
};
use wgpu_norm::safetensors::SafeTensors;
use wgpu_norm::{Gpu, wgpu};

use crate::digits::{CLASSES, Digits, Draws, PIXELS};
use crate::kernels::{Kernels, Op, Params};

/// From the pixels to the classes.
const WIDTHS: [usize; 9] = [PIXELS, 48, 48, 48, 48, 48, 48, 48, CLASSES];
const LINEARS: usize = WIDTHS.len() - 1;
const MOMENTUM: f32 = 0.9;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum NormChoice {
    Batch,
    Layer,
    Rms,
    None,
}

impl NormChoice {
    fn layer(self, gpu: &Gpu, width: usize) -> Result<Option<AnyLayer>, wgpu_norm::Error> {
        Ok(match self {
            Self::Batch => Some(BatchNormLayer::new_blocking(gpu, BatchNormOptions::new(width))?.into_any()),
            Self::Layer => Some(LayerNormLayer::new_blocking(gpu, LayerNormOptions::new(&[width]))?.into_any()),
            Self::Rms => Some(RmsNormLayer::new_blocking(gpu, RmsNormOptions::new(&[width]))?.into_any()),
            Self::None => None,
        })
    }
}

/// Values that are learned: `[out, in]` and `[out]`, as PyTorch has them.
struct Parameter {
    value: wgpu::Buffer,
    gradient: wgpu::Buffer,
    shape: Vec<usize>,
}

struct Linear {
    weight: Parameter,
    bias: Parameter,
}

/// Everything recorded for a number of rows, made when that number first comes.
struct Ops {
    stages: Vec<Stage>,
    loss: Op,
}

struct Stage {
    forward: Op,
    grad_weight: Op,
    grad_bias: Op,
    grad_input: Option<Op>,
    /// Forward and backward, but for the last stage.
    relu: Option<[Op; 2]>,
}

pub struct Net {
    gpu: Gpu,
    kernels: Kernels,
    linears: Vec<Linear>,
    norms: Vec<AnyLayer>,
    input: wgpu::Buffer,
    labels: wgpu::Buffer,
    /// What comes out of each linear layer, and of the norm and ReLU behind it: the same buffer without a norm.
    linear_out: Vec<wgpu::Buffer>,
    out: Vec<wgpu::Buffer>,
    /// Of what comes out of each linear layer, and, before they get there, of what comes out behind it.
    gradients: Vec<wgpu::Buffer>,
    losses: wgpu::Buffer,
    descend: Vec<Op>,
    /// How far a step goes.
    rate: wgpu::Buffer,
    ops: HashMap<usize, Ops>,
}

impl Net {
    /// For `rows` at a time and no more, with weights drawn after He.
    pub fn new(gpu: &Gpu, choice: NormChoice, rows: usize, draws: &mut Draws) -> Result<Self, Box<dyn Error>> {
        let kernels = Kernels::new(gpu.device());
        let buffer = |length: usize| buffer(gpu, length);
        let parameter = |shape: &[usize], values: Vec<f32>| {
            let parameter =
                Parameter { value: buffer(values.len()), gradient: buffer(values.len()), shape: shape.to_vec() };
            gpu.queue().write_buffer(&parameter.value, 0, bytemuck::cast_slice(&values));
            parameter
        };
        let mut linears = Vec::new();
        for (&inputs, &outputs) in WIDTHS.iter().zip(&WIDTHS[1..]) {
            let deviation = (2.0 / inputs as f32).sqrt();
            let weight = (0..outputs * inputs).map(|_| deviation * draws.normal()).collect();
            linears.push(Linear {
                weight: parameter(&[outputs, inputs], weight),
                bias: parameter(&[outputs], vec![0.0; outputs]),
            });
        }
        let hidden = &WIDTHS[1..LINEARS];
        let norms = hidden.iter().map(|&width| choice.layer(gpu, width));
        let norms: Vec<AnyLayer> = norms.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let linear_out: Vec<_> = WIDTHS[1..].iter().map(|width| buffer(rows * width)).collect();
        let out = linear_out.iter().zip(WIDTHS[1..].iter().enumerate());
        let out = out.map(|(z, (i, width))| if i < norms.len() { buffer(rows * width) } else { z.clone() }).collect();
        let gradients = WIDTHS[1..].iter().map(|width| buffer(rows * width)).collect();

        let rate = buffer(1);
        // The optimizer does not care whose parameters they are.
        let own = linears.iter().flat_map(|linear| [&linear.weight, &linear.bias]);
        let own = own.map(|parameter| (&parameter.value, &parameter.gradient));
        let of_norms = norms.iter().flat_map(|norm| {
            [norm.weight().zip(norm.grad_weight()), norm.bias().zip(norm.grad_bias())].into_iter().flatten()
        });
        let descend = own.chain(of_norms).map(|(value, gradient)| {
            let length = value.size() as usize / size_of::<f32>();
            let params = Params { rows: length, momentum: MOMENTUM, ..Params::default() };
            kernels.op("descend", params, &[value, gradient, &buffer(length), &rate])
        });
        let descend = descend.collect();
        Ok(Self {
            gpu: gpu.clone(),
            kernels,
            norms,
            input: buffer(rows * PIXELS),
            labels: buffer(rows),
            linear_out,
            out,
            gradients,
            losses: buffer(rows),
            descend,
            rate,
            ops: HashMap::new(),
            linears,
        })
    }

    /// One step of gradient descent on a batch. Its losses go to `losses`, from `place` on.
    pub fn step(
        &mut self,
        batch: &Digits,
        rate: f32,
        losses: &wgpu::Buffer,
        place: usize,
    ) -> Result<(), Box<dyn Error>> {
        self.prepare(batch);
        self.gpu.queue().write_buffer(&self.rate, 0, bytemuck::bytes_of(&rate));
        self.norms.iter_mut().for_each(AnyLayer::train);
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        for norm in &self.norms {
            norm.record_zero_grad(&mut encoder);
        }
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            let saved = self.record_forward(&mut pass, batch.len())?;
            self.record_backward(&mut pass, batch.len(), &saved)?;
            for op in &self.descend {
                op.record(&mut pass);
            }
        }
        let size = size_of::<f32>();
        encoder.copy_buffer_to_buffer(&self.losses, 0, losses, (place * size) as u64, (batch.len() * size) as u64);
        self.gpu.queue().submit([encoder.finish()]);
        Ok(())
    }

    /// How many of these are recognized, of 1, and the mean loss.
    pub fn evaluate(&mut self, digits: &Digits) -> Result<(f64, f64), Box<dyn Error>> {
        self.prepare(digits);
        self.norms.iter_mut().for_each(AnyLayer::eval);
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.record_forward(&mut pass, digits.len())?;
            if let Some(ops) = self.ops.get(&digits.len()) {
                ops.loss.record(&mut pass);
            }
        }
        self.gpu.queue().submit([encoder.finish()]);
        let logits = download(&self.gpu, &self.out[LINEARS - 1], digits.len() * CLASSES)?;
        let best = |row: &[f32]| (0..CLASSES).max_by(|&i, &j| row[i].total_cmp(&row[j])).unwrap_or_default();
        let right = logits.chunks(CLASSES).zip(&digits.labels).filter(|(row, label)| best(row) == **label as usize);
        let losses = download(&self.gpu, &self.losses, digits.len())?;
        Ok((right.count() as f64 / digits.len() as f64, mean(&losses)))
    }

    /// Sees to it that there are operations for as many rows, and uploads them.
    fn prepare(&mut self, digits: &Digits) {
        let rows = digits.len();
        if !self.ops.contains_key(&rows) {
            let ops = self.bind(rows);
            self.ops.insert(rows, ops);
        }
        self.gpu.queue().write_buffer(&self.input, 0, bytemuck::cast_slice(&digits.pixels));
        self.gpu.queue().write_buffer(&self.labels, 0, bytemuck::cast_slice(&digits.labels));
    }

    fn bind(&self, rows: usize) -> Ops {
        let stages = (0..LINEARS).map(|i| {
            let Linear { weight, bias } = &self.linears[i];
            let (inputs, outputs) = (WIDTHS[i], WIDTHS[i + 1]);
            let input = if i == 0 { &self.input } else { &self.out[i - 1] };
            let (output, gradient) = (&self.linear_out[i], &self.gradients[i]);
            let params = |rows, columns, k, strides| Params { rows, columns, k, strides, ..Params::default() };
            let plain = params(rows, outputs, 0, [0; 4]);
            let forward = params(rows, outputs, inputs, [inputs, 1, 1, inputs]);
            let by_weight = params(outputs, inputs, rows, [1, outputs, inputs, 1]);
            let by_input = params(rows, inputs, outputs, [outputs, 1, inputs, 1]);
            Stage {
                forward: self.kernels.op("linear", forward, &[input, &weight.value, output, &bias.value]),
                grad_weight: self.kernels.op("multiply", by_weight, &[gradient, input, &weight.gradient]),
                grad_bias: self.kernels.op("column_sums", plain, &[gradient, &bias.gradient]),
                grad_input: (i > 0)
                    .then(|| self.kernels.op("multiply", by_input, &[gradient, &weight.value, &self.gradients[i - 1]])),
                relu: (i + 1 < LINEARS).then(|| {
                    let forward = self.kernels.op("relu", plain, &[&self.out[i]]);
                    [forward, self.kernels.op("relu_gradient", plain, &[gradient, &self.out[i]])]
                }),
            }
        });
        let params = Params { rows, columns: CLASSES, ..Params::default() };
        let (logits, gradient) = (&self.out[LINEARS - 1], &self.gradients[LINEARS - 1]);
        let loss = self.kernels.op("cross_entropy", params, &[logits, &self.labels, gradient, &self.losses]);
        Ops { stages: stages.collect(), loss }
    }

    /// What the norms need to go back, one after the other.
    fn record_forward(&self, pass: &mut wgpu::ComputePass<'_>, rows: usize) -> Result<Vec<Saved>, wgpu_norm::Error> {
        let mut saved = Vec::new();
        let Some(ops) = self.ops.get(&rows) else { return Ok(saved) };
        for (i, stage) in ops.stages.iter().enumerate() {
            stage.forward.record(pass);
            if let Some(norm) = self.norms.get(i) {
                saved.push(norm.forward(pass, &[rows, WIDTHS[i + 1]], &self.linear_out[i], &self.out[i])?);
            }
            if let Some([relu, _]) = &stage.relu {
                relu.record(pass);
            }
        }
        Ok(saved)
    }

    fn record_backward(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        rows: usize,
        saved: &[Saved],
    ) -> Result<(), wgpu_norm::Error> {
        let Some(ops) = self.ops.get(&rows) else { return Ok(()) };
        ops.loss.record(pass);
        for (i, stage) in ops.stages.iter().enumerate().rev() {
            if let Some([_, relu_gradient]) = &stage.relu {
                relu_gradient.record(pass);
            }
            if let (Some(norm), Some(saved)) = (self.norms.get(i), saved.get(i)) {
                // In place: the gradient of y is not needed again.
                let gradient = &self.gradients[i];
                norm.backward(pass, saved, GradOutput::new(gradient).grad_input(gradient))?;
            }
            stage.grad_weight.record(pass);
            stage.grad_bias.record(pass);
            if let Some(grad_input) = &stage.grad_input {
                grad_input.record(pass);
            }
        }
        Ok(())
    }

    /// Everything that was learned, as PyTorch would name it.
    pub fn state(&self) -> Result<StateDict, Box<dyn Error>> {
        let mut state = StateDict::new();
        for (key, Parameter { value, shape, .. }) in self.named() {
            let values = download(&self.gpu, value, shape.iter().product())?;
            state.insert(key, StateTensor::f32(shape, &values).ok_or("a parameter of another length")?);
        }
        for (norm, number) in self.norms.iter().zip(1..) {
            state.extend(norm.state_dict_blocking(&format!("norm{number}."))?);
        }
        Ok(state)
    }

    pub fn load(&self, tensors: &SafeTensors<'_>) -> Result<(), Box<dyn Error>> {
        for (key, Parameter { value, shape, .. }) in self.named() {
            let tensor = StateTensor::from(tensors.tensor(&key)?);
            let values = tensor.values().filter(|_| tensor.shape() == shape).ok_or(format!("{key} does not fit"))?;
            self.gpu.queue().write_buffer(value, 0, bytemuck::cast_slice(&values));
        }
        for (norm, number) in self.norms.iter().zip(1..) {
            norm.load_state_dict_blocking(tensors, &format!("norm{number}."), Strictness::Strict)?;
        }
        Ok(())
    }

    fn named(&self) -> impl Iterator<Item = (String, &Parameter)> {
        self.linears.iter().zip(1..).flat_map(|(Linear { weight, bias }, number)| {
            [(format!("linear{number}.weight"), weight), (format!("linear{number}.bias"), bias)]
        })
    }

    /// The first norm, if there is one, as PyTorch would print it.
    pub fn describe(&self) -> String {
        let norm = self.norms.first().map_or("no norm".to_owned(), |norm| format!("{norm:?}"));
        let parameters: usize = self.named().map(|(_, parameter)| parameter.shape.iter().product::<usize>()).sum();
        format!("{WIDTHS:?}, {parameters} weights and biases, {norm}")
    }
}

pub fn buffer(gpu: &Gpu, length: usize) -> wgpu::Buffer {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let size = (length * size_of::<f32>()) as u64;
    gpu.device().create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

/// The first values of a buffer.
pub fn download(gpu: &Gpu, source: &wgpu::Buffer, length: usize) -> Result<Vec<f32>, Box<dyn Error>> {
    let staging = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: (length * size_of::<f32>()) as u64,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(source, 0, &staging, 0, staging.size());
    gpu.queue().submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |_| {});
    gpu.device().poll(wgpu::PollType::wait_indefinitely())?;
    Ok(bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..)?))
}

pub fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64
}
