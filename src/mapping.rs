//! How the elements of a block find their weights and their statistics; the same tensor seen by group and by weight.

use crate::block::{AffineIndex, Block};

/// The block a pass goes over, which weight an element of it has, and whose statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mapping {
    pub(crate) block: Block,
    pub(crate) index: AffineIndex,
    pub(crate) groups: GroupIndex,
}

/// The group of element `(b, r, k, s)`: `b / b_div * b_step + r / rows * r_step + k / k_div + s * s_step`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GroupIndex {
    pub(crate) b_div: u64,
    pub(crate) b_step: u64,
    pub(crate) rows: u64,
    pub(crate) r_step: u64,
    pub(crate) k_div: u64,
    pub(crate) s_step: u64,
}

impl GroupIndex {
    /// `(b + r / rows) * step + k / k_div`.
    fn by_lines(step: u64, rows: u64, k_div: u64) -> Self {
        Self { b_div: 1, b_step: step, rows: rows.max(1), r_step: step, k_div, s_step: 0 }
    }
}

impl Mapping {
    /// The groups' own block.
    pub(crate) fn of(block: Block, index: AffineIndex) -> Self {
        Self { block, index, groups: GroupIndex::by_lines(block.k, block.r, 1) }
    }

    /// Whether the weights of every group are the same ones.
    pub(crate) fn has_same_parameters(&self) -> bool {
        self.index.b_mul == 0 && (self.block.k == 1 || self.index.k_mul == 0)
    }

    /// The same tensor with the elements that share a weight as what is reduced: `K` is the weights, or of those of each `r` that belong to
    /// elements of a run.
    pub(crate) fn by_weight(&self) -> Self {
        let Self { block: Block { b, r, k, s }, index, .. } = *self;
        if index.r_mul > 0 {
            // Weights go down what groups are reduced over, so that statistics change along what weights are.
            let groups = GroupIndex::by_lines(k, 1, u64::MAX);
            return if s == 1 {
                let block = Block { b: 1, r: b, k: r, s: k };
                Self { block, index: AffineIndex::PER_K, groups: GroupIndex { s_step: 1, ..groups } }
            } else {
                let block = Block { b: b * r, r: k, k: s, s: 1 };
                let index = AffineIndex { b_mod: r.max(1), b_mul: s, ..AffineIndex::PER_K };
                Self { block, index, groups: GroupIndex { b_div: r.max(1), r_step: 1, ..groups } }
            };
        }
        let weights_of_b = if index.b_mul > 0 { index.b_mod } else { 1 };
        let run = index.s_div.min(s).max(1);
        let runs = s / run;
        Self {
            block: Block { b: b / weights_of_b, r, k: weights_of_b * k * runs, s: run },
            index: AffineIndex::PER_K,
            groups: GroupIndex::by_lines(weights_of_b * k, r, runs),
        }
    }

    pub(crate) fn without_weights(self) -> Self {
        Self { index: AffineIndex::NONE, ..self }
    }

    /// With `B` as rows: no sum for each `b`.
    pub(crate) fn with_rows_of_b(self) -> Self {
        let Self { block, .. } = self;
        Self { block: Block { b: 1, r: block.b * block.r, ..block }, ..self }
    }
}
