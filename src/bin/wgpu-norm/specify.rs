//! From options to a norm, and from the library's refusal back to the option it is about.

use std::error::Error as StdError;

use wgpu_norm::{
    BatchNorm, BindError, Error, GroupNorm, InstanceNorm, LayerNorm, LpNorm, MeanVarianceNorm, Momentum, Norm, RmsNorm,
    SpecError, VarianceEstimator,
};

use crate::cli::{NormName, NormOptions};
use crate::failure::{Failure, chain};

/// What no plan depends on.
pub(crate) struct Numbers {
    pub(crate) eps: f32,
    pub(crate) weight_offset: f32,
    /// How a training batch norm updates running statistics, if it does.
    pub(crate) running: Option<Running>,
}

pub(crate) struct Running {
    pub(crate) momentum: Momentum,
    pub(crate) variance: VarianceEstimator,
}

/// The norm that the options ask for, of an input of this shape.
pub(crate) fn norm(options: &NormOptions, shape: &[usize], numbers: &Numbers) -> Result<Box<dyn Norm>, SpecError> {
    let last_axis = shape.last().copied().into_iter().collect::<Vec<usize>>();
    let normalized = options.normalized_shape.as_ref().map_or(last_axis, |lengths| lengths.0.clone());
    let axis = options.channel_axis();
    let &Numbers { eps, weight_offset, ref running } = numbers;
    Ok(match options.name {
        NormName::Layer => Box::new(LayerNorm::new(shape, &normalized)?.eps(eps)),
        NormName::Rms => Box::new(RmsNorm::new(shape, &normalized)?.eps(eps).weight_offset(weight_offset)),
        NormName::Group => Box::new(GroupNorm::new(shape, options.groups(), axis)?.eps(eps)),
        NormName::Instance => Box::new(InstanceNorm::new(shape, axis)?.eps(eps)),
        NormName::Mvn => Box::new(MeanVarianceNorm::new(shape, &options.axes())?.eps(eps)),
        NormName::Lp => {
            let norm = if options.p() == 1 { LpNorm::l1 } else { LpNorm::l2 };
            Box::new(norm(shape, &options.axes())?.eps(eps))
        }
        NormName::Batch => {
            let norm = BatchNorm::new(shape, axis)?.eps(eps);
            Box::new(match (options.train, running) {
                (false, _) => norm.eval(),
                (true, None) => norm.without_tracking(),
                (true, Some(running)) => norm.momentum(running.momentum).running_variance(running.variance),
            })
        }
    })
}

/// The option that a refusal is about; `shape` is the one that the shape comes from.
pub(crate) fn option(error: &SpecError, groups_given: bool, shape: &'static str) -> Option<&'static str> {
    match error {
        SpecError::ScalarInput { .. } | SpecError::TooManyElements { .. } | SpecError::Limit { .. } => Some(shape),
        SpecError::NormalizedShape { .. } | SpecError::EmptyNormalizedShape { .. } => Some("--normalized-shape"),
        SpecError::Axes { .. } | SpecError::AlternatingAxes { .. } => Some("--axes"),
        SpecError::ChannelAxis { .. } => Some("--channel-axis"),
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
