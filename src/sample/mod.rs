//! A norm by the arguments that the library and the oracle both take, with random data: what the doctor and the command's
//! bench are made of.

mod numbers;

pub use numbers::Numbers;

use ndarray::ArrayD;

use crate::reference::{self, Backward, Forward};
use crate::{
    BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LpNorm, MeanVarianceNorm, Momentum, Norm, RmsNorm, SpecError,
    VarianceEstimator,
};

/// How much of the running statistics a batch replaces.
pub const TAKE: f32 = 0.1;

/// Axes count from the last where they are negative.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Layer { ndim: usize },
    Rms { weight_offset: f32 },
    Group { groups: usize, axis: isize },
    Instance { axis: isize },
    BatchTrain { axis: isize },
    BatchEval { axis: isize },
    Mvn { axes: &'static [isize] },
    Lp { p: u32, axes: &'static [isize] },
}

/// What a norm takes beside `x`, each where it takes it.
#[derive(Debug)]
pub struct Parameters {
    pub weight: Option<ArrayD<f32>>,
    pub bias: Option<ArrayD<f32>>,
    pub running_mean: Option<ArrayD<f32>>,
    pub running_var: Option<ArrayD<f32>>,
}

impl Kind {
    /// Of `x` of this shape.
    pub fn norm(self, shape: &[usize], eps: f32) -> Result<Box<dyn Norm>, SpecError> {
        let last = |ndim: usize| shape.split_at(shape.len().saturating_sub(ndim)).1;
        Ok(match self {
            Self::Layer { ndim } => Box::new(LayerNorm::new(shape, last(ndim))?.eps(eps)),
            Self::Rms { weight_offset } => {
                Box::new(RmsNorm::new(shape, last(1))?.eps(eps).weight_offset(weight_offset))
            }
            Self::Group { groups, axis } => Box::new(GroupNorm::new(shape, groups, axis)?.eps(eps)),
            Self::Instance { axis } => Box::new(InstanceNorm::new(shape, axis)?.eps(eps)),
            Self::BatchTrain { axis } => Box::new(
                BatchNorm::new(shape, axis)?
                    .eps(eps)
                    .momentum(Momentum::exponential(TAKE))
                    .running_variance(VarianceEstimator::Unbiased),
            ),
            Self::BatchEval { axis } => Box::new(BatchNorm::new(shape, axis)?.eps(eps).eval()),
            Self::Mvn { axes } => Box::new(MeanVarianceNorm::new(shape, axes)?.eps(eps)),
            Self::Lp { p: 1, axes } => Box::new(LpNorm::l1(shape, axes)?.eps(eps)),
            Self::Lp { axes, .. } => Box::new(LpNorm::l2(shape, axes)?.eps(eps)),
        })
    }

    /// Random ones of this shape, that of weight and bias, for data of this mean and a standard deviation of 1.
    pub fn parameters(self, shape: &[usize], mean: f32, numbers: &mut Numbers) -> Parameters {
        let affine = !matches!(self, Self::Mvn { .. } | Self::Lp { .. });
        let running = matches!(self, Self::BatchTrain { .. } | Self::BatchEval { .. });
        Parameters {
            weight: affine.then(|| numbers.normal(shape, 1.0, 0.3)),
            bias: affine.then(|| numbers.normal(shape, 0.0, 0.5)),
            running_mean: running.then(|| numbers.normal(shape, mean, 0.2)),
            running_var: running.then(|| numbers.normal(shape, 0.0, 1.0).mapv(|v| v * v + 0.1)),
        }
    }

    /// Whether the library computes its gradients.
    pub fn has_backward(self) -> bool {
        !matches!(self, Self::Mvn { .. } | Self::Lp { .. })
    }

    /// The norm in float64. The arrays must be such as the library takes.
    pub fn oracle(self, x: &ArrayD<f32>, parameters: &Parameters, eps: f32) -> Forward {
        let x = wide(x);
        let Parameters { weight, bias, running_mean, running_var } = parameters;
        let [weight, bias, mean, var] = [weight, bias, running_mean, running_var].map(|array| array.as_ref().map(wide));
        let (x, eps) = (x.view(), f64::from(eps));
        let (w, b) = (weight.as_ref().map(|w| w.view()), bias.as_ref().map(|b| b.view()));
        let rank = x.ndim();
        let front = |axis: isize| from_front(axis, rank);
        let all = |axes: &[isize]| axes.iter().map(|&axis| front(axis)).collect::<Vec<_>>();
        match self {
            Self::Layer { ndim } => reference::layer_norm(x, ndim, w, b, eps),
            Self::Rms { weight_offset } => reference::rms_norm(x, 1, w, b, eps, f64::from(weight_offset)),
            Self::Group { groups, axis } => reference::group_norm(x, front(axis), groups, w, b, eps),
            Self::Instance { axis } => reference::instance_norm(x, front(axis), w, b, eps),
            Self::BatchTrain { axis } | Self::BatchEval { axis } => match (self, &mean, &var) {
                (Self::BatchEval { .. }, Some(mean), Some(var)) => {
                    reference::batch_norm_eval(x, front(axis), mean.view(), var.view(), w, b, eps)
                }
                _ => reference::batch_norm_train(x, front(axis), w, b, eps),
            },
            Self::Mvn { axes } => reference::mean_variance_norm(x, &all(axes), eps),
            Self::Lp { p, axes } => reference::lp_norm(x, &all(axes), p, eps),
        }
    }

    /// Its gradients in float64, for a norm that has a backward pass. The arrays must be such as the library takes.
    pub fn gradients(self, x: &ArrayD<f32>, dy: &ArrayD<f32>, parameters: &Parameters, eps: f32) -> Option<Backward> {
        let (x, dy, eps) = (wide(x), wide(dy), f64::from(eps));
        let (x, dy) = (x.view(), dy.view());
        let Parameters { weight, running_mean, running_var, .. } = parameters;
        let [weight, mean, var] = [weight, running_mean, running_var].map(|array| array.as_ref().map(wide));
        let w = weight.as_ref().map(|w| w.view());
        let rank = x.ndim();
        let front = |axis: isize| from_front(axis, rank);
        Some(match self {
            Self::Layer { ndim } => reference::layer_norm_backward(x, dy, ndim, w, eps),
            Self::Rms { weight_offset } => reference::rms_norm_backward(x, dy, 1, w, eps, f64::from(weight_offset)),
            Self::Group { groups, axis } => reference::group_norm_backward(x, dy, front(axis), groups, w, eps),
            Self::Instance { axis } => reference::instance_norm_backward(x, dy, front(axis), w, eps),
            Self::BatchTrain { axis } => reference::batch_norm_train_backward(x, dy, front(axis), w, eps),
            Self::BatchEval { axis } => {
                let (mean, var) = (mean?, var?);
                reference::batch_norm_eval_backward(x, dy, front(axis), mean.view(), var.view(), w, eps)
            }
            Self::Mvn { .. } | Self::Lp { .. } => return None,
        })
    }
}

/// In float64.
pub fn wide(values: &ArrayD<f32>) -> ArrayD<f64> {
    values.mapv(f64::from)
}

/// An axis, counted from the first; the library has refused those that are not there.
pub fn from_front(axis: isize, rank: usize) -> usize {
    if axis < 0 { rank.saturating_add_signed(axis) } else { axis.unsigned_abs() }
}
