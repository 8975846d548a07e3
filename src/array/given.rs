//! What calls on arrays take: slices, and `ndarray` views.

use super::{Element, Number, Slice, Values};

/// A tensor of the caller, as [`Inputs`](super::Inputs) take it: a slice of [`f32`], [`half::f16`] or [`half::bf16`] in row-major
/// order, or an `ndarray` view of them. This trait is sealed.
pub trait Tensor: sealed::Tensor {
    /// The same of f32, which statistics always are.
    type F32: sealed::Tensor<Any = Self::Any>;
}

impl<'a, T: Number> Tensor for &'a [T] {
    type F32 = &'a [f32];
}

/// A weight or bias beside tensors `T`: of any type, whatever theirs is. This trait is sealed.
pub trait Parameter<T: Tensor>: sealed::Parameter<T> {}

impl<T: Tensor, P: sealed::Parameter<T>> Parameter<T> for P {}

pub(crate) mod sealed {
    use std::fmt;

    use super::{Element, Number, Slice, Values};

    pub trait Tensor {
        /// It, whatever its type.
        type Any: fmt::Debug + Clone;

        const ELEMENT: Element;

        fn any(self) -> Self::Any;
        fn element(any: &Self::Any) -> Element;
    }

    impl<'a, T: Number> Tensor for &'a [T] {
        type Any = Values<'a>;

        const ELEMENT: Element = T::ELEMENT;

        fn any(self) -> Values<'a> {
            Values::new(self)
        }

        fn element(any: &Values<'a>) -> Element {
            any.element()
        }
    }

    pub trait Parameter<T: Tensor> {
        fn any(self) -> T::Any;
    }

    impl<'a, T: Number, S: Slice + ?Sized> Parameter<&'a [T]> for &'a S {
        fn any(self) -> Values<'a> {
            self.values()
        }
    }
}
