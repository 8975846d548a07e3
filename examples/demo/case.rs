//! The rows of the table: which norm of which input, and what it should give.

use wgpu_norm::ndarray::{ArrayD, ArrayViewD, arr1};
use wgpu_norm::reference::{self, Forward};
use wgpu_norm::{BatchNorm, DEFAULT_EPS, GroupNorm, InstanceNorm, LayerNorm, Norm, RmsNorm, SpecError};

use crate::input::{Inputs, Layouts};

/// The same norm in float64.
type Oracle<'a> = Box<dyn Fn(ArrayViewD<'_, f64>) -> Forward + 'a>;

pub struct Case<'a> {
    pub name: &'static str,
    pub input: &'static str,
    pub norm: Box<dyn Norm>,
    pub x: &'a ArrayD<f32>,
    pub weight: Option<&'a ArrayD<f32>>,
    pub bias: Option<&'a ArrayD<f32>>,
    pub running: Option<Running>,
    /// Whether a language model computed the very same.
    pub is_the_models: bool,
    pub oracle: Oracle<'a>,
}

/// Batch norm's running statistics before the call.
pub struct Running {
    pub mean: ArrayD<f32>,
    pub var: ArrayD<f32>,
    /// How many batches they have seen; only training asks.
    pub batches: Option<u32>,
}

impl<'a> Case<'a> {
    fn new(
        name: &'static str,
        input: &'static str,
        norm: impl Norm + 'static,
        x: &'a ArrayD<f32>,
        oracle: impl Fn(ArrayViewD<'_, f64>) -> Forward + 'a,
    ) -> Self {
        let (norm, oracle) = (Box::new(norm), Box::new(oracle));
        Self { name, input, norm, x, weight: None, bias: None, running: None, is_the_models: false, oracle }
    }
}

const EPS: f64 = DEFAULT_EPS as f64;
const GROUPS: usize = GroupNorm::DEFAULT_NUM_GROUPS;

pub fn all(inputs: &Inputs) -> Result<Vec<Case<'_>>, SpecError> {
    let mut cases = rows(inputs)?;
    cases.extend(groups(&inputs.patches)?);
    cases.extend(instances(&inputs.crops)?);
    cases.extend(training(inputs)?);
    cases.extend(evaluation(&inputs.crops)?);
    Ok(cases)
}

/// The norms over the last axes.
fn rows(inputs: &Inputs) -> Result<Vec<Case<'_>>, SpecError> {
    let Inputs { tokens, weight, bias, eps, .. } = inputs;
    let (patches, image) = (&inputs.patches.last, &inputs.crops.first);
    let (shape, width) = (tokens.shape(), weight.shape());
    let (patch, whole) = (&patches.shape()[3..], &image.shape()[1..]);

    let (w, b) = (weight.mapv(f64::from), bias.mapv(f64::from));
    let (rms_w, exact_eps) = (w.clone(), f64::from(*eps));
    let model = Case::new("LayerNorm", "tokens", LayerNorm::new(shape, width)?.eps(*eps), tokens, move |x| {
        reference::layer_norm(x, 1, Some(w.view()), Some(b.view()), exact_eps)
    });
    let rms = Case::new("RmsNorm", "tokens", RmsNorm::new(shape, width)?, tokens, move |x| {
        reference::rms_norm(x, 1, Some(rms_w.view()), None, EPS, 0.0)
    });
    Ok(vec![
        Case { weight: Some(weight), bias: Some(bias), is_the_models: true, ..model },
        Case::new("LayerNorm", "patches NHWC", LayerNorm::new(patches.shape(), patch)?, patches, |x| {
            reference::layer_norm(x, 1, None, None, EPS)
        }),
        Case::new("LayerNorm", "photo, per crop", LayerNorm::new(image.shape(), whole)?, image, |x| {
            reference::layer_norm(x, 3, None, None, EPS)
        }),
        Case { weight: Some(weight), ..rms },
        Case::new("RmsNorm", "patches NHWC", RmsNorm::new(patches.shape(), patch)?, patches, |x| {
            reference::rms_norm(x, 1, None, None, EPS, 0.0)
        }),
    ])
}

fn groups(patches: &Layouts) -> Result<Vec<Case<'_>>, SpecError> {
    let Layouts { last, first } = patches;
    Ok(vec![
        Case::new("GroupNorm(32)", "patches NHWC", GroupNorm::channels_last(last.shape(), GROUPS)?, last, |x| {
            reference::group_norm(x, 3, GROUPS, None, None, EPS)
        }),
        Case::new("GroupNorm(32)", "patches NCHW", GroupNorm::channels_first(first.shape(), GROUPS)?, first, |x| {
            reference::group_norm(x, 1, GROUPS, None, None, EPS)
        }),
    ])
}

fn instances(crops: &Layouts) -> Result<Vec<Case<'_>>, SpecError> {
    let Layouts { last, first } = crops;
    Ok(vec![
        Case::new("InstanceNorm", "photo NHWC", InstanceNorm::channels_last(last.shape())?, last, |x| {
            reference::instance_norm(x, 3, None, None, EPS)
        }),
        Case::new("InstanceNorm", "photo NCHW", InstanceNorm::channels_first(first.shape())?, first, |x| {
            reference::instance_norm(x, 1, None, None, EPS)
        }),
    ])
}

/// Running statistics start at mean 0 and variance 1.
fn training<'a>(inputs: &'a Inputs) -> Result<Vec<Case<'a>>, SpecError> {
    let case = |input, x: &'a ArrayD<f32>, axis: usize| -> Result<Case<'a>, SpecError> {
        let norm = BatchNorm::new(x.shape(), axis as isize)?;
        let channels = norm.parameter_shape();
        let running =
            Running { mean: ArrayD::zeros(&channels[..]), var: ArrayD::ones(&channels[..]), batches: Some(0) };
        let case = Case::new("BatchNorm train", input, norm, x, move |x| {
            reference::batch_norm_train(x, axis, None, None, EPS)
        });
        Ok(Case { running: Some(running), ..case })
    };
    Ok(vec![
        case("photo NHWC", &inputs.crops.last, 3)?,
        case("photo NCHW", &inputs.crops.first, 1)?,
        case("patches NHWC", &inputs.patches.last, 3)?,
        case("patches NCHW", &inputs.patches.first, 1)?,
    ])
}

/// Mean and variance of ImageNet's channels, with which vision models standardize what they are given.
fn evaluation(crops: &Layouts) -> Result<Vec<Case<'_>>, SpecError> {
    let mean = arr1(&[0.485f32, 0.456, 0.406]).into_dyn();
    let var = arr1(&[0.229f32, 0.224, 0.225]).mapv(|std| std * std).into_dyn();
    let case = |input, norm: BatchNorm, x, axis| {
        let (exact_mean, exact_var) = (mean.mapv(f64::from), var.mapv(f64::from));
        let case = Case::new("BatchNorm eval", input, norm.eval(), x, move |x| {
            reference::batch_norm_eval(x, axis, exact_mean.view(), exact_var.view(), None, None, EPS)
        });
        Case { running: Some(Running { mean: mean.clone(), var: var.clone(), batches: None }), ..case }
    };
    let Layouts { last, first } = crops;
    Ok(vec![
        case("photo NHWC", BatchNorm::channels_last(last.shape())?, last, 3),
        case("photo NCHW", BatchNorm::channels_first(first.shape())?, first, 1),
    ])
}
