//! What follows a norm, of elements that are still in the cache: scale and shift, a skip, an activation; and the way back.

use std::ops::Range;

use super::modulation::Modulation;
use super::operands::Operands;
use super::parallel::{Cut, Memory, Scratch, Units, each};
use super::simd::{Center, Level, activate, pass_back};
use super::values::{Values, ValuesMut};
use crate::epilogue::Activation;
use crate::modulation::Modulated;
use crate::problem::Problem;
use crate::tensors::Role;

/// What a row is normalized by that is not to be changed.
pub(super) const AS_IT_IS: Center = Center { scale: 1.0, shift: 0.0, delta: 0.0, factor: 1.0 };

/// Nothing is less.
pub(super) const NO_FLOOR: f32 = f32::NEG_INFINITY;

/// Elements that go through at a time, so that they stay in the nearest cache.
const PIECE: usize = 1 << 10;

#[derive(Clone, Copy)]
pub(super) struct Epilogue<'a> {
    level: Level,
    modulation: Option<Modulation<'a>>,
    skip: Option<Values<'a>>,
    activation: Option<Activation>,
}

impl<'a> Epilogue<'a> {
    /// With memory for what is filled in.
    pub(super) fn new<'o: 'a>(
        problem: &'a Problem,
        operands: &mut Operands<'o>,
        level: Level,
        memory: [&'a mut Memory<'_>; 2],
    ) -> Self {
        let offset = problem.modulation.as_ref().map_or(0.0, |of| of.offset);
        let modulation = Modulation::new(problem, operands, level, [Role::Scale, Role::Shift], offset, memory);
        Self { level, modulation, skip: operands.take_values(Role::Skip), activation: problem.activation }
    }

    /// Nothing.
    pub(super) fn none(level: Level) -> Self {
        Self { level, modulation: None, skip: None, activation: None }
    }

    /// Takes a ReLU away, where that is all there is, and gives the least that it leaves: the norm's own loop does that, too.
    pub(super) fn take_floor(&mut self) -> f32 {
        if self.modulation.is_some() || self.skip.is_some() || self.activation != Some(Activation::Relu) {
            return NO_FLOOR;
        }
        self.activation = None;
        0.0
    }

    pub(super) fn is_none(&self) -> bool {
        self.modulation.is_none() && self.skip.is_none() && self.activation.is_none()
    }

    /// Whether the way back goes by `y`.
    pub(super) fn has_slope(&self) -> bool {
        self.activation.is_some()
    }

    /// What becomes of `y`, of elements from number `first` on.
    pub(super) fn apply(&self, first: usize, y: &mut [f32]) {
        self.before_activation(first, y);
        if let Some(activation) = self.activation {
            activate(self.level, activation, y);
        }
    }

    fn before_activation(&self, first: usize, y: &mut [f32]) {
        if let Some(modulation) = self.modulation {
            modulation.apply(self.level, first, y);
        }
        if let Some(skip) = self.skip {
            skip.part(first..first + y.len()).add(self.level, y);
        }
    }

    /// From the gradient of the result to that of what the activation is of. `y` is overwritten; without an activation it may be anything.
    pub(super) fn back_to_skip(&self, first: usize, dy: &mut [f32], y: &mut [f32]) {
        if let Some(activation) = self.activation {
            self.before_activation(first, y);
            pass_back(self.level, activation, dy, y);
        }
    }

    /// And from there to that of `y`.
    pub(super) fn back_to_norm(&self, first: usize, dy: &mut [f32]) {
        if let Some(modulation) = self.modulation {
            modulation.multiply(first, dy);
        }
    }
}

/// Sums that the way back leaves, of elements that share a number of a modulation, and a tensor of the size of `x`: the gradients of scale,
/// shift and skip, or of gate, embedding and branch.
pub(super) struct Left<'a> {
    factor: Option<&'a mut [f32]>,
    shift: Option<&'a mut [f32]>,
    large: ValuesMut<'a>,
}

/// Elements on their way back: their gradient, what the factor multiplied, and what becomes of the gradient there.
pub(super) struct Back<'b> {
    pub(super) gradient: &'b mut [f32],
    pub(super) of: &'b mut [f32],
    pub(super) large: &'b mut [f32],
}

/// Most parts of the elements that share numbers, for threads to share out.
const PARTS: usize = 16;

impl<'a> Left<'a> {
    pub(super) fn new(operands: &mut Operands<'a>, [factor, shift, large]: [Role; 3]) -> Self {
        let mut given = |role| operands.take_write(role).filter(|of| !of.is_empty());
        let (factor, shift) = (given(factor), given(shift));
        Self { factor, shift, large: operands.take_values_mut(large) }
    }

    /// Of the large tensor alone.
    pub(super) fn of_large(large: ValuesMut<'a>) -> Self {
        Self { factor: None, shift: None, large }
    }

