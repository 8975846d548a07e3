//! Tensors with strides, and segments of heads: what lies apart is taken to contiguous memory, and results back. Slabs that do not depend
//! on each other go a few at a time, through the cache; else it is all that is asked of a segment.

use std::ops::Range;

use super::operands::{Operands, Tensor};
use super::parallel::{Cut, Memory};
use super::sink::Flow;
use super::values::{Values, ValuesMut};
use super::{Plan, Problem, forward};
use crate::block::{AffineIndex, Block};
use crate::problem::Segment;
use crate::strides::Placement;
use crate::tensors::{Cell, Role, cell_bytes, element};

/// The rows of all heads from the first on, of as many as there are; without segments there is one row, and it is all.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    whole: &'a Problem,
    number: u64,
    first: u64,
    heads: u64,
    of: u64,
    rows: u64,
    length: u64,
}

/// Elements that are taken to contiguous memory at a time, unless a slab has more: few, so that they stay in a near cache.
const HELD: usize = 1 << 13;

/// Neighbours that are worth a turn of their own, without a copy.
const LEAST: usize = 1 << 10;

/// Words between tensors in that memory, so that what is read and what is written do not have the same last bits of an address.
const APART: usize = 272;

/// Whether some tensor lies apart, or segments differ.
pub(super) fn is_needed(problem: &Problem) -> bool {
    !problem.placement.is_contiguous() || !problem.segments.is_empty()
}

/// Runs a plan whose tensors lie apart. What lies between the elements of a tensor is neither read nor written.
pub(super) fn run(plan: &Plan, mut operands: Operands<'_>) {
    let whole = &plan.problem;
    let mut part = Part { whole, number: 0, first: 0, heads: 1, of: 1, rows: 1, length: whole.block.elements() };
    if whole.segments.is_empty() {
        let problem = Problem { placement: Placement::contiguous(part.length), ..whole.clone() };
        return part.run(Plan { cpu: plan.cpu.clone(), problem }, &mut operands);
    }
    for &Segment { heads, eps } in &whole.segments {
        let (of, length) = (whole.index.b_mod, whole.block.s);
        part = Part { heads, of, rows: whole.block.b / of * heads, length, ..part };
        let problem = Problem {
            placement: Placement::contiguous(part.rows * length),
            segments: Vec::new(),
            eps,
            block: Block { b: part.rows, ..whole.block },
            index: AffineIndex { b_mod: 1, b_mul: 0, ..whole.index },
            parameter_shape: whole.parameter_shape[1..].to_vec(),
            ..whole.clone()
        };
        part.run(Plan { cpu: plan.cpu.clone(), problem }, &mut operands);
        (part.number, part.first) = (part.number + 1, part.first + heads);
    }
}

impl<'a> Part<'a> {
    /// Runs the plan for it alone. Tensors that are not as they were asked for are copied.
    fn run(self, plan: Plan, operands: &mut Operands<'_>) {
        let by_slabs = forward::goes_by_slabs(&plan.problem)
            && [Role::Y, Role::ResidualOut].iter().all(|&role| self.whole.placement.ascends(role));
        let is_copied = |role: Role| if role.is_large() { !by_slabs } else { !self.whole.segments.is_empty() };
        let mut copies: [Vec<u32>; Role::GIVEN] = Default::default();
        for (role, copy) in Role::given().zip(&mut copies).filter(|&(role, _)| is_copied(role)) {
            let from = match &operands.tensors[role as usize] {
                Tensor::None | Tensor::Under => continue,
                Tensor::Read(values) => *values,
                Tensor::Write(values) => values.read(),
            };
            *copy = vec![0; self.bytes(role).div_ceil(4)];
            self.take(role, 0..self.cells(role), from, 0, bytemuck::cast_slice_mut(copy));
        }
        let mut inner = Operands::default();
        inner.batches = operands.batches.take();
        let tensors = inner.tensors.iter_mut().zip(&mut operands.tensors);
        for ((role, copy), (inner, given)) in Role::given().zip(&mut copies).zip(tensors) {
            let (element, copied) = (element(self.whole, role), is_copied(role));
            let copy: &mut [u8] = bytemuck::cast_slice_mut(copy);
            let length = self.bytes(role).min(copy.len());
            let copy = &mut copy[..length];
            *inner = match given {
                Tensor::None => Tensor::None,
                Tensor::Under => Tensor::Under,
                Tensor::Read(_) if copied => Tensor::Read(Values::of_bytes(element, copy)),
                Tensor::Write(_) if copied => Tensor::Write(ValuesMut::of_bytes(element, copy)),
                Tensor::Read(values) => Tensor::Read(*values),
                Tensor::Write(values) => Tensor::Write(ValuesMut::of_bytes(element, values.bytes())),
            };
        }
        if by_slabs {
            forward::run(&plan.cpu, &plan.problem, Some(self), inner);
        } else {
            plan.compute(inner);
        }
        for (role, copy) in Role::given().zip(&copies).filter(|&(role, _)| is_copied(role)) {
            if let Tensor::Write(to) = &mut operands.tensors[role as usize] {
                self.put(role, 0..self.cells(role), bytemuck::cast_slice(copy), to, 0);
            }
        }
    }

