//! What to compute: one file per norm, each a specification that checks its shapes and maps itself to a
//! [`Block`]. Everything below this module knows blocks only.

mod adapted;
mod axes;
mod batch;
mod group;
mod heads;
mod instance;
mod layer;
mod lp;
mod mvn;
mod rms;

pub use adapted::Adapted;
use adapted::Change;
pub use batch::BatchNorm;
pub use group::GroupNorm;
pub use instance::InstanceNorm;
pub use layer::LayerNorm;
pub use lp::LpNorm;
pub use mvn::MeanVarianceNorm;
pub use rms::RmsNorm;

use crate::block::{AffineIndex, Block};
use crate::element::Storage;
use crate::epilogue::Activation;
use crate::error::SpecError;
use crate::modulation::Modulation;
use crate::problem::{Centering, Problem, Rounding, Scaling, Source, Task, check_shape, count};
use crate::strides::{Placement, Strides};

/// The default `eps` of layer, RMS, group, instance and batch norm.
pub const DEFAULT_EPS: f32 = 1e-5;

/// A specification: which norm to compute, on what shape and with what options.
/// [`Context::plan`](crate::Context::plan) turns it into a plan.
///
/// This trait is sealed: only the norms of this crate implement it.
pub trait Norm: sealed::Lower + Send + Sync {
    /// The name of the norm, as error messages give it.
    fn name(&self) -> &'static str;

    /// The shape of `x` and `y`.
    fn shape(&self) -> &[usize];

    /// The shape of `weight` and `bias`; empty if the norm has none.
    fn parameter_shape(&self) -> Vec<usize>;

    /// The shape of `mean` and `rstd`, one value per group: `[N, G]` for group norm, `[N, C]` for instance norm, `[C]` for
    /// batch norm. For all others, the shape of `x` with the reduced axes as 1.
    fn statistics_shape(&self) -> Vec<usize>;

    /// This norm on tensors of other types than f32: an [`Element`](crate::Element) for all of the size of `x`, or a
    /// [`Storage`]. A plan for buffers, or for slices that are kept, goes by it. Calls on arrays go by the types of their
    /// [`Inputs`](crate::Inputs), and need it only for f32 that is to be stored in 16 bits.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::{Element, Gpu, Inputs, LayerNorm, Norm};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let norm = LayerNorm::new(&[1, 4], &[4])?.stored_as(Element::F16);
    /// // These slices are f32, and rounded on their way to the device; of buffers only the bytes count.
    /// let out = gpu.run_blocking(&norm, Inputs::new(&[1.0, 2.0, 3.0, 4.0][..]))?;
    /// assert_eq!(out.y[3], 1.3417969);
    /// # Ok(())
    /// # }
    /// ```
    fn stored_as(self, storage: impl Into<Storage>) -> Adapted<Self>
    where
        Self: Sized,
    {
        Adapted::new(self, Change::Storage(storage.into()))
    }

    /// This norm with an activation after weight and bias, in the same pass: `y = activation(norm(x))`. A norm has one at most, which
    /// is checked when planning.
    ///
    /// Backward, `dy` is the gradient of what the activation gives, and [`bias`](crate::Operands::bias) is read where there is one.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::{Activation, Gpu, Inputs, LayerNorm, Norm};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let norm = LayerNorm::new(&[1, 4], &[4])?.then(Activation::Relu);
    /// let out = gpu.run_blocking(&norm, Inputs::new(&[1.0, 2.0, 3.0, 4.0][..]))?;
    /// assert_eq!(out.y[..2], [0.0, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    fn then(self, activation: Activation) -> Adapted<Self>
    where
        Self: Sized,
    {
        Adapted::new(self, Change::Activation(activation))
    }

    /// This norm with a scale and a shift for each sample, frame or row, after weight and bias and before an activation. See
    /// [`Modulation`].
    fn modulated(self, modulation: Modulation) -> Adapted<Self>
    where
        Self: Sized,
    {
        Adapted::new(self, Change::Modulation(modulation))
    }

