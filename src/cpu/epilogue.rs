//! What follows a norm, of elements that are still in the cache: scale and shift, a skip, an activation; and the way back.

use std::ops::Range;

use super::operands::Operands;
use super::parallel::{Cut, Memory, Units, each};
use super::simd::{Center, Level, activate, normalize_row, normalize_run, pass_back};
use super::values::{Values, ValuesMut};
use crate::epilogue::Activation;
use crate::modulation::Modulated;
use crate::problem::Problem;
use crate::tensors::Role;

/// What a row is normalized by that is not to be changed.
pub(super) const AS_IT_IS: Center = Center { scale: 1.0, shift: 0.0, delta: 0.0, factor: 1.0 };

/// Elements that go through at a time, so that they stay in the nearest cache.
const PIECE: usize = 1 << 10;

#[derive(Clone, Copy)]
pub(super) struct Epilogue<'a> {
    level: Level,
    modulation: Option<Modulation<'a>>,
    skip: Option<Values<'a>>,
    activation: Option<Activation>,
}

/// The factor, which is the scale with its offset, and the shift of each number of a modulation.
#[derive(Clone, Copy)]
struct Modulation<'a> {
    of: &'a Modulated,
    factor: &'a [f32],
    shift: &'a [f32],
}

/// Some elements that share their factor and shift, or that have neighbouring ones.
enum Run {
    Constant(usize),
    Along(Range<usize>),
}

impl<'a> Epilogue<'a> {
    /// With memory for what is filled in.
    pub(super) fn new<'o: 'a>(
        problem: &'a Problem,
        operands: &mut Operands<'o>,
        level: Level,
        [of_scale, of_shift]: [&'a mut Memory<'_>; 2],
    ) -> Self {
        let modulation = problem.modulation.as_ref().map(|of| {
            let mut filled = |role, memory: &'a mut Memory<'_>, default: f32, offset: f32| {
                let to = memory.of(of.extent() as usize);
                match operands.take_values(role) {
                    Some(values) => {
                        values.load(level, to);
                        to.iter_mut().for_each(|v| *v += offset);
                    }
                    None => to.fill(default),
                }
                &*to
            };
            let factor = filled(Role::Scale, of_scale, 1.0, of.offset);
            Modulation { of, factor, shift: filled(Role::Shift, of_shift, 0.0, 0.0) }
        });
        Self { level, modulation, skip: operands.take_values(Role::Skip), activation: problem.activation }
    }

    /// Nothing.
    pub(super) fn none(level: Level) -> Self {
        Self { level, modulation: None, skip: None, activation: None }
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
            let Modulation { factor, shift, .. } = modulation;
            modulation.each_run(first, y.len(), |own, run| {
                let y = &mut y[own];
                match run {
                    Run::Constant(place) => {
                        normalize_run(self.level, None, y, Center { factor: factor[place], ..AS_IT_IS }, shift[place]);
                    }
                    Run::Along(places) => {
                        normalize_row(self.level, None, y, AS_IT_IS, &factor[places.clone()], &shift[places]);
                    }
                }
            });
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
        let Some(modulation) = self.modulation else { return };
        modulation.each_run(first, dy.len(), |own, run| {
            let dy = &mut dy[own];
            match run {
                Run::Constant(place) => dy.iter_mut().for_each(|dy| *dy *= modulation.factor[place]),
                Run::Along(places) => {
                    dy.iter_mut().zip(&modulation.factor[places]).for_each(|(dy, factor)| *dy *= factor);
                }
            }
        });
    }
}

impl Modulation<'_> {
    /// Calls `with` for runs of so many elements from number `first` on: where each is among them, and what it has.
    fn each_run(&self, first: usize, length: usize, mut with: impl FnMut(Range<usize>, Run)) {
        let Modulated { shared, inner, line, .. } = *self.of;
        let unit = if inner == 1 { shared } else { inner.min(line) } as usize;
        let mut at = 0;
        while at < length {
            let i = first + at;
            let end = length.min(at + unit - i % unit);
            let place = self.of.place(i as u64) as usize;
            with(at..end, if inner == 1 { Run::Constant(place) } else { Run::Along(place..place + (end - at)) });
            at = end;
        }
    }
}

/// Gradients that the way back leaves: of the scale and the shift, and of the skip.
pub(super) struct Left<'a> {
    scale: Option<&'a mut [f32]>,
    shift: Option<&'a mut [f32]>,
    skip: ValuesMut<'a>,
}