    /// How many cells it has of a tensor that may be copied.
    fn cells(&self, role: Role) -> u64 {
        match role.cell() {
            Cell::Element => self.rows * self.length,
            Cell::Parameter => self.length,
            _ => self.rows,
        }
    }

    fn bytes(&self, role: Role) -> usize {
        (self.cells(role) * cell_bytes(self.whole, role)) as usize
    }

    /// Where a cell lies in a tensor, and how many neighbours it has there from itself on.
    fn place(&self, role: Role, mut cell: u64) -> (u64, u64) {
        let mut run = u64::MAX;
        if !self.whole.segments.is_empty() {
            if role.cell() == Cell::Parameter {
                return (self.number * self.length + cell, run);
            }
            let of_row = if role.is_large() { self.length } else { 1 };
            let block = self.heads * of_row;
            run = block - cell % block;
            cell = cell / block * self.of * of_row + self.first * of_row + cell % block;
        }
        if !role.is_large() {
            return (cell, run);
        }
        let (placement, piece) = (&self.whole.placement, self.whole.placement.own_piece(role));
        (placement.place(role, cell), run.min(piece - cell % piece))
    }

    /// Calls `with` for neighbours among some cells: where they are among these, where in a tensor that starts with place `start`, and how
    /// long they are, in bytes.
    fn each_run(&self, role: Role, cells: Range<u64>, start: u64, mut with: impl FnMut(usize, usize, usize)) {
        let mut at = cells.start;
        while at < cells.end {
            let (place, run) = self.place(role, at);
            let run = run.min(cells.end - at);
            let [own, place, length] =
                [at - cells.start, place - start, run].map(|cells| (cells * cell_bytes(self.whole, role)) as usize);
            with(own, place, length);
            at += run;
        }
    }

    /// Copies some cells to contiguous memory, from a tensor that starts with place `start`.
    fn take(&self, role: Role, cells: Range<u64>, from: Values<'_>, start: u64, to: &mut [u8]) {
        self.each_run(role, cells, start, |own, place, length| {
            to[own..own + length].copy_from_slice(&from.bytes()[place..place + length]);
        });
    }

    /// And back.
    fn put(&self, role: Role, cells: Range<u64>, from: &[u8], to: &mut ValuesMut<'_>, start: u64) {
        let to = to.bytes();
        self.each_run(role, cells, start, |own, place, length| {
            to[place..place + length].copy_from_slice(&from[own..own + length]);
        });
    }
}

/// What a pass reads and writes where it lies, or what belongs to some of its slabs.
pub(super) struct Apart<'a> {
    part: Part<'a>,
    /// What is read is all there; what is written is cut.
    flow: Flow<'a>,
    /// The places that what is left of `y` and of the sum start with.
    starts: [u64; 2],
}

impl Cut for Apart<'_> {
    fn cut(self, at: usize) -> (Self, Self) {
        let Self { part, flow: Flow { x, residual, gate, residual_under, y, sum, per, first }, starts } = self;
        let next = first + at * per;
        let places = [Role::Y, Role::ResidualOut].map(|role| part.place(role, next as u64).0);
        let [of_y, of_sum] = [0, 1].map(|number| (places[number] - starts[number]) as usize);
        let ((y, y2), (sum, sum2)) = (y.split(of_y), sum.split(of_sum));
        (
            Self { part, flow: Flow { x, residual, gate, residual_under, y, sum, per, first }, starts },
            Self {
                part,
                flow: Flow { x, residual, gate, residual_under, y: y2, sum: sum2, per, first: next },
                starts: places,
            },
        )
    }
}

impl<'a> Apart<'a> {
    pub(super) fn new(part: Part<'a>, flow: Flow<'a>) -> Self {
        Self { part, flow, starts: [0; 2] }
    }

