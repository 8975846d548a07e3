//! A choice of axes to reduce, for norms that take any.

use crate::block::Block;
use crate::error::SpecError;
use crate::problem::check_shape;

/// A shape, which of its axes are reduced, and the block that makes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axes {
    shape: Vec<usize>,
    reduced: Vec<bool>,
    block: Block,
}

impl Axes {
    /// Negative axes count from the last.
    pub(super) fn new(norm: &'static str, shape: &[usize], axes: &[isize]) -> Result<Self, SpecError> {
        check_shape(norm, shape)?;
        let (given, of) = (|| axes.to_vec(), || shape.to_vec());
        let wrong = || SpecError::Axes { norm, axes: given(), shape: of() };
        let mut reduced = vec![false; shape.len()];
        for &axis in axes {
            let from_front = if axis < 0 { shape.len().checked_add_signed(axis) } else { Some(axis.unsigned_abs()) };
            let place = from_front.and_then(|axis| reduced.get_mut(axis)).ok_or_else(wrong)?;
            if std::mem::replace(place, true) {
                return Err(wrong());
            }
        }
        if axes.is_empty() {
            return Err(wrong());
        }
        let block = Block::reducing(shape, |axis| reduced.get(axis).copied().unwrap_or(false))
            .ok_or_else(|| SpecError::AlternatingAxes { norm, axes: given(), shape: of() })?;
        Ok(Self { shape: shape.to_vec(), reduced, block })
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn block(&self) -> Block {
        self.block
    }

    /// The shape with the reduced axes as 1.
    pub(super) fn reduced_to_one(&self) -> Vec<usize> {
        self.shape.iter().zip(&self.reduced).map(|(&length, &reduced)| if reduced { 1 } else { length }).collect()
    }
}
