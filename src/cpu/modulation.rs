//! A factor and a shift that some elements share: scale and shift after a norm, gate and embedding before it.

use std::ops::Range;

use super::epilogue::{AS_IT_IS, NO_FLOOR};
use super::operands::Operands;
use super::parallel::Memory;
use super::simd::{Center, Level, normalize_row, normalize_run};
use super::values::Values;
use crate::modulation::Modulated;
use crate::problem::Problem;
use crate::tensors::Role;

/// What some elements have of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Modulation<'a> {
    of: &'a Modulated,
    factor: &'a [f32],
    shift: &'a [f32],
}

/// Some elements that share their factor and shift, or that have neighbouring ones.
enum Run {
    Constant(usize),
    Along(Range<usize>),
}

impl<'a> Modulation<'a> {
    /// By the tensors that have these roles, the factor's with an offset; what is not given is filled in. None where neither is.
    pub(super) fn new<'o: 'a>(
        problem: &'a Problem,
        operands: &mut Operands<'o>,
        level: Level,
        [factor, shift]: [Role; 2],
        offset: f32,
        [of_factor, of_shift]: [&'a mut Memory<'_>; 2],
    ) -> Option<Self> {
        let of = problem.modulation.as_ref()?;
        let given = [factor, shift].map(|role| operands.take_values(role));
        if given.iter().all(Option::is_none) {
            return None;
        }
        let [factor, shift] = given;
        let filled = |values: Option<Values<'o>>, memory: &'a mut Memory<'_>, default: f32, offset: f32| {
            let to = memory.of(of.extent() as usize);
            match values {
                Some(values) => {
                    values.load(level, to);
                    to.iter_mut().for_each(|v| *v += offset);
                }
                None => to.fill(default),
            }
            &*to
        };
        Some(Self { of, factor: filled(factor, of_factor, 1.0, offset), shift: filled(shift, of_shift, 0.0, 0.0) })
    }

    /// `y * factor + shift`, of elements from number `first` on.
    pub(super) fn apply(&self, level: Level, first: usize, y: &mut [f32]) {
        let Self { factor, shift, .. } = self;
        each_run(self.of, first, y.len(), |own, run| {
            let y = &mut y[own];
            match run {
                Run::Constant(place) => {
                    normalize_run(level, None, y, Center { factor: factor[place], ..AS_IT_IS }, shift[place], NO_FLOOR);
                }
                Run::Along(places) => {
                    normalize_row(level, None, y, AS_IT_IS, &factor[places.clone()], &shift[places], NO_FLOOR);
                }
            }
        });
    }

    /// `dy * factor`, of elements from number `first` on.
    pub(super) fn multiply(&self, first: usize, dy: &mut [f32]) {
        each_run(self.of, first, dy.len(), |own, run| {
            let dy = &mut dy[own];
            match run {
                Run::Constant(place) => dy.iter_mut().for_each(|dy| *dy *= self.factor[place]),
                Run::Along(places) => {
                    dy.iter_mut().zip(&self.factor[places]).for_each(|(dy, factor)| *dy *= factor);
                }
            }
        });
    }
}

/// Calls `with` for runs of so many elements from number `first` on: where each is among them, and what it has.
fn each_run(of: &Modulated, first: usize, length: usize, mut with: impl FnMut(Range<usize>, Run)) {
    let Modulated { shared, inner, line, .. } = *of;
    let unit = if inner == 1 { shared } else { inner.min(line) } as usize;
    let mut at = 0;
    while at < length {
        let i = first + at;
        let end = length.min(at + unit - i % unit);
        let place = of.place(i as u64) as usize;
        with(at..end, if inner == 1 { Run::Constant(place) } else { Run::Along(place..place + (end - at)) });
        at = end;
    }
}

/// A gate and an embedding, where one is given.
pub(super) fn gate<'a, 'o: 'a>(
    problem: &'a Problem,
    operands: &mut Operands<'o>,
    level: Level,
    memory: [&'a mut Memory<'_>; 2],
) -> Option<Modulation<'a>> {
    Modulation::new(problem, operands, level, [Role::Gate, Role::Embedding], 0.0, memory)
}

/// What is added to `x` before the norm, and what that is multiplied by: of elements from a number on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Added<'a> {
    pub(super) gate: Option<Modulation<'a>>,
    pub(super) first: usize,
    pub(super) residual: Option<Values<'a>>,
}

impl Added<'_> {
    pub(super) fn is_none(&self) -> bool {
        self.gate.is_none() && self.residual.is_none()
    }

    pub(super) fn part(self, elements: Range<usize>) -> Self {
        let first = self.first + elements.start;
        Self { gate: self.gate, first, residual: self.residual.map(|residual| residual.part(elements)) }
    }

    /// To `x`.
    pub(super) fn to(self, level: Level, x: &mut [f32]) {
        if let Some(gate) = self.gate {
            gate.apply(level, self.first, x);
        }
        if let Some(residual) = self.residual {
            residual.add(level, x);
        }
    }
}
