//! How the elements of a block find their weights and their statistics; the same tensor seen by group and by weight.

use crate::block::{AffineIndex, Block};

/// The block a pass goes over, which weight an element of it has, and whose statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mapping {
    pub(crate) block: Block,
    pub(crate) index: AffineIndex,
    pub(crate) groups: GroupIndex,
}

/// The group of element `(b, r, k, s)`: `(b + r / rows) * b_step + k / k_div`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GroupIndex {
    pub(crate) b_step: u64,
    pub(crate) rows: u64,
    pub(crate) k_div: u64,
}

impl Mapping {
    /// The groups' own block.
    pub(crate) fn of(block: Block, index: AffineIndex) -> Self {
        Self { block, index, groups: GroupIndex { b_step: block.k, rows: block.r.max(1), k_div: 1 } }
    }

    /// Whether the weights of every group are the same ones.
    pub(crate) fn has_same_parameters(&self) -> bool {
        self.index.b_mul == 0 && (self.block.k == 1 || self.index.k_mul == 0)
    }

    /// The same tensor with the elements that share a weight as what is reduced: `K` is the weights.
    pub(crate) fn by_weight(&self) -> Self {
        let Self { block: Block { b, r, k, s }, index, .. } = *self;
        let weights_of_b = if index.b_mul > 0 { index.b_mod } else { 1 };
        let run = index.s_div.min(s).max(1);
        let runs = s / run;
        Self {
            block: Block { b: b / weights_of_b, r, k: weights_of_b * k * runs, s: run },
            index: AffineIndex::NONE,
            groups: GroupIndex { b_step: weights_of_b * k, rows: r.max(1), k_div: runs },
        }
    }

    pub(crate) fn without_weights(self) -> Self {
        Self { index: AffineIndex::NONE, ..self }
    }

    /// With `B` as rows: no sum for each `b`.
    pub(crate) fn with_rows_of_b(self) -> Self {
        let Self { block, groups, .. } = self;
        Self {
            block: Block { b: 1, r: block.b * block.r, ..block },
            groups: GroupIndex { rows: block.r.max(1), ..groups },
            ..self
        }
    }
}