    /// Whether nothing is asked for.
    pub(super) fn is_none(&self) -> bool {
        self.factor.is_none() && self.shift.is_none() && self.large.is_empty()
    }

    /// Of nothing.
    pub(super) fn clear(&mut self, problem: &Problem, accumulate: bool) {
        let Some(modulated) = problem.modulation.as_ref().filter(|_| !accumulate) else { return };
        for of in [&mut self.factor, &mut self.shift].into_iter().flatten() {
            for row in of.chunks_mut(modulated.pitch.max(1) as usize) {
                let line = row.len().min(modulated.line as usize);
                row[..line].fill(0.0);
            }
        }
    }

    /// Takes them. `find` finds some elements; it may leave the large tensor's alone where there is none.
    pub(super) fn take(
        self,
        of: Option<&Modulated>,
        elements: usize,
        (level, accumulate): (Level, bool),
        scratch: &Scratch,
        find: &(impl Fn(Range<usize>, Back<'_>) + Sync),
    ) {
        let Self { mut factor, mut shift, large } = self;
        // Without a modulation a unit is a piece of its own.
        let (shared, inner) = of.map_or((1, PIECE), |of| (of.shared as usize, of.inner as usize));
        let parts = (1..=PARTS).rev().find(|parts| shared.is_multiple_of(*parts)).unwrap_or(1);
        let parts = if shared * inner < PARTS * PIECE { 1 } else { parts };
        let unit = shared / parts * inner;
        let count = elements.div_ceil(unit);
        let has_sums = factor.is_some() || shift.is_some();
        scratch.with(if has_sums { 2 * inner * count } else { 0 }, |sums| {
            let per = if has_sums { 2 * inner } else { 0 };
            let items = (Units { of: &mut *sums, per }, Large { of: large, per: unit });
            each(0..count, PIECE.div_ceil(unit), items, &|units: Range<usize>, (sums, mut large)| {
                let [mut memory, mut other, mut third] = [(); 3].map(|()| Memory::new(scratch));
                for (number, unit_of) in units.clone().enumerate() {
                    let all = unit_of * unit..elements.min((unit_of + 1) * unit);
                    for at in all.clone().step_by(PIECE) {
                        let own = at..all.end.min(at + PIECE);
                        let (gradient, of) = (memory.of(own.len()), other.of(own.len()));
                        let stored = third.of(own.len());
                        find(own.clone(), Back { gradient, of, large: stored });
                        if !large.of.is_empty() {
                            let first = own.start - units.start * unit;
                            large.of.part(first..first + own.len()).store(level, stored);
                        }
                        if has_sums {
                            let (of_shift, of_factor) = sums.of[number * per..(number + 1) * per].split_at_mut(inner);
                            add(at - all.start, gradient, of, of_shift, of_factor);
                        }
                    }
                }
            });
            let Some(of) = of.filter(|_| has_sums) else { return };
            for (number, parts) in sums.chunks_mut(2 * inner * parts).enumerate() {
                let (sums, others) = parts.split_at_mut(2 * inner);
                for part in others.chunks(2 * inner) {
                    sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                }
                let (of_shift, of_factor) = sums.split_at(inner);
                for (to, sums) in [(&mut shift, of_shift), (&mut factor, of_factor)] {
                    let Some(to) = to else { continue };
                    for (z, sum) in sums.iter().enumerate() {
                        let to = &mut to[of.place((number * shared * inner + z) as u64) as usize];
                        *to = if accumulate { (f64::from(*to) + sum) as f32 } else { *sum as f32 };
                    }
                }
            }
        });
    }
}

/// Adds up the gradients of elements from the `first` of a unit on.
fn add(first: usize, back: &[f32], y: &[f32], of_shift: &mut [f64], of_factor: &mut [f64]) {
    if let ([shift], [scale]) = (&mut *of_shift, &mut *of_factor) {
        for (back, y) in back.iter().zip(y) {
            *shift += f64::from(*back);
            *scale += f64::from(*back) * f64::from(*y);
        }
        return;
    }
    let inner = of_shift.len();
    let mut at = 0;
    while at < back.len() {
        let z = (first + at) % inner;
        let end = back.len().min(at + inner - z);
        let sums = of_shift[z..].iter_mut().zip(&mut of_factor[z..]);
        for ((shift, scale), (back, y)) in sums.zip(back[at..end].iter().zip(&y[at..end])) {
            *shift += f64::from(*back);
            *scale += f64::from(*back) * f64::from(*y);
        }
        at = end;
    }
}

/// The large tensor, or some units of it.
struct Large<'a> {
    of: ValuesMut<'a>,
    per: usize,
}

impl Cut for Large<'_> {
    fn cut(self, at: usize) -> (Self, Self) {
        let (one, other) = self.of.split(at * self.per);
        (Self { of: one, per: self.per }, Self { of: other, per: self.per })
    }
}