impl<'a> Left<'a> {
    pub(super) fn new(operands: &mut Operands<'a>) -> Self {
        let mut given = |role| operands.take_write(role).filter(|of| !of.is_empty());
        let (scale, shift) = (given(Role::GradScale), given(Role::GradShift));
        Self { scale, shift, skip: operands.take_values_mut(Role::GradSkip) }
    }

    /// Whether nothing is asked for.
    pub(super) fn is_none(&self) -> bool {
        self.scale.is_none() && self.shift.is_none() && self.skip.is_empty()
    }

    /// Of nothing.
    pub(super) fn clear(&mut self, problem: &Problem, accumulate: bool) {
        let Some(modulated) = problem.modulation.as_ref().filter(|_| !accumulate) else { return };
        for of in [&mut self.scale, &mut self.shift].into_iter().flatten() {
            for row in of.chunks_mut(modulated.pitch.max(1) as usize) {
                let line = row.len().min(modulated.line as usize);
                row[..line].fill(0.0);
            }
        }
    }

    /// Takes them. `norm` gives what the norm made of some elements.
    pub(super) fn take(
        self,
        epilogue: &Epilogue<'_>,
        dy: Values<'_>,
        accumulate: bool,
        scratch: &super::parallel::Scratch,
        norm: &(impl Fn(Range<usize>, &mut [f32]) + Sync),
    ) {
        let Self { mut scale, mut shift, skip } = self;
        let of = epilogue.modulation.map(|modulation| modulation.of);
        // Without a modulation a unit is a piece of its own.
        let (shared, inner) = of.map_or((1, PIECE), |of| (of.shared as usize, of.inner as usize));
        let (unit, elements) = (shared * inner, dy.len());
        let count = elements.div_ceil(unit);
        let has_sums = scale.is_some() || shift.is_some();
        scratch.with(if has_sums { 2 * inner * count } else { 0 }, |sums| {
            let per = if has_sums { 2 * inner } else { 0 };
            let items = (Units { of: &mut *sums, per }, Skips { of: skip, per: unit });
            each(0..count, PIECE.div_ceil(unit), items, &|units: Range<usize>, (sums, mut skips)| {
                let [mut memory, mut other, mut third] = [(); 3].map(|()| Memory::new(scratch));
                for (number, unit_of) in units.clone().enumerate() {
                    let all = unit_of * unit..elements.min((unit_of + 1) * unit);
                    for at in all.clone().step_by(PIECE) {
                        let own = at..all.end.min(at + PIECE);
                        let (back, y) = (memory.of(own.len()), other.of(own.len()));
                        dy.part(own.clone()).load(epilogue.level, back);
                        norm(own.clone(), y);
                        let slope_at = third.of(own.len());
                        slope_at.copy_from_slice(y);
                        epilogue.back_to_skip(at, back, slope_at);
                        if !skips.of.is_empty() {
                            let first = own.start - units.start * unit;
                            skips.of.part(first..first + own.len()).store(epilogue.level, back);
                        }
                        if has_sums {
                            let (of_shift, of_scale) = sums.of[number * per..(number + 1) * per].split_at_mut(inner);
                            add(at - all.start, back, y, of_shift, of_scale);
                        }
                    }
                }
            });
            let Some(of) = of.filter(|_| has_sums) else { return };
            for (number, unit) in sums.chunks(2 * inner).enumerate() {
                let (of_shift, of_scale) = unit.split_at(inner);
                for (to, sums) in [(&mut shift, of_shift), (&mut scale, of_scale)] {
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
fn add(first: usize, back: &[f32], y: &[f32], of_shift: &mut [f64], of_scale: &mut [f64]) {
    if let ([shift], [scale]) = (&mut *of_shift, &mut *of_scale) {
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
        let sums = of_shift[z..].iter_mut().zip(&mut of_scale[z..]);
        for ((shift, scale), (back, y)) in sums.zip(back[at..end].iter().zip(&y[at..end])) {
            *shift += f64::from(*back);
            *scale += f64::from(*back) * f64::from(*y);
        }
        at = end;
    }
}

/// The gradient of a skip, or that of some units of it.
struct Skips<'a> {
    of: ValuesMut<'a>,
    per: usize,
}

impl Cut for Skips<'_> {
    fn cut(self, at: usize) -> (Self, Self) {
        let (one, other) = self.of.split(at * self.per);
        (Self { of: one, per: self.per }, Self { of: other, per: self.per })
    }
}
