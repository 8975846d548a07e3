//! A case with its data, and what float64 says of it.

use ndarray::ArrayD;

use super::cases::{Case, Data};
use crate::error::SpecError;
use crate::norm::Norm;
use crate::sample::{Exact, Numbers, Parameters, Running, Wanted, wide};

pub(super) struct Prepared {
    pub(super) case: &'static Case,
    pub(super) data: Data,
    pub(super) norm: Box<dyn Norm>,
    pub(super) x: ArrayD<f32>,
    pub(super) parameters: Parameters<ArrayD<f32>>,
    /// The gradient of `y`, for gradients.
    pub(super) dy: Option<ArrayD<f32>>,
    /// Every result, or gradient.
    pub(super) wanted: Vec<Wanted>,
}

impl Prepared {
    pub(super) fn new(case: &'static Case, data: Data) -> Result<Self, SpecError> {
        let norm = case.norm(data)?;
        let mut numbers = Numbers::of(case.shape);
        let (mean, deviation) = match (data, data.scale()) {
            (Data::FarMean, _) => (1e6, 1.0),
            (Data::Constant, _) => (1e6, 0.0),
            (_, Some(scale)) => (scale, scale),
            _ => (0.0, 1.0),
        };
        let mut x = numbers.normal(case.shape, mean, deviation);
        if data.scale().is_some() {
            // An adapter may take what is no normal number for 0.
            x.map_inplace(|v| *v = if v.is_normal() { *v } else { 0.0 });
        }
        let (place, value) = match data {
            Data::Outlier => (0, Some(1e6)),
            Data::Nan => (x.len() / 2, Some(f32::NAN)),
            Data::Infinity => (x.len() / 2, Some(f32::INFINITY)),
            _ => (0, None),
        };
        if let (Some(element), Some(value)) = (x.iter_mut().nth(place), value) {
            *element = value;
        }
        let draw = |shape: &[usize], mean, deviation| numbers.normal(shape, mean, deviation);
        let parameters = Parameters::random(case.kind, &norm.parameter_shape(), mean, draw);
        // A mean of its own, so that sums of it do not vanish.
        let dy = case.backward.then(|| numbers.normal(case.shape, 0.3, 1.0));
        let exact = Exact::of(&x, &parameters, data.eps());
        let wanted = match &dy {
            Some(dy) => case.kind.gradients_wanted(&exact, &wide(dy)),
            None => case.kind.outputs(&exact, Some(Running::USUAL)),
        };
        Ok(Self { case, data, norm, x, parameters, dy, wanted })
    }
}
