//! Norms by the arguments that the library and the oracle both take, with data and what float64 says of it: what the doctor,
//! the command, the bench and the tests are made of.

mod following;
mod norms;
mod numbers;
mod units;
mod wanted;

pub use following::Following;
pub use norms::{Arguments, Entry, Groups, Kind};
pub use numbers::Numbers;
pub use units::{significant, time};
pub use wanted::{Wanted, gradient, output, stored};

use ndarray::{ArrayD, ArrayViewD};

use crate::reference;
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
#[derive(Clone, Debug)]
pub struct Parameters<A> {
    pub weight: Option<A>,
    pub bias: Option<A>,
    pub running_mean: Option<A>,
    pub running_var: Option<A>,
    pub scale: Option<A>,
    pub shift: Option<A>,
    pub skip: Option<A>,
    pub gate: Option<A>,
    pub embedding: Option<A>,
}

impl<A> Default for Parameters<A> {
    fn default() -> Self {
        Self::of([const { None }; 9])
    }
}

impl<A> Parameters<A> {
    pub(crate) fn each(&self) -> [Option<&A>; 9] {
        let Self { weight, bias, running_mean, running_var, scale, shift, skip, gate, embedding } = self;
        [weight, bias, running_mean, running_var, scale, shift, skip, gate, embedding].map(Option::as_ref)
    }

    pub(crate) fn of(each: [Option<A>; 9]) -> Self {
        let [weight, bias, running_mean, running_var, scale, shift, skip, gate, embedding] = each;
        Self { weight, bias, running_mean, running_var, scale, shift, skip, gate, embedding }
    }

    /// All of them as something else.
    pub fn map<'a, B>(&'a self, f: impl Fn(&'a A) -> B) -> Parameters<B> {
        Parameters::of(self.each().map(|array| array.map(&f)))
    }

    /// The same, where that may fail.
    pub fn try_map<B, E>(&self, f: impl Fn(&A) -> Result<B, E>) -> Result<Parameters<B>, E> {
        let mut mapped: [Option<B>; 9] = Default::default();
        for (to, array) in mapped.iter_mut().zip(self.each()) {
            *to = array.map(&f).transpose()?;
        }
        Ok(Parameters::of(mapped))
    }

    /// Those that are there.
    pub fn iter(&self) -> impl Iterator<Item = &A> {
        self.each().into_iter().flatten()
    }

    /// Those that have the shape of a modulation.
    pub fn modulating(&self) -> impl Iterator<Item = &A> {
        [&self.scale, &self.shift, &self.gate, &self.embedding].into_iter().flatten()
    }

    /// Whether a scale or a shift follows the norm.
    pub fn modulates(&self) -> bool {
        self.scale.is_some() || self.shift.is_some()
    }

    /// Those that the gradients go by: to the slope of an activation, and to the gradient of a scale, the bias besides.
    pub fn going_back(self, kind: Kind, activation: Option<Activation>) -> Self {
        let running = |array: Option<A>| array.filter(|_| kind.is_eval());
        let bias = activation.is_some() || self.modulates();
        Self {
            bias: self.bias.filter(|_| bias),
            running_mean: running(self.running_mean),
            running_var: running(self.running_var),
            skip: self.skip.filter(|_| activation.is_some()),
            gate: None,
            embedding: None,
            ..self
        }
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
        if let Some(scale) = self.scale {
            inputs = inputs.scale(scale);
        }
        if let Some(shift) = self.shift {
            inputs = inputs.shift(shift);
        }
        if let Some(skip) = self.skip {
            inputs = inputs.skip(skip);
        }
        if let Some(gate) = self.gate {
            inputs = inputs.gate(gate);
        }
        if let Some(embedding) = self.embedding {
            inputs = inputs.embedding(embedding);
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
        if let Some(scale) = &self.scale {
            operands = operands.scale(scale);
        }
        if let Some(shift) = &self.shift {
            operands = operands.shift(shift);
        }
        if let Some(skip) = &self.skip {
            operands = operands.skip(skip);
        }
        if let Some(gate) = &self.gate {
            operands = operands.gate(gate);
        }
        if let Some(embedding) = &self.embedding {
            operands = operands.embedding(embedding);
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
            ..Self::default()
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
    /// What is added to a scale.
    pub offset: f64,
    pub activation: Option<Activation>,
}

impl Exact {
    /// The same numbers as the library is given, stored as f32; what is normalized is `x` past a gate and an embedding.
    pub fn of(x: &ArrayD<f32>, parameters: &Parameters<ArrayD<f32>>, eps: f32) -> Self {
        let parameters = parameters.map(wide);
        let Parameters { gate, embedding, .. } = parameters.map(|array| array.view());
        let x = reference::gated(wide(x).view(), None, gate, embedding).value;
        Self { x, parameters, eps: f64::from(eps), element: Element::F32, offset: 1.0, activation: None }
    }

    fn views(&self) -> Views<'_> {
        let Parameters { weight, bias, running_mean, running_var, .. } = self.parameters.map(|array| array.view());
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
