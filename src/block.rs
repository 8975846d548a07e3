//! The four-axis block that every norm becomes, and how an element of it finds its weight and bias.
//!
//! A norm splits the axes of `x` into reduced and kept ones. Neighbours of one kind merge, and what remains is a
//! row-major `[B, R, K, S]`, reduced over `R` and `S`, kept over `B` and `K`. One group is one `(b, k)`; its number
//! is `b * K + k`.

/// A row-major tensor `[B, R, K, S]`, reduced over `R` and `S`. Every norm becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    /// Length of `B`, the outermost axis. Kept.
    pub b: u64,
    /// Length of `R`. Reduced.
    pub r: u64,
    /// Length of `K`. Kept.
    pub k: u64,
    /// Length of `S`, the contiguous axis. Reduced.
    pub s: u64,
}

/// Which weight and bias belong to an element. Their index for element `(b, r, k, s)` is
/// `(b mod b_mod) * b_mul + r * r_mul + k * k_mul + s / s_div`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AffineIndex {
    /// Period of `b`. At least 1.
    pub b_mod: u64,
    /// Step of `b mod b_mod`. 0 if the index does not depend on `b`.
    pub b_mul: u64,
    /// Step of `r`. 0 if the index does not depend on `r`.
    pub r_mul: u64,
    /// Step of `k`. 0 if the index does not depend on `k`.
    pub k_mul: u64,
    /// Number of neighbours along `S` that share an index. `u64::MAX` if it does not depend on `s`.
    pub s_div: u64,
}

impl AffineIndex {
    /// One index per position along `S`.
    pub(crate) const PER_ELEMENT: Self = Self { b_mod: 1, b_mul: 0, r_mul: 0, k_mul: 0, s_div: 1 };

    /// No weight and no bias.
    pub(crate) const NONE: Self = Self { b_mod: 1, b_mul: 0, r_mul: 0, k_mul: 0, s_div: u64::MAX };

    /// One index per `k`.
    pub(crate) const PER_K: Self = Self { k_mul: 1, ..Self::NONE };

    /// One index per `r` and position along `S`, which has this length.
    pub(crate) fn per_r_and_element(s: u64) -> Self {
        Self { r_mul: s, ..Self::PER_ELEMENT }
    }
}

impl Block {
    /// Number of elements.
    #[must_use]
    pub const fn elements(&self) -> u64 {
        self.b * self.r * self.k * self.s
    }

    /// Number of groups.
    #[must_use]
    pub const fn groups(&self) -> u64 {
        self.b * self.k
    }

    /// Number of elements of one group.
    #[must_use]
    pub const fn group_size(&self) -> u64 {
        self.r * self.s
    }

    /// The block of a tensor of `shape` over the axes for which `reduced` holds; none if they alternate too often.
    pub(crate) fn reducing(shape: &[usize], reduced: impl Fn(usize) -> bool) -> Option<Self> {
        let mut sizes = [1u64; 4];
        let mut slot = 0;
        // B and K, at even places, are kept.
        for (axis, &length) in shape.iter().enumerate().filter(|&(_, &length)| length != 1) {
            if (slot % 2 == 1) != reduced(axis) {
                slot += 1;
            }
            *sizes.get_mut(slot)? *= length as u64;
        }
        let [b, r, k, s] = sizes;
        Some(Self { b, r, k, s })
    }

    /// The same tensor with as few axes longer than 1 as can be: without `R`, `K` merges into `B`; without `K`, `R`
    /// merges into `S`, where the affine index allows it.
    pub(crate) fn simplified(self, index: AffineIndex) -> (Self, AffineIndex) {
        let Self { b, r, k, s } = self;
        if r == 1 && k > 1 && (index.b_mul == 0 || b == 1) {
            let index = AffineIndex { b_mod: k, b_mul: index.k_mul, k_mul: 0, ..index };
            (Self { b: b * k, k: 1, ..self }, index)
        } else if r == 1 && k > 1 && index.b_mul == k * index.k_mul {
            let index = AffineIndex { b_mod: index.b_mod * k, b_mul: index.k_mul, k_mul: 0, ..index };
            (Self { b: b * k, k: 1, ..self }, index)
        } else if k == 1 && r > 1 && index.r_mul == 0 && index.s_div >= s {
            (Self { r: 1, s: r * s, ..self }, AffineIndex { s_div: u64::MAX, ..index })
        } else if k == 1 && index.r_mul == s && index.s_div == 1 {
            (Self { r: 1, s: r * s, ..self }, AffineIndex { r_mul: 0, ..index })
        } else {
            (self, index)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_merge_into_blocks() {
        let reducing = |shape: &[usize], axes: &[usize]| {
            Block::reducing(shape, |axis| axes.contains(&axis)).map(|Block { b, r, k, s }| [b, r, k, s])
        };
        assert_eq!(reducing(&[2, 3, 5, 7], &[0, 2, 3]), Some([1, 2, 3, 35]));
        assert_eq!(reducing(&[2, 3, 5, 7], &[1, 3]), Some([2, 3, 5, 7]));
        assert_eq!(reducing(&[2, 3, 5, 7], &[1, 2]), Some([2, 15, 7, 1]));
        assert_eq!(reducing(&[2, 3, 5, 7], &[3]), Some([30, 7, 1, 1]));
        // Reduced, kept, reduced, kept: one more than there is room for.
        assert_eq!(reducing(&[2, 3, 5, 7], &[0, 2]), None);
        assert_eq!(reducing(&[2, 1, 5, 7], &[0, 2]), Some([1, 10, 7, 1]));
        assert_eq!(reducing(&[2, 0, 5], &[1]), Some([2, 0, 5, 1]));
    }

    /// The index by its definition.
    fn channel(index: AffineIndex, [b, r, k, s]: [u64; 4]) -> u64 {
        (b % index.b_mod) * index.b_mul + r * index.r_mul + k * index.k_mul + s / index.s_div
    }

    /// Simplifying may not change which elements share a group, nor any element's weight.
    #[test]
    fn simplified_blocks_keep_groups_and_channels() {
        let dims = || [1, 2, 3].into_iter();
        let indices = [
            AffineIndex::PER_ELEMENT,
            AffineIndex::PER_K,
            AffineIndex { k_mul: 2, s_div: 2, ..AffineIndex::NONE },
            AffineIndex { b_mod: 2, b_mul: 6, k_mul: 2, ..AffineIndex::NONE },
        ];
        let blocks = dims().flat_map(|b| dims().flat_map(move |r| dims().map(move |k| (b, r, k))));
        for (b, r, k, s) in blocks.flat_map(|(b, r, k)| dims().map(move |s| (b, r, k, s))) {
            for index in indices.into_iter().chain([AffineIndex::per_r_and_element(s)]) {
                let block = Block { b, r, k, s };
                let (after, after_index) = block.simplified(index);
                assert_eq!(block.elements(), after.elements());
                for e in 0..block.elements() {
                    let of = |block: Block| {
                        let (s, e) = (e % block.s, e / block.s);
                        let (k, e) = (e % block.k, e / block.k);
                        [e / block.r, e % block.r, k, s]
                    };
                    let [one, other] = [of(block), of(after)];
                    assert_eq!(one[0] * block.k + one[2], other[0] * after.k + other[2], "{block:?} {after:?}");
                    assert_eq!(
                        channel(index, one),
                        channel(after_index, other),
                        "{block:?} {after:?} {index:?} {after_index:?}"
                    );
                }
            }
        }
    }
}
