//! From options to a norm, and from the library's refusal back to the option it is about.

use std::error::Error as StdError;
use std::path::PathBuf;

use wgpu_norm::sample::{Kind, Parameters, Running};
use wgpu_norm::{BindError, Error, Norm, Rounding, SpecError};

use crate::cli::{Lengths, NormOptions, ParameterOptions};
use crate::failure::{Failure, chain};
use crate::files::Input;

/// Where the parameters lie that the options name.
pub(crate) fn parameters(options: &ParameterOptions, bias: Option<&PathBuf>) -> Result<Parameters<Input>, Failure> {
    let ParameterOptions { weight, running_mean, running_var, .. } = options;
    Parameters {
        weight: weight.as_ref().map(|path| ("--weight", path)),
        bias: bias.map(|path| ("--bias", path)),
        running_mean: running_mean.as_ref().map(|path| ("--running-mean", path)),
        running_var: running_var.as_ref().map(|path| ("--running-var", path)),
        ..Parameters::default()
    }
    .try_map(|&(option, path)| Input::locate(option, path))
}

/// The norm that the options ask for, of an input of this shape. By default its `eps` is the library's.
pub(crate) fn norm(
    options: &NormOptions,
    kind: Kind,
    shape: &[usize],
    eps: Option<f32>,
    running: Option<Running>,
    rounding: Rounding,
) -> Result<Box<dyn Norm>, SpecError> {
    let eps = eps.unwrap_or_else(|| kind.entry().eps);
    let norm = kind.stored_norm(shape, eps, running, options.dtype, rounding)?;
    match &options.normalized_shape {
        Some(Lengths(given)) if *given != norm.parameter_shape() => Err(SpecError::NormalizedShape {
            norm: norm.name(),
            shape: shape.to_vec(),
            normalized_shape: given.clone(),
        }),
        _ => Ok(match options.activation {
            Some(activation) => Box::new(norm.then(activation)),
            None => Box::new(norm),
        }),
    }
}

/// The option that a refusal is about; `shape` is the one that the shape comes from.
pub(crate) fn option(error: &SpecError, groups_given: bool, shape: &'static str) -> Option<&'static str> {
    match error {
        SpecError::ScalarInput { .. } | SpecError::TooManyElements { .. } | SpecError::Limit { .. } => Some(shape),
        SpecError::NormalizedShape { .. } | SpecError::EmptyNormalizedShape { .. } => Some("--normalized-shape"),
        SpecError::Axes { .. } | SpecError::AlternatingAxes { .. } => Some("--axes"),
        SpecError::ChannelAxis { .. } => Some("--channel-axis"),
        SpecError::Rounding { .. } => Some("--rounding"),
        SpecError::NumGroups { .. } if groups_given => Some("--groups"),
        SpecError::NumGroups { .. } => Some("--groups, of which 32 is the default"),
        _ => None,
    }
}

/// The refusal of a call on arrays from files, with the option it is about.
pub(crate) fn refused(error: &Error, groups_given: bool) -> Failure {
    let option = match error {
        Error::Spec(error) => option(error, groups_given, "--input"),
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
