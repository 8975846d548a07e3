//! Any norm with something about it changed: what its tensors are stored as and where they lie, or what follows it.

use super::Norm;
use super::sealed::Lower;
use crate::element::{Element, Storage};
use crate::epilogue::Activation;
use crate::error::SpecError;
use crate::modulation::Modulation;
use crate::problem::Problem;
#[cfg(feature = "ndarray")]
use crate::problem::Rounding;
use crate::strides::{Placement, Strides};
use crate::tensors::Role;

/// A norm on tensors of other types than f32, or that are parts of larger ones, or with something after it: [`Norm::stored_as`],
/// [`Norm::with_strides`], [`Norm::modulated`], [`Norm::plus_skip`] and [`Norm::then`] make it.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapted<N> {
    norm: N,
    /// In order.
    changes: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Storage(Storage),
    Strides(Box<Strides>),
    Activation(Activation),
    Modulation(Modulation),
    Skip,
    #[cfg(feature = "ndarray")]
    Rounding(Rounding),
}

impl<N: Norm> Adapted<N> {
    pub(super) fn new(norm: N, change: Change) -> Self {
        Self { norm, changes: vec![change] }
    }

    /// With this after all else, if it is one.
    pub(crate) fn and_then(mut self, activation: Option<Activation>) -> Self {
        self.changes.extend(activation.map(Change::Activation));
        self
    }

    /// Rounded so, where the norm is chosen at run time.
    #[cfg(feature = "ndarray")]
    pub(crate) fn rounded(self, rounding: Rounding) -> Adapted<Self> {
        Adapted::new(self, Change::Rounding(rounding))
    }
}

impl<N: Norm> Norm for Adapted<N> {
    fn name(&self) -> &'static str {
        self.norm.name()
    }

    fn shape(&self) -> &[usize] {
        self.norm.shape()
    }

    fn parameter_shape(&self) -> Vec<usize> {
        self.norm.parameter_shape()
    }

    fn statistics_shape(&self) -> Vec<usize> {
        self.norm.statistics_shape()
    }
}

impl<N: Norm> Lower for Adapted<N> {
    fn lower(&self) -> Result<Problem, SpecError> {
        self.changes.iter().try_fold(self.norm.lower()?, |problem, change| self.changed(problem, change))
    }
}

impl<N: Norm> Adapted<N> {
    fn changed(&self, problem: Problem, change: &Change) -> Result<Problem, SpecError> {
        match change {
            &Change::Storage(storage) => {
                let Storage { x, y, gradients, parameters } = storage;
                for (tensors, is) in
                    [("y is", y), ("the gradients of x and y are", gradients), ("weight and bias are", parameters)]
                {
                    if is != x && is != Element::F32 {
                        return Err(SpecError::Storage { norm: self.name(), tensors, is, x });
                    }
                }
                Ok(Problem { storage, ..problem })
            }
            Change::Strides(strides) => {
                let written = |role: Role| {
                    matches!(role, Role::Y | Role::ResidualOut | Role::GradInput | Role::GradSkip | Role::GradBranch)
                };
                let placement = Placement::new(self.name(), self.shape(), strides, written)?;
                Ok(Problem { placement, ..problem })
            }
            #[cfg(feature = "ndarray")]
            &Change::Rounding(rounding) => Ok(Problem { rounding, ..problem }),
            Change::Modulation(_) if problem.modulation.is_some() => {
                Err(SpecError::Twice { norm: self.name(), what: "modulation" })
            }
            Change::Modulation(modulation) => {
                let segmented = !problem.segments.is_empty();
                let modulation = Some(modulation.on(self.name(), self.shape(), segmented)?);
                Ok(Problem { modulation, ..problem })
            }
            Change::Skip if problem.skip => Err(SpecError::Twice { norm: self.name(), what: "skip" }),
            Change::Skip => Ok(Problem { skip: true, ..problem }),
            &Change::Activation(second) => match problem.activation {
                Some(first) => Err(SpecError::Activations { norm: self.name(), first, second }),
                None => Ok(Problem { activation: Some(second), ..problem }),
            },
        }
    }
}
