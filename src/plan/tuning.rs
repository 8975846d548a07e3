//! What plans are chosen for.

/// What a plan may go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Tuning {
    /// The kernels and sizes that should be fastest, by fixed rules: the same norm on the same device is always planned
    /// the same.
    #[default]
    Heuristic,
    /// The bits of a group's result depend on its own elements alone: neither on how many other groups there are nor on
    /// where it stands among them, as long as every tensor starts at a multiple of 16 bytes and groups lie alike: a single
    /// channel, channels last, is contiguous, several are not. Slower where there are few groups.
    BatchInvariant,
}
