//! A case with its data, and what float64 says of it.

use ndarray::ArrayD;

use super::cases::{Case, Data, every};
use crate::element::Element;
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
        let far = Data::far(case.element);
        let (mean, deviation) = match (data, data.scale()) {
            (Data::FarMean, _) => (far, 1.0),
            (Data::Constant, _) => (far, 0.0),
            (Data::Every, _) => (0.0, 0.0),
            (_, Some(scale)) => (scale, scale),
            _ => (0.0, 1.0),
        };
        let mut x = numbers.normal(case.shape, mean, deviation);
        if data.scale().is_some() {
            // An adapter may take what is no normal number for 0.
            x.map_inplace(|v| *v = if v.is_normal() { *v } else { 0.0 });
        }
        let (place, value) = match data {
            Data::Outlier => (0, Some(far)),
            Data::Nan => (x.len() / 2, Some(f32::NAN)),
            Data::Infinity => (x.len() / 2, Some(f32::INFINITY)),
            _ => (0, None),
        };
        if let (Some(element), Some(value)) = (x.iter_mut().nth(place), value) {
            *element = value;
        }
        let stored = |values: ArrayD<f32>| values.mapv_into(|v| case.element.rounded(v));
        let mut draw = |shape: &[usize], mean, deviation| numbers.normal(shape, mean, deviation);
        let parameters = Parameters::random(case.kind, &norm.parameter_shape(), mean, &mut draw);
        let mut parameters = case.following.beside(parameters, case.shape, draw);
        parameters.skip = parameters.skip.map(stored);
        if data == Data::Every {
            let Parameters { weight, bias, running_mean, running_var, .. } = &mut parameters;
            // With eps, it is divided by what every type takes for 1.
            let fill = |array: &mut Option<ArrayD<f32>>, value| array.iter_mut().for_each(|array| array.fill(value));
            fill(running_mean, 0.0);
            fill(running_var, 1.0 - data.eps());
            *weight = None;
            if case.kind.is_eval() {
                *bias = None;
            }
            let all = bias.as_mut().unwrap_or(&mut x);
            all.iter_mut().zip(every(case.element)).for_each(|(place, value)| *place = value);
        }
        let x = stored(x);
        // A mean of its own, so that sums of it do not vanish.
        let dy = case.backward.then(|| stored(numbers.normal(case.shape, 0.3, 1.0)));
        let (element, activation) = (case.element, case.following.activation);
        let exact = Exact { element, activation, ..Exact::of(&x, &parameters, data.eps()) };
        let mut wanted = match &dy {
            Some(dy) => case.kind.gradients_wanted(&exact, &wide(dy)),
            None => case.kind.outputs(&exact, Some(Running::USUAL)),
        };
        for wanted in wanted.iter_mut().filter(|wanted| data == Data::Every && wanted.output == "y") {
            // To the bit, ties included.
            wanted.value.mapv_inplace(|v| f64::from(case.element.rounded(v as f32)));
            wanted.scale = wanted.value.mapv(f64::abs);
            wanted.element = Element::F32;
        }
        Ok(Self { case, data, norm, x, parameters, dy, wanted })
    }
}
