//! What the layers have in common, and where they differ.

use std::fmt;

use super::repr::Tuple;
use crate::element::Storage;
use crate::epilogue::Activation;
use crate::error::{Error, LayerError, SpecError};
use crate::norm::{BatchNorm, Norm};
use crate::problem::VarianceEstimator;

/// Options that a [`Layer`](super::Layer) is made from. This trait is sealed: only the options of this module implement it.
pub trait LayerOptions: sealed::Kind {}

impl<K: sealed::Kind + ?Sized> LayerOptions for K {}

pub(crate) mod sealed {
    use super::{Activation, Affine, BatchNorm, Error, Following, Norm, Storage, fmt};

    /// One kind of layer.
    pub trait Kind: fmt::Debug + Send + Sync {
        /// The name of PyTorch's class.
        fn name(&self) -> &'static str;

        /// What PyTorch prints between the brackets.
        fn repr(&self) -> String;

        /// The norm of an input of this shape.
        fn norm(&self, shape: &[usize], training: bool) -> Result<Box<dyn Norm>, Error>;

        /// The batch norm of such an input by the statistics of the batch, if it is one.
        fn batch_norm(&self, _shape: &[usize]) -> Result<Option<BatchNorm>, Error> {
            Ok(None)
        }

        /// A shape that such a layer takes.
        fn example_shape(&self) -> Vec<usize>;

        /// The shape of weight, bias and running statistics.
        fn parameter_shape(&self) -> Vec<usize>;

        /// Which parameters it has.
        fn affine(&self) -> Affine;

        /// How its tensors are stored.
        fn storage(&self) -> Storage;

        /// What follows the norm.
        fn activation(&self) -> Option<Activation>;

        /// Whether it keeps running statistics.
        fn tracks(&self) -> bool {
            false
        }

        /// How the layer's running statistics follow those of instances, where they do.
        fn following(&self) -> Option<Following> {
            None
        }

        /// What is multiplied by before anything is learned.
        fn initial_weight(&self) -> f32 {
            1.0
        }

        /// Keys of a state dict that say that the layer is another than this, and why.
        #[cfg(feature = "safetensors")]
        fn refused_keys(&self) -> Option<(&'static [&'static str], &'static str)> {
            None
        }
    }
}

impl sealed::Kind for Box<dyn LayerOptions> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn repr(&self) -> String {
        (**self).repr()
    }

    fn norm(&self, shape: &[usize], training: bool) -> Result<Box<dyn Norm>, Error> {
        (**self).norm(shape, training)
    }

    fn batch_norm(&self, shape: &[usize]) -> Result<Option<BatchNorm>, Error> {
        (**self).batch_norm(shape)
    }

    fn example_shape(&self) -> Vec<usize> {
        (**self).example_shape()
    }

    fn parameter_shape(&self) -> Vec<usize> {
        (**self).parameter_shape()
    }

    fn affine(&self) -> Affine {
        (**self).affine()
    }

    fn storage(&self) -> Storage {
        (**self).storage()
    }

    fn activation(&self) -> Option<Activation> {
        (**self).activation()
    }

    fn tracks(&self) -> bool {
        (**self).tracks()
    }

    fn following(&self) -> Option<Following> {
        (**self).following()
    }

    fn initial_weight(&self) -> f32 {
        (**self).initial_weight()
    }

    #[cfg(feature = "safetensors")]
    fn refused_keys(&self) -> Option<(&'static [&'static str], &'static str)> {
        (**self).refused_keys()
    }
}

/// Which parameters a layer has. There is no bias without a weight, as in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    pub(super) weight: bool,
    pub(super) bias: bool,
}

impl Affine {
    pub(super) const ALL: Self = Self { weight: true, bias: true };

    pub(super) fn new(affine: bool, bias: bool) -> Self {
        Self { weight: affine, bias: affine && bias }
    }
}

/// How running statistics follow the averages, over the samples of a batch, of instances' means and variances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Following {
    pub(super) momentum: f32,
    pub(super) estimator: VarianceEstimator,
}

/// The axes that are normalized over: the last ones, or others, of these lengths.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Extent {
    pub(super) lengths: Vec<usize>,
    pub(super) axes: Option<Vec<isize>>,
}

impl Extent {
    pub(super) fn last(lengths: &[usize]) -> Self {
        Self { lengths: lengths.to_vec(), axes: None }
    }

