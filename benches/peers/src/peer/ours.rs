//! wgpu-norm: plans bound once, then recorded as often as asked in one pass.

use std::error::Error;
use std::sync::mpsc;
use std::time::Instant;

use wgpu_norm::sample::Running;
use wgpu_norm::wgpu::util::{BufferInitDescriptor, DeviceExt as _, DownloadBuffer};
use wgpu_norm::{Backward, Bound, DEFAULT_EPS, Gpu, Operands, wgpu};

use super::{Call, Peer, locked_version};
use crate::case::{Case, Kind};
use crate::data::Tensors;

pub struct Ours {
    gpu: Gpu,
}

impl Ours {
    pub fn open() -> Result<Self, Box<dyn Error>> {
        Ok(Self { gpu: Gpu::new_blocking()? })
    }

    fn zeros(&self, length: usize) -> wgpu::Buffer {
        self.buffer(&vec![0.0; length])
    }

    fn buffer(&self, values: &[f32]) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let contents = bytemuck::cast_slice(values);
        self.gpu.device().create_buffer_init(&BufferInitDescriptor { label: None, contents, usage })
    }
}

impl Peer for Ours {
    fn about(&self) -> String {
        format!("{} on {}", locked_version("wgpu-norm"), self.gpu.describe())
    }

    fn prepare(&mut self, case: &Case, tensors: &Tensors) -> Result<Box<dyn Call + '_>, Box<dyn Error>> {
        let norm = case.entry().norm(case.shape, DEFAULT_EPS, Some(Running::USUAL))?;
        let x = self.buffer(tensors.x.as_slice().ok_or("x is not row-major")?);
        let y = self.zeros(tensors.x.len());
        let [weight, bias] = [&tensors.weight, &tensors.bias].map(|values| self.buffer(values));
        let [mean, var] = [&tensors.running_mean, &tensors.running_var].map(|values| self.buffer(values));
        let mut operands = Operands::new(&x, &y).weight(&weight);
        if case.has_bias() {
            operands = operands.bias(&bias);
        }
        if matches!(case.kind, Kind::BatchTrain | Kind::BatchEval) {
            operands = operands.running_mean(&mean).running_var(&var);
        }
        let context = self.gpu.context();
        let plan = context.plan(&*norm)?;
        let Some(dy) = &tensors.dy else {
            let bound = vec![context.bind(&plan, &operands)?];
            return Ok(Box::new(Recorded { gpu: &self.gpu, bound, results: vec![y] }));
        };

        let dy = self.buffer(dy.as_slice().ok_or("dy is not row-major")?);
        let dx = self.zeros(tensors.x.len());
        let [dweight, dbias] = [(); 2].map(|()| self.zeros(case.channels()));
        let mut wanted = Backward::new();
        let mut gradients = Operands::backward(&dy, &x).weight(&weight).grad_input(&dx).grad_weight(&dweight);
        if case.has_bias() {
            gradients = gradients.grad_bias(&dbias);
        } else {
            wanted = wanted.without_bias();
        }
        let statistics = self.zeros(norm.statistics_shape().iter().product::<usize>() * 4);
        if case.kind == Kind::BatchEval {
            gradients = gradients.running_mean(&mean).running_var(&var);
        } else {
            wanted = wanted.saved_statistics();
            operands = operands.statistics(&statistics);
            gradients = gradients.statistics(&statistics);
        }
        let backward = context.plan_backward(&*norm, wanted)?;
        let bound = vec![context.bind(&plan, &operands)?, context.bind(&backward, &gradients)?];
        let mut results = vec![dx, dweight];
        results.extend(case.has_bias().then_some(dbias));
        Ok(Box::new(Recorded { gpu: &self.gpu, bound, results }))
    }
}

struct Recorded<'a> {
    gpu: &'a Gpu,
    /// What a call records, in this order.
    bound: Vec<Bound>,
    results: Vec<wgpu::Buffer>,
}

impl Recorded<'_> {
    fn download(&self, buffer: &wgpu::Buffer) -> Result<Vec<f32>, Box<dyn Error>> {
        let (sender, receiver) = mpsc::channel();
        DownloadBuffer::read_buffer(self.gpu.device(), self.gpu.queue(), &buffer.slice(..), move |read| {
            // Who asked is waiting below.
            let _ = sender.send(read.map(|bytes| bytemuck::pod_collect_to_vec(&bytes[..])));
        });
        self.gpu.device().poll(wgpu::PollType::wait_indefinitely())?;
        Ok(receiver.recv()??)
    }
}

impl Call for Recorded<'_> {
    fn results(&mut self) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
        self.run(1)?;
        self.results.iter().map(|buffer| self.download(buffer)).collect()
    }

    fn run(&mut self, calls: u32) -> Result<f64, Box<dyn Error>> {
        let start = Instant::now();
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for _ in 0..calls {
            for bound in &self.bound {
                bound.record(&mut pass);
            }
        }
        drop(pass);
        self.gpu.queue().submit([encoder.finish()]);
        self.gpu.device().poll(wgpu::PollType::wait_indefinitely())?;
        Ok(start.elapsed().as_secs_f64())
    }
}
