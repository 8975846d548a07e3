//! What every peer is given: the same numbers every time.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, StandardNormal};
use wgpu_norm::DEFAULT_EPS;
use wgpu_norm::ndarray::{ArrayD, arr1};
use wgpu_norm::sample::{Exact, Parameters, Wanted, wide};

use crate::case::{Case, Direction};

pub struct Tensors {
    pub x: ArrayD<f32>,
    /// Weight, bias and running statistics have one value a channel; a norm leaves out what it has no use for.
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub running_mean: Vec<f32>,
    pub running_var: Vec<f32>,
    /// The gradient of `y`, where there is a backward pass.
    pub dy: Option<ArrayD<f32>>,
}

impl Tensors {
    /// Data of standard deviation 1 around a mean, and running statistics that fit them.
    pub fn around(mean: f32, case: &Case) -> Self {
        let mut random = StdRng::seed_from_u64(7);
        let x = normal(mean, case.shape, &mut random);
        let mut channels =
            |from: f32, to: f32| (0..case.channels()).map(|_| random.random_range(from..to)).collect::<Vec<_>>();
        let (weight, bias) = (channels(0.5, 1.5), channels(-0.5, 0.5));
        let (running_mean, running_var) = (channels(mean - 0.25, mean + 0.25), channels(0.8, 1.2));
        let dy = (case.direction == Direction::Both).then(|| normal(0.3, case.shape, &mut random));
        Self { x, weight, bias, running_mean, running_var, dy }
    }

    /// What they should give: `y`, or the gradients of `x`, weight and, if there is one, bias.
    pub fn wanted(&self, case: &Case) -> Vec<Wanted> {
        let vector = |values: &[f32]| Some(arr1(values).into_dyn());
        let parameters = Parameters {
            weight: vector(&self.weight),
            bias: vector(&self.bias).filter(|_| case.has_bias()),
            running_mean: vector(&self.running_mean),
            running_var: vector(&self.running_var),
            ..Parameters::default()
        };
        let exact = Exact::of(&self.x, &parameters, DEFAULT_EPS);
        let (mut wanted, count) = match &self.dy {
            None => (case.entry().outputs(&exact, None), 1),
            Some(dy) => {
                let count = if case.has_bias() { 3 } else { 2 };
                (case.entry().gradients_wanted(&exact, &wide(dy)), count)
            }
        };
        wanted.truncate(count);
        wanted
    }
}

fn normal(mean: f32, shape: &[usize], random: &mut StdRng) -> ArrayD<f32> {
    ArrayD::from_shape_simple_fn(shape, || {
        let value: f32 = StandardNormal.sample(random);
        mean + value
    })
}
