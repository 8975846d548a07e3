//! Elements as a caller has them: slices of f32, f16 or bf16, whichever.

use std::fmt;

use bytemuck::Pod;
use half::{bf16, f16};

use crate::element::Element;

/// A type that elements are stored as: [`f32`], [`half::f16`] or [`half::bf16`]. This trait is sealed.
pub trait Number: sealed::Number {}

impl Number for f32 {}
impl Number for f16 {}
impl Number for bf16 {}

/// A slice of [`f32`], [`half::f16`] or [`half::bf16`], or an array or a [`Vec`] of them: what is taken for tensors that a norm may
/// [store](crate::Norm::stored_as) in 16 bits. This trait is sealed.
pub trait Slice: sealed::Slice {}

impl<T: sealed::Slice + ?Sized> Slice for T {}

/// Elements that are read.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    pub(crate) element: Element,
    pub(crate) bytes: &'a [u8],
}

/// Elements that are written, which the CPU alone does in place.
#[derive(Debug)]
#[cfg_attr(not(feature = "cpu"), expect(dead_code))]
pub struct ValuesMut<'a> {
    pub(crate) element: Element,
    pub(crate) bytes: &'a mut [u8],
}

/// Elements that are read: the caller's, or copied from them.
pub enum Held<'a> {
    Given(Values<'a>),
    Made(Made),
}

/// A `Vec` of elements.
pub type Made = Box<dyn sealed::Slice + Send + Sync>;

impl<'a> Values<'a> {
    pub(crate) fn new<T: Number>(values: &'a [T]) -> Self {
        Self { element: T::ELEMENT, bytes: bytemuck::cast_slice(values) }
    }

    pub(crate) fn element(self) -> Element {
        self.element
    }

    pub(crate) fn len(self) -> usize {
        self.bytes.len() / self.element.size() as usize
    }

    /// Copies of them, each the nearest number of that type.
    pub(crate) fn numbers<T: Number>(self) -> Vec<T> {
        if self.element == T::ELEMENT {
            let mut same = vec![T::zeroed(); self.len()];
            bytemuck::cast_slice_mut(&mut same).copy_from_slice(self.bytes);
            return same;
        }
        match self.element {
            Element::F32 => nearest::<f32, T>(self.bytes),
            Element::F16 => nearest::<f16, T>(self.bytes),
            Element::Bf16 => nearest::<bf16, T>(self.bytes),
        }
    }

    /// Them as elements of another type, each the nearest number.
    pub(crate) fn stored_as(self, element: Element) -> Held<'a> {
        match element {
            same if same == self.element => Held::Given(self),
            Element::F32 => Held::Made(Box::new(self.numbers::<f32>())),
            Element::F16 => Held::Made(Box::new(self.numbers::<f16>())),
            Element::Bf16 => Held::Made(Box::new(self.numbers::<bf16>())),
        }
    }
}

/// The bytes need not be aligned.
fn nearest<A: Number, B: Number>(bytes: &[u8]) -> Vec<B> {
    bytes.chunks_exact(size_of::<A>()).map(|one| B::nearest(bytemuck::pod_read_unaligned::<A>(one).wide())).collect()
}

impl Default for Values<'_> {
    fn default() -> Self {
        Self::new::<f32>(&[])
    }
}

impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.numbers::<f32>()).finish()
    }
}

impl<'a> ValuesMut<'a> {
    pub(crate) fn new<T: Number>(values: &'a mut [T]) -> Self {
        Self { element: T::ELEMENT, bytes: bytemuck::cast_slice_mut(values) }
    }
}

impl Default for ValuesMut<'_> {
    fn default() -> Self {
        Self::new::<f32>(&mut [])
    }
}

impl Held<'_> {
    pub(crate) fn values(&self) -> Values<'_> {
        match self {
            Self::Given(values) => *values,
            Self::Made(made) => made.values(),
        }
    }
}

pub(crate) mod sealed {
    use std::convert::identity;

    #[cfg(feature = "ndarray")]
    use ndarray::ArrayViewD;

    use super::{Element, Pod, Values, ValuesMut, bf16, f16, fmt};
    #[cfg(feature = "ndarray")]
    use crate::array::AnyView;

    pub trait Number: Pod + fmt::Debug + Send + Sync {
        const ELEMENT: Element;

        fn nearest(value: f32) -> Self;
        fn wide(self) -> f32;

        #[cfg(feature = "ndarray")]
        fn any_view(view: ArrayViewD<'_, Self>) -> AnyView<'_>;
    }

    macro_rules! number {
        ($number:ty, $element:ident, $nearest:expr, $wide:expr) => {
            impl Number for $number {
                const ELEMENT: Element = Element::$element;

                fn nearest(value: f32) -> Self {
                    $nearest(value)
                }

                fn wide(self) -> f32 {
                    $wide(self)
                }

                #[cfg(feature = "ndarray")]
                fn any_view(view: ArrayViewD<'_, Self>) -> AnyView<'_> {
                    AnyView::$element(view)
                }
            }
        };
    }

    number!(f32, F32, identity, identity);
    number!(f16, F16, f16::from_f32, f16::to_f32);
    number!(bf16, Bf16, bf16::from_f32, bf16::to_f32);

    pub trait Slice {
        fn values(&self) -> Values<'_>;
        fn values_mut(&mut self) -> ValuesMut<'_>;
    }

    impl<T: super::Number> Slice for [T] {
        fn values(&self) -> Values<'_> {
            Values::new(self)
        }

        fn values_mut(&mut self) -> ValuesMut<'_> {
            ValuesMut::new(self)
        }
    }

    impl<T: super::Number> Slice for Vec<T> {
        fn values(&self) -> Values<'_> {
            Values::new(self)
        }

        fn values_mut(&mut self) -> ValuesMut<'_> {
            ValuesMut::new(self)
        }
    }

    impl<T: super::Number, const N: usize> Slice for [T; N] {
        fn values(&self) -> Values<'_> {
            Values::new(self)
        }

        fn values_mut(&mut self) -> ValuesMut<'_> {
            ValuesMut::new(self)
        }
    }
}
