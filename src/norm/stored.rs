//! Any norm on tensors of other types than f32.

use super::Norm;
use super::sealed::Lower;
use crate::element::{Element, Storage};
use crate::error::SpecError;
use crate::problem::{Problem, Rounding};

/// A norm whose tensors are not all f32: [`Norm::stored_as`] makes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<N> {
    norm: N,
    storage: Storage,
    /// Instead of that of the norm.
    rounding: Option<Rounding>,
}

impl<N: Norm> Stored<N> {
    pub(super) fn new(norm: N, storage: Storage) -> Self {
        Self { norm, storage, rounding: None }
    }

    /// The same for a norm chosen at run time.
    #[cfg(feature = "ndarray")]
    pub(crate) fn rounded(self, rounding: Rounding) -> Self {
        Self { rounding: Some(rounding), ..self }
    }
}

impl<N: Norm> Norm for Stored<N> {
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

impl<N: Norm> Lower for Stored<N> {
    fn lower(&self) -> Result<Problem, SpecError> {
        let Storage { x, y, gradients, parameters } = self.storage;
        for (tensors, is) in
            [("y is", y), ("the gradients of x and y are", gradients), ("weight and bias are", parameters)]
        {
            if is != x && is != Element::F32 {
                return Err(SpecError::Storage { norm: self.name(), tensors, is, x });
            }
        }
        let problem = self.norm.lower()?;
        Ok(Problem { storage: self.storage, rounding: self.rounding.unwrap_or(problem.rounding), ..problem })
    }
}
