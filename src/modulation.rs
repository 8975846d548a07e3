//! Scale and shift of parts of a tensor after a norm, gate and embedding before it.

use std::fmt;

use crate::block::{AffineIndex, Block};
use crate::error::SpecError;
use crate::mapping::{GroupIndex, Mapping};
use crate::problem::Problem;

/// A scale and a shift for each sample, frame or row, after weight and bias and before an activation, and a gate and an embedding before
/// the norm, all of them optional:
///
/// ```text
/// z = residual + gate * x + embedding
/// y = norm(z) * (offset + scale) + shift
/// ```
///
/// It is AdaLN of diffusion transformers, FiLM, and conditional norms in general; the embedding is that of the time in diffusion models, and
/// a gate of shape `[1, 1, width]` is LayerScale. [`Norm::modulated`](crate::Norm::modulated) takes it. `z` is what
/// [`residual_out`](crate::Operands::residual_out) stores, and what a backward pass takes as `x`.
///
/// All four have one shape: that of `x`, with 1 for the axes that share them, which must be neighbours. `[batch, 1, width]` is one
/// row for each sample of `[batch, tokens, width]`, `[batch, channels, 1, 1]` a number for each channel of each image. The tensors that
/// share a norm's weight are as before: `weight` and `bias` come first.
///
/// They may be parts of a larger tensor, such as the chunks of one projection: the [pitch](Self::pitch) says how far apart rows of their
/// last axis lie that is longer than 1, and a [`View`](crate::View) where the first element is.
///
/// Peebles and Xie, "Scalable Diffusion Models with Transformers", 2022; Perez et al., "FiLM", 2017.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Gpu, Inputs, LayerNorm, Modulation, Norm};
///
/// let gpu = Gpu::new_blocking()?;
/// // Two samples of one token each.
/// let norm = LayerNorm::new(&[2, 1, 2], &[2])?.eps(0.0).modulated(Modulation::new(&[2, 1, 2]));
/// let inputs = Inputs::new(&[1.0, 3.0, 10.0, 30.0][..]).scale(&[0.0, 0.0, 1.0, 1.0]).shift(&[0.0, 5.0, 0.0, 0.0]);
/// assert_eq!(gpu.run_blocking(&norm, inputs)?.y, [-1.0, 6.0, -2.0, 2.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Modulation {
    shape: Vec<usize>,
    pitch: Option<usize>,
    offset: f32,
}

impl Modulation {
    /// By scale and shift of this shape, contiguous, with an offset of 1.
    #[must_use]
    pub fn new(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), pitch: None, offset: 1.0 }
    }

    /// How many elements lie from the start of one row to that of the next, where rows are their last axis that is longer than 1. What lies
    /// between keeps its bits in the gradients.
    #[must_use]
    pub fn pitch(self, pitch: usize) -> Self {
        Self { pitch: Some(pitch), ..self }
    }

    /// What is added to the scale: 1 unless it is said, 0 for a scale that is the whole factor. Without a scale the factor is 1.
    #[must_use]
    pub fn offset(self, offset: f32) -> Self {
        Self { offset, ..self }
    }

    /// As `norm` of `x` of this shape takes it.
    pub(crate) fn on(&self, norm: &'static str, x: &[usize], segmented: bool) -> Result<Modulated, SpecError> {
        let Self { shape, pitch, offset } = self;
        let wrong = |must| SpecError::Modulation { norm, given: self.clone(), shape: x.to_vec(), must };
        if segmented {
            return Err(wrong("left out, as segments of heads have weights of their own"));
        }
        if !offset.is_finite() {
            return Err(wrong("of a finite offset"));
        }
        if shape.len() != x.len() || shape.iter().zip(x).any(|(&n, &of_x)| n != 1 && n != of_x) {
            return Err(wrong("of the shape of x, with 1 for the axes that share a number"));
        }
        let shared = |axis: usize| shape[axis] != x[axis];
        let first = (0..x.len()).find(|&axis| shared(axis));
        let last = (0..x.len()).rfind(|&axis| shared(axis));
        // Axes of one element are neither.
        let between = first.zip(last).map_or(0..0, |(first, last)| first..last + 1);
        if between.clone().any(|axis| !shared(axis) && x[axis] != 1) {
            return Err(wrong("such that the axes that share a number are neighbours"));
        }
        let product = |axes: &[usize]| axes.iter().map(|&n| n as u64).product::<u64>();
        let line = shape.iter().rev().find(|&&n| n != 1).map_or(1, |&n| n as u64);
        let pitch = pitch.map_or(line, |pitch| pitch as u64);
        let numbers = product(shape);
        if pitch < line || numbers.div_ceil(line.max(1)).checked_mul(pitch).is_none_or(|all| all >= 1 << 32) {
            return Err(wrong("of a pitch that is no less than a row, with all rows within 2^32 elements"));
        }
        Ok(Modulated {
            shape: shape.clone(),
            shared: product(&x[between.clone()]),
            inner: product(&x[between.end..]),
            line,
            pitch,
            offset: *offset,
        })
    }
}

