//! The same cases on the CPU, each beside a copy of a tensor of its size by all threads.

use std::time::Instant;

use ndarray::ArrayD;
use rayon::prelude::*;
use wgpu_norm::cpu::{Cpu, Operands, Plan, Slice};
use wgpu_norm::half::{bf16, f16};
use wgpu_norm::reference::TOLERANCE;
use wgpu_norm::sample::Parameters;
use wgpu_norm::{Backward, BindError, Element, Error};

use super::report::{Copy, Outcome, Report, Row, Speed};
use super::rounds::{Measured, Turn, rounds};
use super::{Case, Direction, Effort, Source, Tensors, Trouble};

const COPY: &str = "memcpy by all threads";

/// Times all cases. `next` is told of each before it is timed, and how many have been.
pub(crate) fn run(cpu: &Cpu, effort: Effort, cases: &[Case], mut next: impl FnMut(usize, &Case)) -> Report {
    let mut rows = Vec::new();
    let mut copies: Vec<Copy> = Vec::new();
    for (done, case) in cases.iter().enumerate() {
        next(done, case);
        let tensor_bytes = case.tensor_bytes();
        // Each tensor once, which is the least there can be.
        let bytes = tensor_bytes * if case.direction.is_backward() { 3 } else { 2 };
        let mut error = None;
        // From a thread of the pool, as a program would that computes much: from another, each call would wake the pool.
        let timed = rayon::scope(|_| match case.element {
            Element::F16 => time(cpu, case, effort, &mut error, f16::from_f32),
            Element::Bf16 => time(cpu, case, effort, &mut error, bf16::from_f32),
            _ => time(cpu, case, effort, &mut error, |v| v),
        });
        let outcome = match timed {
            Ok(measured) => {
                if copies.iter().all(|copy| copy.tensor_bytes != tensor_bytes) {
                    copies.push(Copy { tensor_bytes, kernel: COPY.to_owned() });
                }
                Outcome::Timed(Speed::new(bytes, tensor_bytes, &measured, COPY.to_owned()))
            }
            Err(trouble) => Outcome::failed(&trouble),
        };
        rows.push(Row::of(case, Vec::new(), bytes, error, outcome));
    }
    let method = "wall time of calls on slices that are there already".to_owned();
    Report::new(cases.first(), method, copies, rows)
}

/// What one case computes with, all of it allocated once. `x` and all of its size are of `T`.
struct Subject<T> {
    plan: Plan,
    x: Vec<T>,
    grad_output: Option<Vec<T>>,
    parameters: Parameters<Vec<f32>>,
    statistics: Option<Vec<f32>>,
    out: Vec<T>,
    /// Whether `x` is overwritten, rather than `out`.
    in_place: bool,
    grad_weight: Option<Vec<f32>>,
    grad_bias: Option<Vec<f32>>,
}

fn flat(array: &ArrayD<f32>) -> Vec<f32> {
    array.iter().copied().collect()
}

