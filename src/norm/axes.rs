//! A choice of axes to reduce, for norms that take any.

use crate::block::{AffineIndex, Block};
use crate::error::SpecError;
use crate::problem::{check_shape, count};

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

    /// The last axes, whose lengths are `normalized_shape`.
    pub(super) fn last(norm: &'static str, shape: &[usize], normalized_shape: &[usize]) -> Result<Self, SpecError> {
        check_shape(norm, shape)?;
        if normalized_shape.is_empty() {
            return Err(SpecError::EmptyNormalizedShape { norm, shape: shape.to_vec() });
        }
        let Some(kept) = shape.strip_suffix(normalized_shape) else {
            return Err(SpecError::NormalizedShape {
                norm,
                shape: shape.to_vec(),
                normalized_shape: normalized_shape.to_vec(),
            });
        };
        let block = Block { b: count(kept), r: 1, k: 1, s: count(normalized_shape) };
        Ok(Self { shape: shape.to_vec(), reduced: (0..shape.len()).map(|axis| axis >= kept.len()).collect(), block })
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn block(&self) -> Block {
        self.block
    }

    /// A weight for each place along the reduced axes.
    pub(super) fn index(&self) -> AffineIndex {
        AffineIndex::per_r_and_element(self.block.s)
    }

    /// The lengths of the reduced axes.
    pub(super) fn reduced_lengths(&self) -> Vec<usize> {
        self.shape.iter().zip(&self.reduced).filter(|&(_, &reduced)| reduced).map(|(&length, _)| length).collect()
    }

    /// The length of the axis before the reduced ones, where these are the last.
    pub(super) fn heads(&self) -> Option<usize> {
        let first = self.reduced.iter().position(|&reduced| reduced)?;
        let last = self.reduced[first..].iter().all(|&reduced| reduced);
        self.shape[..first].last().copied().filter(|_| last)
    }

    /// The shape with the reduced axes as 1.
    pub(super) fn reduced_to_one(&self) -> Vec<usize> {
        self.shape.iter().zip(&self.reduced).map(|(&length, &reduced)| if reduced { 1 } else { length }).collect()
    }
}
