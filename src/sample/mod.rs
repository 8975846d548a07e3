//! Norms by the arguments that the library and the oracle both take, with data and what float64 says of it: what the doctor,
//! the command, the bench and the tests are made of.

mod norms;
mod numbers;
mod units;
mod wanted;

pub use norms::{Arguments, Entry, Groups, Kind};
pub use numbers::Numbers;
pub use units::{significant, time};
pub use wanted::{Wanted, gradient, output, stored};

use ndarray::{ArrayD, ArrayViewD};

use crate::{Activation, Element, Inputs, Operands, Parameter, Tensor, VarianceEstimator};

/// The storage type of this word.
pub fn element(word: &str) -> Option<Element> {
    [Element::F32, Element::F16, Element::Bf16].into_iter().find(|element| element.to_string() == word)
}

/// How a training batch norm updates running statistics.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// How much of them a batch replaces.
    pub take: f32,
    pub variance: VarianceEstimator,
}

impl Running {
    /// PyTorch's.
    pub const USUAL: Self = Self { take: 0.1, variance: VarianceEstimator::Unbiased };
}

/// What a norm takes beside `x`, each where it takes it.
#[derive(Clone, Debug, Default)]
pub struct Parameters<A> {
    pub weight: Option<A>,
    pub bias: Option<A>,
    pub running_mean: Option<A>,
    pub running_var: Option<A>,
}

impl<A> Parameters<A> {
    /// All of them as something else.
    pub fn map<'a, B>(&'a self, f: impl Fn(&'a A) -> B) -> Parameters<B> {
        let Self { weight, bias, running_mean, running_var } = self;
        let [weight, bias, running_mean, running_var] =
            [weight, bias, running_mean, running_var].map(|array| array.as_ref().map(&f));
        Parameters { weight, bias, running_mean, running_var }
    }

    /// The same, where that may fail.
    pub fn try_map<B, E>(&self, f: impl Fn(&A) -> Result<B, E>) -> Result<Parameters<B>, E> {
        let map = |array: &Option<A>| array.as_ref().map(&f).transpose();
        Ok(Parameters {
            weight: map(&self.weight)?,
            bias: map(&self.bias)?,
            running_mean: map(&self.running_mean)?,
            running_var: map(&self.running_var)?,
        })
    }

    /// Those that are there.
    pub fn iter(&self) -> impl Iterator<Item = &A> {
        let Self { weight, bias, running_mean, running_var } = self;
        [weight, bias, running_mean, running_var].into_iter().flatten()
    }

    /// Those that the gradients go by, which an activation after the norm adds the bias to.
    pub fn going_back(self, kind: Kind, activation: Option<Activation>) -> Self {
        let running = |array: Option<A>| array.filter(|_| kind.is_eval());
        let Self { weight, bias, running_mean, running_var } = self;
        let bias = bias.filter(|_| activation.is_some());
        Self { weight, bias, running_mean: running(running_mean), running_var: running(running_var) }
    }

    /// `x` with all of them.
    pub fn beside(self, x: A) -> Inputs<A>
    where
        A: Tensor<F32 = A> + Parameter<A>,
    {
        let mut inputs = Inputs::new(x);
        if let Some(weight) = self.weight {
            inputs = inputs.weight(weight);
        }
        if let Some(bias) = self.bias {
            inputs = inputs.bias(bias);
        }
        if let (Some(mean), Some(var)) = (self.running_mean, self.running_var) {
            inputs = inputs.running_mean(mean).running_var(var);
        }
        inputs
    }
}

impl Parameters<wgpu::Buffer> {
    /// `operands` with all of them.
    pub fn among<'a>(&'a self, mut operands: Operands<'a>) -> Operands<'a> {
        if let Some(weight) = &self.weight {
            operands = operands.weight(weight);
        }
        if let Some(bias) = &self.bias {
            operands = operands.bias(bias);
        }
        if let (Some(mean), Some(var)) = (&self.running_mean, &self.running_var) {
            operands = operands.running_mean(mean).running_var(var);
        }
        operands
    }
}

impl Parameters<ArrayD<f32>> {
    /// Random ones of this shape, that of weight and bias, for data of this mean and a standard deviation of 1. `normal` draws
    /// numbers of a shape, mean and standard deviation.
    pub fn random(
        kind: Kind,
        shape: &[usize],
        mean: f32,
        mut normal: impl FnMut(&[usize], f32, f32) -> ArrayD<f32>,
    ) -> Self {
        let (affine, running) = (kind.is_affine(), kind.takes("--running-mean"));
        Self {
            weight: affine.then(|| normal(shape, 1.0, 0.3)),
            bias: affine.then(|| normal(shape, 0.0, 0.5)),
            running_mean: running.then(|| normal(shape, mean, 0.2)),
            running_var: running.then(|| normal(shape, 0.0, 1.0).mapv(|v| v * v + 0.1)),
        }
    }
}

/// What a norm is given, in float64.
pub struct Exact {
    pub x: ArrayD<f64>,
    pub parameters: Parameters<ArrayD<f64>>,
    pub eps: f64,
    /// What `x` and all of its size are stored as.
    pub element: Element,
    pub activation: Option<Activation>,
}

impl Exact {
    /// The same numbers as the library is given, stored as f32.
    pub fn of(x: &ArrayD<f32>, parameters: &Parameters<ArrayD<f32>>, eps: f32) -> Self {
        let (x, parameters) = (wide(x), parameters.map(wide));
        Self { x, parameters, eps: f64::from(eps), element: Element::F32, activation: None }
    }

    fn views(&self) -> Views<'_> {
        let Parameters { weight, bias, running_mean, running_var } = self.parameters.map(|array| array.view());
        let running = running_mean.zip(running_var).map(Into::into);
        Views { x: self.x.view(), rank: self.x.ndim(), weight, bias, running, eps: self.eps }
    }
}

/// The same as the oracle takes it.
struct Views<'a> {
    x: ArrayViewD<'a, f64>,
    rank: usize,
    weight: Option<ArrayViewD<'a, f64>>,
    bias: Option<ArrayViewD<'a, f64>>,
    /// Mean and variance.
    running: Option<[ArrayViewD<'a, f64>; 2]>,
    eps: f64,
}

/// In float64.
pub fn wide(values: &ArrayD<f32>) -> ArrayD<f64> {
    values.mapv(f64::from)
}