    /// The tensors, and whether they are there.
    fn tensors(&self) -> [(Role, bool); 4] {
        let Flow { x, residual, y, sum, .. } = &self.flow;
        [
            (Role::X, x.is_some()),
            (Role::Residual, residual.is_some()),
            (Role::Y, !y.is_empty()),
            (Role::ResidualOut, !sum.is_empty()),
        ]
    }

    /// How many slabs from this one on are neighbours in every tensor, if they are worth a turn of their own; else how many are copied at a
    /// time.
    pub(super) fn batch(&self, slab: usize) -> (usize, bool) {
        let per = self.flow.per;
        let given = self.tensors().into_iter().filter(|&(_, is_there)| is_there);
        let run = given.map(|(role, _)| self.part.place(role, (slab * per) as u64).1).min().unwrap_or(0);
        let run = usize::try_from(run).unwrap_or(usize::MAX);
        if run >= LEAST.max(per) { (run / per, true) } else { ((HELD / per).max(1), false) }
    }

    /// Has `work` done on some slabs that are neighbours in every tensor.
    pub(super) fn direct(&mut self, slabs: &Range<usize>, work: impl FnOnce(Flow<'_>)) {
        let Self { part, flow: Flow { x, residual, gate, residual_under, y, sum, per, .. }, starts: [of_y, of_sum] } =
            self;
        let (first, count) = (slabs.start * *per, slabs.len() * *per);
        let own = |role: Role, start: u64| {
            let place = (part.place(role, first as u64).0 - start) as usize;
            place..place + count
        };
        work(Flow {
            x: x.map(|x| x.part(own(Role::X, 0))),
            residual: residual.map(|residual| residual.part(own(Role::Residual, 0))),
            gate: *gate,
            residual_under: *residual_under,
            y: if y.is_empty() { ValuesMut::default() } else { y.part(own(Role::Y, *of_y)) },
            sum: if sum.is_empty() { ValuesMut::default() } else { sum.part(own(Role::ResidualOut, *of_sum)) },
            per: *per,
            first,
        });
    }

    /// Has `work` done on some slabs in contiguous memory, where they are copied and back.
    pub(super) fn through(&mut self, slabs: &Range<usize>, memory: &mut Memory<'_>, work: impl FnOnce(Flow<'_>)) {
        let tensors = self.tensors();
        let Self { part, flow: Flow { x, residual, gate, residual_under, y, sum, per, .. }, starts: [of_y, of_sum] } =
            self;
        let (first, count) = (slabs.start * *per, slabs.len() * *per);
        let cells = first as u64..(first + count) as u64;
        let elements = tensors.map(|(role, _)| element(part.whole, role));
        let lengths =
            tensors.map(|(role, is_there)| count as u64 * u64::from(is_there) * element(part.whole, role).size());
        let words = lengths.map(|bytes| (bytes as usize).div_ceil(4) + APART);
        let mut rest = memory.of(words.iter().sum());
        let [held_x, held_residual, held_y, held_sum] = [0, 1, 2, 3].map(|number| {
            let (one, other) = std::mem::take(&mut rest).split_at_mut(words[number]);
            rest = other;
            &mut bytemuck::cast_slice_mut::<f32, u8>(one)[..lengths[number] as usize]
        });
        match x {
            Some(x) => part.take(Role::X, cells.clone(), *x, 0, held_x),
            None => part.take(Role::Y, cells.clone(), y.read(), *of_y, held_y),
        }
        match residual {
            Some(residual) => part.take(Role::Residual, cells.clone(), *residual, 0, held_residual),
            None if *residual_under => part.take(Role::ResidualOut, cells.clone(), sum.read(), *of_sum, held_sum),
            None => {}
        }
        work(Flow {
            x: x.map(|_| Values::of_bytes(elements[0], held_x)),
            residual: residual.map(|_| Values::of_bytes(elements[1], held_residual)),
            gate: *gate,
            residual_under: *residual_under,
            y: ValuesMut::of_bytes(elements[2], held_y),
            sum: ValuesMut::of_bytes(elements[3], held_sum),
            per: *per,
            first,
        });
        if !y.is_empty() {
            part.put(Role::Y, cells.clone(), held_y, y, *of_y);
        }
        if !sum.is_empty() {
            part.put(Role::ResidualOut, cells, held_sum, sum, *of_sum);
        }
    }
}
