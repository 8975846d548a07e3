//! What plans are chosen for.

/// What a plan is optimized for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Tuning {
    /// Speed. The rules are fixed: the same norm on the same device always gets the same plan.
    #[default]
    Heuristic,
    /// Batch invariance. The bits of a group's result depend only on its own elements, and not on the number of groups or its
    /// position among them. This is slower if there are few groups.
    ///
    /// It holds between tensors that start at multiples of 16 bytes and whose groups have the same memory layout. (With
    /// channels last, the groups of a single channel are contiguous, but those of several channels are not.)
    BatchInvariant,
}