    /// This norm with a tensor of the shape of `x` added after weight, bias and [modulation](Self::modulated), and before an
    /// [activation](Self::then): `y = relu(norm(x) + skip)` of residual networks. [`skip`](crate::Operands::skip) gives the tensor.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::{Activation, Gpu, Inputs, LayerNorm, Norm};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let norm = LayerNorm::new(&[1, 2], &[2])?.eps(0.0).plus_skip().then(Activation::Relu);
    /// let inputs = Inputs::new(&[1.0, 3.0][..]).skip(&[0.5, 0.5]);
    /// assert_eq!(gpu.run_blocking(&norm, inputs)?.y, [0.0, 1.5]);
    /// # Ok(())
    /// # }
    /// ```
    fn plus_skip(self) -> Adapted<Self>
    where
        Self: Sized,
    {
        Adapted::new(self, Change::Skip)
    }

    /// This norm on tensors that are parts of larger ones, with [`Strides`] of their own.
    fn with_strides(self, strides: Strides) -> Adapted<Self>
    where
        Self: Sized,
    {
        Adapted::new(self, Change::Strides(Box::new(strides)))
    }
}

/// A norm chosen at run time.
impl<N: Norm + ?Sized> Norm for Box<N> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn shape(&self) -> &[usize] {
        (**self).shape()
    }

    fn parameter_shape(&self) -> Vec<usize> {
        (**self).parameter_shape()
    }

    fn statistics_shape(&self) -> Vec<usize> {
        (**self).statistics_shape()
    }
}

impl<N: Norm + ?Sized> sealed::Lower for Box<N> {
    fn lower(&self) -> Result<Problem, SpecError> {
        (**self).lower()
    }
}

pub(crate) mod sealed {
    use super::{Problem, SpecError};

    /// A norm in terms of blocks.
    pub trait Lower {
        /// Checks the parameters and maps the norm to a block.
        fn lower(&self) -> Result<Problem, SpecError>;
    }
}

/// A norm of statistics from `x` with the usual affine part.
fn problem(norm: &dyn Norm, block: Block, index: AffineIndex, eps: f32) -> Result<Problem, SpecError> {
    if !(eps.is_finite() && eps >= 0.0) {
        return Err(SpecError::Parameter {
            norm: norm.name(),
            parameter: "eps",
            value: eps,
            must: "finite and at least 0",
        });
    }
    let (block, index) = block.simplified(index);
    let statistics_shape = norm.statistics_shape();
    Ok(Problem {
        norm: norm.name(),
        shape: norm.shape().to_vec(),
        parameter_shape: norm.parameter_shape(),
        record_shape: statistics_shape.iter().copied().chain([4]).collect(),
        moments_shape: statistics_shape.iter().copied().chain([4]).collect(),
        sums_shape: statistics_shape.iter().copied().chain([2]).collect(),
        statistics_shape,
        task: Task::Forward,
        block,
        index,
        centering: Centering::Mean,
        scaling: Scaling::Variance,
        affine: true,
        source: Source::Batch,
        activation: None,
        modulation: None,
        skip: false,
        storage: Storage::default(),
        placement: Placement::contiguous(block.elements()),
        // -0 becomes 0: shaders compare its bits.
        eps: eps + 0.0,
        segments: Vec::new(),
        weight_offset: 0.0,
        rounding: Rounding::AtEnd,
    })
}

/// The channel axis counted from the first; negative ones count from the last.
fn check_channel_axis(norm: &'static str, shape: &[usize], channel_axis: isize) -> Result<usize, SpecError> {
    check_shape(norm, shape)?;
    let rank = shape.len();
    let axis = if channel_axis < 0 { rank.checked_add_signed(channel_axis) } else { channel_axis.try_into().ok() };
    match axis {
        Some(axis) if axis < rank => Ok(axis),
        _ => Err(SpecError::ChannelAxis { norm, channel_axis, shape: shape.to_vec() }),
    }
}

/// An input with a channel axis, as its batch, what lies between, the channels, and what lies behind.
struct Channels {
    n: u64,
    before: u64,
    c: u64,
    after: u64,
}

impl Channels {
    /// Axis 0 is the batch, unless it is the channel axis: then there is one, unbatched, sample.
    fn split(shape: &[usize], axis: usize) -> Self {
        let n = if axis == 0 { 1 } else { shape[0] as u64 };
        let before = if axis == 0 { 1 } else { count(&shape[1..axis]) };
        Self { n, before, c: shape[axis] as u64, after: count(&shape[axis + 1..]) }
    }
}
