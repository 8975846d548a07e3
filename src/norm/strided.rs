//! Any norm on tensors that are parts of larger ones.

use super::Norm;
use super::sealed::Lower;
use crate::error::SpecError;
use crate::problem::Problem;
use crate::strides::{Placement, Strides};
use crate::tensors::Role;

/// A norm whose tensors are parts of larger ones: [`Norm::with_strides`] makes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Strided<N> {
    norm: N,
    strides: Strides,
}

impl<N: Norm> Strided<N> {
    pub(super) fn new(norm: N, strides: Strides) -> Self {
        Self { norm, strides }
    }
}

impl<N: Norm> Norm for Strided<N> {
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

impl<N: Norm> Lower for Strided<N> {
    fn lower(&self) -> Result<Problem, SpecError> {
        let written = |role: Role| matches!(role, Role::Y | Role::ResidualOut | Role::GradInput);
        let placement = Placement::new(self.name(), self.shape(), &self.strides, written)?;
        Ok(Problem { placement, ..self.norm.lower()? })
    }
}