impl fmt::Display for Modulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shape)?;
        if let Some(pitch) = self.pitch {
            write!(f, " of pitch {pitch}")?;
        }
        if self.offset != 1.0 {
            write!(f, " with an offset of {}", self.offset)?;
        }
        Ok(())
    }
}

/// A modulation of a tensor, whose elements share their scale and shift with `shared` others, `inner` elements apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Modulated {
    pub(crate) shape: Vec<usize>,
    pub(crate) shared: u64,
    pub(crate) inner: u64,
    /// Numbers that are neighbours, and how far apart such rows lie.
    pub(crate) line: u64,
    pub(crate) pitch: u64,
    pub(crate) offset: f32,
}

impl Modulated {
    /// How many there are.
    pub(crate) fn numbers(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }

    /// Elements from the first to the last, with what lies between.
    pub(crate) fn extent(&self) -> u64 {
        let rows = self.numbers() / self.line.max(1);
        if rows == 0 { 0 } else { (rows - 1) * self.pitch + self.line }
    }

    /// Whether the rows lie apart.
    pub(crate) fn has_gaps(&self) -> bool {
        self.pitch != self.line && self.numbers() > self.line
    }

    /// Whether so many neighbours of `x`, that begin at a multiple of as many, share one scale.
    pub(crate) fn is_constant(&self, unit: u64) -> bool {
        self.inner == 1 && self.shared.is_multiple_of(unit)
    }

    /// Whether they have neighbouring ones.
    pub(crate) fn is_along(&self, unit: u64) -> bool {
        self.inner > 1 && self.inner.is_multiple_of(unit) && (!self.has_gaps() || self.line.is_multiple_of(unit))
    }

    /// The elements of `x` by the number that they share: number `b * K + k`. None where there are too many to leave sums.
    pub(crate) fn by_number(&self) -> Option<Mapping> {
        let (shared, inner) = (self.shared, self.inner);
        let b = self.numbers() / inner.max(1);
        let block =
            if inner == 1 { Block { b, r: 1, k: 1, s: shared } } else { Block { b, r: shared, k: inner, s: 1 } };
        Some(Mapping::of(block, AffineIndex::NONE)).filter(|_| self.numbers() <= MOST_SUMMED)
    }

    /// Where the number is of element `i` of `x`.
    #[cfg(feature = "cpu")]
    pub(crate) fn place(&self, i: u64) -> u64 {
        let number = i / (self.shared * self.inner) * self.inner + i % self.inner;
        number / self.line * self.pitch + number % self.line
    }
}