    /// The norm of an input of this shape, from its last axes or from others, if these have the lengths.
    pub(super) fn norm<N: Norm>(
        &self,
        layer: &'static str,
        shape: &[usize],
        last: impl Fn(&[usize], &[usize]) -> Result<N, SpecError>,
        over: impl Fn(&[usize], &[isize]) -> Result<N, SpecError>,
    ) -> Result<N, Error> {
        let Some(axes) = &self.axes else { return Ok(last(shape, &self.lengths)?) };
        if axes.len() != self.lengths.len() {
            let (option, must) = ("the number of axes", "that of the lengths in normalized_shape");
            return Err(LayerError::Option { layer, option, value: axes.len(), must }.into());
        }
        let norm = over(shape, axes)?;
        if norm.parameter_shape() == self.lengths {
            return Ok(norm);
        }
        let must = format!("have the lengths {:?} along axes {axes:?}, in the order of x", self.lengths);
        Err(LayerError::Input { layer, shape: shape.to_vec(), must }.into())
    }

    /// A shape with these lengths and one of everything else.
    pub(super) fn example_shape(&self) -> Vec<usize> {
        let Some(axes) = &self.axes else { return [&[1], &self.lengths[..]].concat() };
        let (from_last, from_first) = axes.iter().partition::<Vec<isize>, _>(|&&axis| axis < 0);
        let behind = from_last.iter().map(|axis| axis.unsigned_abs()).max().unwrap_or(0);
        let before = from_first.iter().map(|axis| axis.unsigned_abs() + 1).max().unwrap_or(0);
        // An axis beyond any reason is refused by whoever takes this shape.
        let mut shape = vec![1; before.saturating_add(behind).clamp(1, 8)];
        let rank = shape.len();
        let place = |&axis: &isize| if axis < 0 { rank.checked_add_signed(axis) } else { Some(axis.unsigned_abs()) };
        let mut places: Vec<usize> = axes.iter().filter_map(place).filter(|&place| place < rank).collect();
        places.sort_unstable();
        places.iter().zip(&self.lengths).for_each(|(&place, &length)| shape[place] = length);
        shape
    }

    /// `(768,)`, as PyTorch prints it.
    pub(super) fn repr(&self) -> String {
        Tuple(&self.lengths).to_string()
    }

    /// What PyTorch's layer does not have, where it is used.
    pub(super) fn repr_of_axes(&self) -> String {
        self.axes.as_ref().map_or_else(String::new, |axes| format!(", axes={}", Tuple(axes)))
    }
}

/// Where the channels of an input are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Channels {
    pub(super) count: usize,
    pub(super) axis: isize,
    /// How many axes of positions there are, where that is fixed.
    pub(super) dims: Option<usize>,
}

impl Channels {
    pub(super) const LAST: isize = -1;
    pub(super) const FIRST: isize = 1;

    pub(super) fn last(count: usize) -> Self {
        Self { count, axis: Self::LAST, dims: None }
    }

    /// One of PyTorch's three classes, if the rank is fixed.
    pub(super) fn class(self, names: [&'static str; 4]) -> &'static str {
        let [any, one, two, three] = names;
        match self.dims {
            Some(1) => one,
            Some(2) => two,
            Some(3) => three,
            _ => any,
        }
    }

    /// Refuses a number of axes that is none of PyTorch's classes.
    pub(super) fn check(self, layer: &'static str) -> Result<(), Error> {
        match self.dims {
            Some(dims) if !(1..=3).contains(&dims) => Err(LayerError::Option {
                layer,
                option: "dims",
                value: dims,
                must: "1, 2 or 3, as in BatchNorm1d to BatchNorm3d",
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// A shape with these channels and one of everything else.
    pub(super) fn example_shape(self) -> Vec<usize> {
        let least = if self.axis < 0 { self.axis.unsigned_abs() } else { self.axis.unsigned_abs() + 1 };
        // An axis or a number of axes beyond any reason is refused by whoever takes this shape.
        let mut shape = vec![1; self.dims.map_or(least.max(2), |dims| dims.saturating_add(2)).min(8)];
        let rank = shape.len();
        let place = if self.axis < 0 { rank.checked_add_signed(self.axis) } else { Some(self.axis.unsigned_abs()) };
        if let Some(length) = place.and_then(|place| shape.get_mut(place)) {
            *length = self.count;
        }
        shape
    }

    /// Refuses an input that has other channels than the layer.
    pub(super) fn check_input(self, layer: &'static str, norm: &dyn Norm) -> Result<(), Error> {
        if norm.parameter_shape() == [self.count] {
            return Ok(());
        }
        let must = format!("have {} channels along axis {}", self.count, self.axis);
        Err(LayerError::Input { layer, shape: norm.shape().to_vec(), must }.into())
    }
}
