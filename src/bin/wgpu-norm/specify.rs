//! From options to a norm, and from the library's refusal back to the option it is about.

use std::error::Error as StdError;

use ndarray::ArrayD;
use wgpu_norm::sample::{Exact, Following, Kind, Parameters, Running};
use wgpu_norm::{BindError, Error, Norm, Rounding, SpecError};

use crate::cli::{Lengths, NormOptions, ParameterOptions};
use crate::failure::{Failure, chain};
use crate::files::{Input, Loaded};

/// Where the parameters lie that the options name.
pub(crate) fn parameters(options: &ParameterOptions) -> Result<Parameters<Input>, Failure> {
    let ParameterOptions { weight, bias, running_mean, running_var, scale, shift, skip, gate, embedding, .. } = options;
    Ok(Parameters {
        weight: Input::locate_if("--weight", weight.as_ref())?,
        bias: Input::locate_if("--bias", bias.as_ref())?,
        running_mean: Input::locate_if("--running-mean", running_mean.as_ref())?,
        running_var: Input::locate_if("--running-var", running_var.as_ref())?,
        scale: Input::locate_if("--scale", scale.as_ref())?,
        shift: Input::locate_if("--shift", shift.as_ref())?,
        skip: Input::locate_if("--skip", skip.as_ref())?,
        gate: Input::locate_if("--gate", gate.as_ref())?,
        embedding: Input::locate_if("--embedding", embedding.as_ref())?,
    })
}

/// The norm that the options ask for, of an input of this shape, and what follows it: scale and shift of the shape `modulated`, and a
/// skip. By default its `eps` is the library's.
pub(crate) fn norm(
    options: &NormOptions,
    parameters: &ParameterOptions,
    shape: &[usize],
    running: Option<Running>,
    rounding: Rounding,
    modulated: Option<&[usize]>,
    skip: bool,
) -> Result<Box<dyn Norm>, SpecError> {
    let kind = options.kind(parameters.weight_offset);
    let norm = kind.stored_norm(shape, eps(kind, parameters), running, options.dtype, rounding)?;
    if let Some(Lengths(given)) = &options.normalized_shape
        && *given != norm.parameter_shape()
    {
        return Err(SpecError::NormalizedShape {
            norm: norm.name(),
            shape: shape.to_vec(),
            normalized_shape: given.clone(),
        });
    }
    let following =
        Following { modulated, gated: false, offset: offset(parameters), skip, activation: options.activation };
    Ok(following.after(Box::new(norm)))
}

/// The same of arrays from files.
pub(crate) fn norm_of(
    options: &NormOptions,
    parameters: &ParameterOptions,
    x: &Loaded,
    given: &Parameters<Loaded>,
    running: Option<Running>,
    rounding: Rounding,
) -> Result<Box<dyn Norm>, Failure> {
    let modulated = given.modulating().next().map(|array| array.values.shape());
    let skip = given.skip.is_some();
    norm(options, parameters, x.values.shape(), running, rounding, modulated, skip)
        .map_err(|error| refused(&error.into(), options, parameters))
}

/// The same in float64, of these numbers.
pub(crate) fn exact(
    options: &NormOptions,
    parameters: &ParameterOptions,
    x: ArrayD<f64>,
    given: Parameters<ArrayD<f64>>,
) -> Exact {
    Exact {
        x,
        parameters: given,
        eps: f64::from(eps(options.norm, parameters)),
        element: options.dtype,
        offset: f64::from(offset(parameters)),
        activation: options.activation,
    }
}

fn eps(kind: Kind, parameters: &ParameterOptions) -> f32 {
    parameters.eps.unwrap_or_else(|| kind.entry().eps)
}

fn offset(parameters: &ParameterOptions) -> f32 {
    parameters.offset.unwrap_or(1.0)
}

/// The norm with what comes before and after it, in words.
pub(crate) fn words(options: &NormOptions, parameters: &ParameterOptions, residual: bool) -> String {
    let given = |word: &str, given: bool| given.then(|| word.to_owned());
    let parts = [
        given("residual", residual),
        given("gate", parameters.gate.is_some()),
        given("embedding", parameters.embedding.is_some()),
        Some(format!("{} norm", options.norm.word())),
        given("scale", parameters.scale.is_some()),
        given("shift", parameters.shift.is_some()),
        given("skip", parameters.skip.is_some()),
        options.activation.map(|activation| activation.to_string()),
    ];
    listed(&parts.into_iter().flatten().collect::<Vec<_>>())
}

/// `layer, rms and group`.
pub(crate) fn listed(words: &[String]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// The option that a refusal is about, where those of groups and axes are given or have a default; `shape` and `modulation` are those that the shapes of the input, and of scale and shift, come from.
pub(crate) fn option(
    error: &SpecError,
    [groups_given, axes_given]: [bool; 2],
    shape: &'static str,
    modulation: &'static str,
) -> Option<&'static str> {
    match error {
        SpecError::ScalarInput { .. } | SpecError::TooManyElements { .. } | SpecError::Limit { .. } => Some(shape),
        SpecError::Modulation { .. } => Some(modulation),
        SpecError::NormalizedShape { .. } | SpecError::EmptyNormalizedShape { .. } => Some("--normalized-shape"),
        SpecError::Axes { .. } | SpecError::AlternatingAxes { .. } if axes_given => Some("--axes"),
        SpecError::Axes { .. } | SpecError::AlternatingAxes { .. } => Some("--axes, of which 0,2,3 is the default"),
        SpecError::ChannelAxis { .. } => Some("--channel-axis"),
        SpecError::Rounding { .. } => Some("--rounding"),
        SpecError::NumGroups { .. } if groups_given => Some("--groups"),
        SpecError::NumGroups { .. } => Some("--groups, of which 32 is the default"),
        _ => None,
    }
}

/// The refusal of a call on arrays from files, with the option it is about.
pub(crate) fn refused(error: &Error, options: &NormOptions, parameters: &ParameterOptions) -> Failure {
    let ParameterOptions { scale, shift, gate, .. } = parameters;
    let modulation = match (scale, shift, gate) {
        (Some(_), ..) => "--scale",
        (_, Some(_), _) => "--shift",
        (.., Some(_)) => "--gate",
        _ => "--embedding",
    };
    let option = match error {
        Error::Spec(error) => option(error, [options.groups.is_some(), options.axes.is_some()], "--input", modulation),
        Error::Bind(BindError::Shape { tensor, shape, must }) => {
            let option = tensor.replace('_', "-");
            return Failure::Failed(format!("--{option}: its shape is {shape:?} but must be {must:?}"));
        }
        _ => None,
    };
    refusal(option, error)
}

/// The refusal in words, after the option it is about.
pub(crate) fn refusal(option: Option<&str>, error: &(dyn StdError + 'static)) -> Failure {
    let text = chain(error);
    Failure::Failed(match option {
        Some(option) => format!("{option}: {text}"),
        None => text,
    })
}
