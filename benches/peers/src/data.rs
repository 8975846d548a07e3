//! What every peer is given: the same numbers every time.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, StandardNormal};
use wgpu_norm::ndarray::ArrayD;

use crate::case::Case;

pub struct Tensors {
    pub x: ArrayD<f32>,
    /// Weight, bias and running statistics have one value a channel; a norm leaves out what it has no use for.
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub running_mean: Vec<f32>,
    pub running_var: Vec<f32>,
}

impl Tensors {
    /// Data of standard deviation 1 around a mean, and running statistics that fit them.
    pub fn around(mean: f32, case: &Case) -> Self {
        let mut random = StdRng::seed_from_u64(7);
        let x = ArrayD::from_shape_simple_fn(case.shape, || {
            let x: f32 = StandardNormal.sample(&mut random);
            mean + x
        });
        let mut channels =
            |from: f32, to: f32| (0..case.channels()).map(|_| random.random_range(from..to)).collect::<Vec<_>>();
        Self {
            x,
            weight: channels(0.5, 1.5),
            bias: channels(-0.5, 0.5),
            running_mean: channels(mean - 0.25, mean + 0.25),
            running_var: channels(0.8, 1.2),
        }
    }
}
