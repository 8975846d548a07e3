//! The storage types of tensors.

/// How an element of a tensor is stored in its buffer. Arithmetic is always in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Element {
    /// IEEE 754 binary32, little-endian, 4 bytes.
    #[default]
    F32,
}

impl Element {
    /// Bytes per element.
    #[must_use]
    pub const fn size(self) -> u64 {
        match self {
            Self::F32 => 4,
        }
    }
}
