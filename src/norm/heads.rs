//! Weights of heads, for norms over the last axes.

use super::axes::Axes;
use super::count;
use crate::block::AffineIndex;
use crate::error::SpecError;
use crate::problem::{Problem, Segment};

/// Which heads, the axis before those that are normalized, have the same weight and bias.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Heads {
    /// All of them.
    #[default]
    Alike,
    /// Each has its own.
    Each,
    /// Those of a segment: so many, with an `eps` of their own.
    Segments(Vec<(usize, f32)>),
}

impl Heads {
    /// The shape of weight and bias.
    pub(super) fn parameter_shape(&self, axes: &Axes) -> Vec<usize> {
        let heads = match self {
            Self::Alike => None,
            Self::Each => axes.heads(),
            Self::Segments(segments) => Some(segments.len()),
        };
        heads.into_iter().chain(axes.reduced_lengths()).collect()
    }

    /// The problem of rows with these weights.
    pub(super) fn of(&self, problem: Problem, axes: &Axes) -> Result<Problem, SpecError> {
        let norm = problem.norm;
        let wrong = |must: &'static str| {
            let segments = if let Self::Segments(segments) = self { Some(segments.clone()) } else { None };
            SpecError::Heads { norm, segments, shape: problem.shape.clone(), must }
        };
        if *self == Self::Alike {
            return Ok(problem);
        }
        let Some(heads) = axes.heads() else {
            return Err(wrong("of a shape with an axis before those that are normalized, which are the last"));
        };
        let heads = heads as u64;
        let index = AffineIndex { b_mod: heads.max(1), b_mul: count(&axes.reduced_lengths()), ..problem.index };
        let Self::Segments(segments) = self else { return Ok(Problem { index, ..problem }) };
        if segments.is_empty() || segments.len() > Segment::MOST {
            return Err(wrong("one to four"));
        }
        if segments.iter().any(|&(heads, _)| heads == 0) {
            return Err(wrong("of at least one head each"));
        }
        if segments.iter().try_fold(0u64, |sum, &(heads, _)| sum.checked_add(heads as u64)) != Some(heads) {
            return Err(wrong("as many heads together as the axis before those that are normalized"));
        }
        if let Some(&(_, value)) = segments.iter().find(|(_, eps)| !(eps.is_finite() && *eps >= 0.0)) {
            return Err(SpecError::Parameter { norm, parameter: "eps", value, must: "finite and at least 0" });
        }
        let least = segments.iter().map(|&(_, eps)| eps).fold(f32::INFINITY, f32::min);
        // -0 becomes 0, as for all of them.
        let segments = segments.iter().map(|&(heads, eps)| Segment { heads: heads as u64, eps: eps + 0.0 }).collect();
        Ok(Problem { index, segments, eps: least + 0.0, ..problem })
    }
}
