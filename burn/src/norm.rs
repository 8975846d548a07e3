//! What is computed: a norm as a small table of its kinds, with the order in which it takes the axes of a tensor.

use burn::tensor::DType;
use wgpu_norm::{
    Adapted, BatchNorm, Element, GroupNorm, InstanceNorm, LayerNorm, Momentum, Norm as _, RmsNorm, SpecError, Storage,
};

/// A norm, apart from the shape of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Norm {
    pub(crate) kind: Kind,
    /// The axis of `x` that gamma and beta run along.
    pub(crate) axis: usize,
    pub(crate) epsilon: Number,
    /// How the tensors are stored that it takes and gives.
    pub(crate) storage: Storage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Layer,
    Rms,
    Group { groups: usize },
    Instance,
    BatchTrain { momentum: Number },
    BatchEval,
}

/// How tensors of these types go in: as they are, but for those that the library does not take beside `x`, which go in as f32.
pub(crate) fn storage(x: DType, parameters: impl IntoIterator<Item = DType>) -> Storage {
    let of_x = match x {
        DType::F16 => Element::F16,
        DType::BF16 => Element::Bf16,
        _ => Element::F32,
    };
    let alike = parameters.into_iter().all(|parameter| parameter == x);
    Storage::new(of_x).parameters(if alike { of_x } else { Element::F32 })
}

/// What burn calls an element type of the library.
pub(crate) fn dtype(element: Element) -> DType {
    match element {
        Element::F16 => DType::F16,
        Element::Bf16 => DType::BF16,
        _ => DType::F32,
    }
}

/// An f32 by its bits, so that a norm can be the key of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Number(u32);

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self((value as f32).to_bits())
    }
}

impl From<Number> for f32 {
    fn from(number: Number) -> Self {
        Self::from_bits(number.0)
    }
}

impl Norm {
    /// The name of burn's module.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Layer => "LayerNorm",
            Kind::Rms => "RmsNorm",
            Kind::Group { .. } => "GroupNorm",
            Kind::Instance => "InstanceNorm",
            Kind::BatchTrain { .. } | Kind::BatchEval => "BatchNorm",
        }
    }

    /// The specification for an `x` of `shape`, which has the axis.
    pub(crate) fn specification(&self, shape: &[usize]) -> Result<Adapted<Box<dyn wgpu_norm::Norm>>, SpecError> {
        let (axis, eps) = (self.axis as isize, self.epsilon.into());
        let norm: Box<dyn wgpu_norm::Norm> = match self.kind {
            Kind::Layer => Box::new(LayerNorm::new(shape, &shape[self.axis..])?.eps(eps)),
            Kind::Rms => Box::new(RmsNorm::new(shape, &shape[self.axis..])?.eps(eps)),
            Kind::Group { groups } => Box::new(GroupNorm::new(shape, groups, axis)?.eps(eps)),
            Kind::Instance => Box::new(InstanceNorm::new(shape, axis)?.eps(eps)),
            Kind::BatchTrain { momentum } => {
                let momentum = Momentum::exponential(momentum.into());
                Box::new(BatchNorm::new(shape, axis)?.eps(eps).momentum(momentum))
            }
            Kind::BatchEval => Box::new(BatchNorm::new(shape, axis)?.eps(eps).eval()),
        };
        Ok(norm.stored_as(self.storage))
    }

    /// The shape of the statistics that the forward pass saves: four numbers a group. For norms over rows they have the
    /// axes of `x`, so that they follow its order.
    pub(crate) fn statistics_shape(&self, shape: &[usize]) -> Vec<usize> {
        match self.kind {
            Kind::Layer | Kind::Rms => [&shape[..self.axis], &[4]].concat(),
            Kind::Group { groups } => vec![shape[0], groups, 4],
            Kind::Instance => vec![shape[0], shape[self.axis], 4],
            Kind::BatchTrain { .. } | Kind::BatchEval => vec![shape[self.axis], 4],
        }
    }

    /// Whether the norm takes its statistics from the batch and updates running ones.
    pub(crate) fn trains(&self) -> bool {
        matches!(self.kind, Kind::BatchTrain { .. })
    }

    /// Whether the saved statistics have the axes of `x`.
    pub(crate) fn statistics_follow_x(&self) -> bool {
        matches!(self.kind, Kind::Layer | Kind::Rms)
    }

    /// The axes of a tensor in the order that they have in memory, outermost first, if the tensor has no gaps and the norm can
    /// take them so: rows must be innermost, samples outermost. Otherwise the axes as they are, to be copied.
    pub(crate) fn order(&self, shape: &[usize], strides: &[usize]) -> Vec<usize> {
        let rank = shape.len();
        let (first, last) = match self.kind {
            Kind::Layer | Kind::Rms => (0, rank - 1),
            Kind::Group { .. } | Kind::Instance => (1.min(rank), rank),
            Kind::BatchTrain { .. } | Kind::BatchEval => (0, rank),
        };
        let mut order: Vec<usize> = (0..rank).collect();
        order[first..last].sort_by_key(|&axis| std::cmp::Reverse(strides[axis]));
        let mut next = 1;
        for &axis in order.iter().rev().filter(|&&axis| shape[axis] != 1) {
            if strides[axis] != next {
                return (0..rank).collect();
            }
            next *= shape[axis];
        }
        order
    }

    /// This norm for a tensor whose axes are in `order`.
    pub(crate) fn permuted(self, order: &[usize]) -> Self {
        let axis = order.iter().position(|&axis| axis == self.axis).unwrap_or(self.axis);
        Self { axis, ..self }
    }
}