/// The elements of `x` by what they share: a number of scale and shift is `b * K + k`, or that over as many neighbours as share one. None where
/// sums of gradients would need more than that says.
pub(crate) fn by_modulation(problem: &Problem) -> Option<Mapping> {
    let modulated = problem.modulation.as_ref().filter(|modulated| modulated.numbers() <= MOST_SUMMED)?;
    let own = Mapping::of(problem.block, problem.index);
    let Block { r, k, s, .. } = problem.block;
    let by_group = r == 1 && k == 1 && modulated.inner == 1 && modulated.shared == s;
    by_weight_and_modulation(problem, own, modulated)
        .or_else(|| {
            across_groups(problem, own, modulated).filter(|Mapping { block, .. }| block.b * block.k <= MOST_SUMMED)
        })
        .or_else(|| Some(own).filter(|_| by_group || problem.block.elements() == 0))
}

/// Numbers whose gradients leave sums in scratch: so that scratch is as a rule far below what bindings hold, and no plan fails for the sake of
/// gradients that nobody asks for.
const MOST_SUMMED: u64 = 1 << 22;

/// After a norm over other axes than the last: weights go down `R`, and statistics along what a channel of a sample is.
fn across_groups(problem: &Problem, own: Mapping, modulated: &Modulated) -> Option<Mapping> {
    let Mapping { block: Block { b, r, k, s }, index, groups } = own;
    let Modulated { shared, inner, .. } = *modulated;
    if problem.index.r_mul == 0 || problem.block.elements() == 0 {
        return None;
    }
    let of_samples = GroupIndex { b_div: 1, b_step: k, rows: 1, r_step: k, k_div: u64::MAX, s_step: 1 };
    match s {
        // A channel, or all of them: each element has statistics of its own.
        1 if inner == 1 && shared.is_multiple_of(k) && r.is_multiple_of(shared / k) => {
            let block = Block { b, r: 1, k: r, s: k };
            Some(Mapping { block, index: AffineIndex::PER_K, groups: of_samples })
        }
        // A place, as the group does.
        1 if inner == k && shared == r => Some(Mapping { groups: GroupIndex { r_step: 0, ..groups }, ..own }),
        1 if shared == 1 => {
            let groups = GroupIndex { b_div: r, r_step: 0, ..groups };
            let index = AffineIndex { b_mod: r, b_mul: index.r_mul, ..AffineIndex::NONE };
            Some(Mapping { block: Block { b: b * r, r: 1, k, s }, index, groups })
        }
        1 => None,
        // A channel, or a place of it.
        _ if (inner == s && shared == k) || (inner == 1 && shared == k * s) => Some(own.by_weight()),
        _ => None,
    }
}

fn by_weight_and_modulation(problem: &Problem, own: Mapping, modulated: &Modulated) -> Option<Mapping> {
    if problem.index.r_mul > 0 || problem.block.elements() == 0 {
        return None;
    }
    let Mapping { block: Block { b, r, k, s }, groups, .. } = own.by_weight();
    let Modulated { shared, inner, .. } = *modulated;
    // Where each element has its own, every split of them is one.
    let inner = if shared == 1 { k * s } else { inner };
    let index = AffineIndex::PER_K;
    // Lines of `k * s`, of which one after the other is of the same groups.
    let rows = if b == 1 || groups.rows == r { groups.rows } else { return None };
    if inner == 1 && shared == s {
        let groups = GroupIndex { b_div: rows, b_step: groups.r_step, rows: 1, r_step: 0, ..groups };
        return Some(Mapping { block: Block { b: b * r, r: 1, k, s }, index, groups });
    }
    if s != 1 || inner != k || !(b * r).is_multiple_of(shared) {
        return None;
    }
    let groups = if shared.is_multiple_of(rows) {
        GroupIndex { b_div: 1, b_step: shared / rows * groups.r_step, rows, r_step: groups.r_step, ..groups }
    } else if rows.is_multiple_of(shared) {
        GroupIndex { b_div: rows / shared, b_step: groups.r_step, rows: 1, r_step: 0, ..groups }
    } else {
        return None;
    };
    Some(Mapping { block: Block { b: b * r / shared, r: shared, k, s: 1 }, index, groups })
}
