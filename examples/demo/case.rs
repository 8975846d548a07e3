//! The rows of the table: which norm of which input.

use wgpu_norm::ndarray::{ArrayD, arr1};
use wgpu_norm::sample::{Exact, Kind, Parameters, Running, Wanted};
use wgpu_norm::{DEFAULT_EPS, GroupNorm, Norm, SpecError};

use crate::input::{Inputs, Layouts};

pub struct Case<'a> {
    pub name: String,
    pub input: &'static str,
    pub norm: Box<dyn Norm>,
    pub x: &'a ArrayD<f32>,
    /// Running statistics are those before the call.
    pub parameters: Parameters<ArrayD<f32>>,
    /// How many batches they have seen; only training asks.
    pub batches: Option<u32>,
    /// Whether a language model computed the very same.
    pub is_the_models: bool,
    kind: Kind,
    eps: f32,
}

const LAYER: Kind = Kind::Layer { ndim: 1 };
const RMS: Kind = Kind::Rms { ndim: 1, offset: 0.0 };
const GROUPS: usize = GroupNorm::DEFAULT_NUM_GROUPS;

impl<'a> Case<'a> {
    fn new(kind: Kind, input: &'static str, x: &'a ArrayD<f32>, eps: f32) -> Result<Self, SpecError> {
        let norm = kind.norm(x.shape(), eps, Some(Running::USUAL))?;
        let (name, parameters) = (kind.entry().title, Parameters::default());
        Ok(Self { name, input, norm, x, parameters, batches: None, is_the_models: false, kind, eps })
    }

    fn with(self, parameters: Parameters<ArrayD<f32>>) -> Self {
        Self { parameters, ..self }
    }

    /// What it should give, in float64.
    pub fn wanted(&self) -> Vec<Wanted> {
        self.kind.outputs(&Exact::of(self.x, &self.parameters, self.eps), Some(Running::USUAL))
    }
}

pub fn all(inputs: &Inputs) -> Result<Vec<Case<'_>>, SpecError> {
    let Inputs { tokens, weight, bias, eps, patches, crops, .. } = inputs;
    let case = |kind, input, x| Case::new(kind, input, x, DEFAULT_EPS);
    let model = Case { is_the_models: true, ..Case::new(LAYER, "tokens", tokens, *eps)? };
    let weight = Parameters { weight: Some(weight.clone()), ..Parameters::default() };
    let mut cases = vec![
        model.with(Parameters { bias: Some(bias.clone()), ..weight.clone() }),
        case(LAYER, "patches NHWC", &patches.last)?,
        case(Kind::Layer { ndim: 3 }, "photo, per crop", &crops.first)?,
        case(RMS, "tokens", tokens)?.with(weight),
        case(RMS, "patches NHWC", &patches.last)?,
        case(Kind::Group { groups: GROUPS, axis: 3 }, "patches NHWC", &patches.last)?,
        case(Kind::Group { groups: GROUPS, axis: 1 }, "patches NCHW", &patches.first)?,
        case(Kind::Instance { axis: 3 }, "photo NHWC", &crops.last)?,
        case(Kind::Instance { axis: 1 }, "photo NCHW", &crops.first)?,
    ];
    cases.extend(training(["photo NHWC", "photo NCHW"], crops)?);
    cases.extend(training(["patches NHWC", "patches NCHW"], patches)?);
    // Mean and variance of ImageNet's channels, with which vision models standardize what they are given.
    let mean = arr1(&[0.485f32, 0.456, 0.406]).into_dyn();
    let var = arr1(&[0.229f32, 0.224, 0.225]).mapv(|std| std * std).into_dyn();
    let running = Parameters { running_mean: Some(mean), running_var: Some(var), ..Parameters::default() };
    cases.push(case(Kind::BatchEval { axis: 3 }, "photo NHWC", &crops.last)?.with(running.clone()));
    cases.push(case(Kind::BatchEval { axis: 1 }, "photo NCHW", &crops.first)?.with(running));
    Ok(cases)
}

/// Running statistics start at mean 0 and variance 1.
fn training<'a>(inputs: [&'static str; 2], x: &'a Layouts) -> Result<[Case<'a>; 2], SpecError> {
    let case = |input, x, axis| {
        let case = Case::new(Kind::BatchTrain { axis }, input, x, DEFAULT_EPS)?;
        let channels = case.norm.parameter_shape();
        let (mean, var) = (ArrayD::zeros(&channels[..]), ArrayD::ones(&channels[..]));
        let running = Parameters { running_mean: Some(mean), running_var: Some(var), ..Parameters::default() };
        Ok(Case { batches: Some(0), ..case.with(running) })
    };
    Ok([case(inputs[0], &x.last, 3)?, case(inputs[1], &x.first, 1)?])
}