impl<T: Clone + Into<f32>> Subject<T>
where
    Vec<T>: Slice,
{
    fn new(cpu: &Cpu, case: &Case, tensors: &Tensors, stored: fn(f32) -> T) -> Result<Self, Error> {
        let norm = case.norm()?;
        let parameters = tensors.parameters.map(flat);
        let stored_all = |array: &ArrayD<f32>| array.iter().map(|&v| stored(v)).collect();
        let x: Vec<T> = case.spread(&tensors.x).into_iter().map(stored).collect();
        let of_parameter = |name: &str| {
            let length = norm.parameter_shape().iter().product();
            case.direction.gradients().contains(&name).then(|| vec![0.0; length])
        };
        let mut subject = Self {
            plan: cpu.plan(norm.as_ref())?,
            out: vec![stored(0.0); tensors.x.len()],
            in_place: case.is_apart(),
            x,
            grad_output: None,
            parameters,
            statistics: None,
            grad_weight: of_parameter("dweight"),
            grad_bias: of_parameter("dbias"),
        };
        if case.saves_statistics() {
            subject.statistics = Some(vec![0.0; 4 * norm.statistics_shape().iter().product::<usize>()]);
            subject.run()?;
        }
        let wanted = match case.direction {
            Direction::Forward => return Ok(subject),
            Direction::Backward if case.saves_statistics() => Backward::new().saved_statistics(),
            Direction::Backward => Backward::new(),
            Direction::BackwardInput => Backward::new().without_weight().without_bias(),
        };
        subject.plan = cpu.plan_backward(norm.as_ref(), wanted)?;
        subject.parameters = subject.parameters.going_back(case.kind, case.following.activation);
        subject.grad_output = tensors.grad_output.as_ref().map(stored_all);
        Ok(subject)
    }

    fn run(&mut self) -> Result<(), BindError> {
        let Self { plan, x, grad_output, parameters, statistics, out, in_place, grad_weight, grad_bias } = self;
        // All of them, or the compiler says which has been forgotten.
        let Parameters { weight, bias, running_mean, running_var, scale, shift, skip, gate, embedding } = parameters;
        let backward = grad_output.is_some();
        let mut operands = match grad_output {
            None if *in_place => Operands::in_place(x),
            None => Operands::new(x, out),
            Some(grad_output) => Operands::backward(grad_output, x).grad_input(out),
        };
        if let Some(weight) = weight {
            operands = operands.weight(weight);
        }
        if let Some(bias) = bias {
            operands = operands.bias(bias);
        }
        if let Some(scale) = scale {
            operands = operands.scale(scale);
        }
        if let Some(shift) = shift {
            operands = operands.shift(shift);
        }
        if let Some(skip) = skip {
            operands = operands.skip(skip);
        }
        if let Some(gate) = gate {
            operands = operands.gate(gate);
        }
        if let Some(embedding) = embedding {
            operands = operands.embedding(embedding);
        }
        if let (Some(mean), Some(var)) = (running_mean, running_var) {
            operands = operands.tracked(mean, var);
        }
        if let Some(statistics) = statistics {
            operands = if backward { operands.statistics(statistics) } else { operands.statistics_out(statistics) };
        }
        if let (Some(grad_weight), true) = (grad_weight, backward) {
            operands = operands.grad_weight(grad_weight);
        }
        if let (Some(grad_bias), true) = (grad_bias, backward) {
            operands = operands.grad_bias(grad_bias);
        }
        plan.run(operands)
    }

    /// The largest error, relative to the size of the terms.
    fn error(&self, case: &Case, tensors: &Tensors) -> f64 {
        let mut error: f64 = 0.0;
        for wanted in &tensors.wanted(case) {
            let got = match wanted.output {
                "y" if self.in_place => Some(case.collected(self.x.iter().cloned().map(T::into).collect())),
                "y" | "grad_input" => Some(self.out.iter().cloned().map(T::into).collect()),
                "grad_weight" => self.grad_weight.clone(),
                "grad_bias" => self.grad_bias.clone(),
                _ => None,
            };
            if let Some(got) = got {
                let got = ArrayD::from_shape_vec(wanted.value.raw_dim(), got);
                let worst = got.map_or(f64::INFINITY, |got| wanted.worst(&got).map_or(0.0, |worst| worst.relative));
                error = error.max(worst);
            }
        }
        error
    }
}

fn copy<T: std::marker::Copy + Send + Sync>(from: &[T], to: &mut [T]) {
    let part = from.len().div_ceil(rayon::current_num_threads()).max(1);
    to.par_chunks_mut(part).zip(from.par_chunks(part)).for_each(|(to, from)| to.copy_from_slice(from));
}

/// `stored` is a number as the tensors of the case have it.
fn time<T: std::marker::Copy + Into<f32> + Send + Sync>(
    cpu: &Cpu,
    case: &Case,
    effort: Effort,
    error: &mut Option<f64>,
    stored: fn(f32) -> T,
) -> Result<Measured, Trouble>
where
    Vec<T>: Slice,
{
    let norm = case.norm().map_err(Error::from)?;
    let tensors = Tensors::new(case, &norm.parameter_shape());
    let mut subject = Subject::new(cpu, case, &tensors, stored)?;
    subject.run().map_err(Error::from)?;
    let off = subject.error(case, &tensors);
    *error = Some(off);
    // A wrong result is not worth timing.
    if off > TOLERANCE {
        return Err(Trouble::Wrong { error: off });
    }
    drop(tensors);
    let mut clock = |turn: Turn, times: u32| {
        let start = Instant::now();
        for _ in 0..times {
            match turn {
                Turn::Norm => subject.run().map_err(Error::from)?,
                // Over the result, so that both have the same memory in the cache.
                Turn::Copy => copy(&subject.x[..subject.out.len()], &mut subject.out),
            }
        }
        Ok(start.elapsed().as_secs_f64())
    };
    rounds(&mut clock, effort, Source::Wall)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use wgpu_norm::Activation;
    use wgpu_norm::sample::{Following, Kind};

    use super::*;

    /// What follows a norm and what comes before it are given to it.
    #[test]
    fn results_are_right() {
        let modulated = Following { modulated: Some(&[2, 1, 24]), ..Following::NONE };
        let all = Following { gated: true, skip: true, activation: Some(Activation::Silu), ..modulated };
        for following in [Following::NONE, modulated, Following { gated: true, ..modulated }, all] {
            let (kind, shape) = (Kind::Layer { ndim: 1 }, Cow::Borrowed(&[2, 6, 24][..]));
            let (direction, element) = (Direction::Forward, Element::F32);
            let case = Case { kind, shape, following, direction, element, strides: &[] };
            let tensors = Tensors::new(&case, &[24]);
            let mut subject = Subject::new(&Cpu::new(), &case, &tensors, |v| v).unwrap();
            subject.run().unwrap();
            let error = subject.error(&case, &tensors);
            assert!(error <= TOLERANCE, "{following:?}: {error}");
        }
    }
}
