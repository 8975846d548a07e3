//! Tensors with strides, and segments of heads: what is asked of one segment at a time is taken to contiguous memory, and results back.

use super::operands::{Operands, Tensor};
use super::values::{Values, ValuesMut};
use super::{Plan, Problem};
use crate::block::{AffineIndex, Block};
use crate::problem::Segment;
use crate::strides::Placement;
use crate::tensors::{Cell, Role, bytes, cell_bytes, element};

/// The rows of all heads from the first on, of as many as there are; without segments there is one row, and it is all.
#[derive(Clone, Copy)]
struct Part {
    number: u64,
    first: u64,
    heads: u64,
    of: u64,
    rows: u64,
    length: u64,
}

/// Whether a plan runs on copies.
pub(super) fn is_needed(problem: &Problem) -> bool {
    !problem.placement.is_contiguous() || !problem.segments.is_empty()
}

/// Runs a plan on copies. What lies between the elements of a tensor is neither read nor written.
pub(super) fn run(plan: &Plan, mut operands: Operands<'_>) {
    let problem = &plan.problem;
    let elements = problem.block.elements();
    let mut part = Part { number: 0, first: 0, heads: 1, of: 1, rows: 1, length: elements };
    if problem.segments.is_empty() {
        return run_part(plan, part, None, &mut operands);
    }
    for &segment in &problem.segments {
        let (heads, of) = (segment.heads, problem.index.b_mod);
        part = Part { heads, of, rows: problem.block.b / of * heads, length: problem.block.s, ..part };
        run_part(plan, part, Some(segment), &mut operands);
        (part.number, part.first) = (part.number + 1, part.first + heads);
    }
}

fn run_part(plan: &Plan, part: Part, segment: Option<Segment>, operands: &mut Operands<'_>) {
    let (problem, elements) = (&plan.problem, part.rows * part.length);
    let placement = Placement::contiguous(elements);
    let problem = match segment {
        None => Problem { placement, ..problem.clone() },
        Some(Segment { eps, .. }) => Problem {
            placement,
            segments: Vec::new(),
            eps,
            block: Block { b: part.rows, ..problem.block },
            index: AffineIndex { b_mod: 1, b_mul: 0, ..problem.index },
            parameter_shape: problem.parameter_shape[1..].to_vec(),
            ..problem.clone()
        },
    };
    let part_of = Plan { cpu: plan.cpu.clone(), problem };
    let mut copies: [Vec<u32>; Role::GIVEN] = Default::default();
    for (role, copy) in Role::given().zip(&mut copies) {
        let from = match &operands.tensors[role as usize] {
            Tensor::None | Tensor::Under => continue,
            Tensor::Read(values) => values.bytes(),
            Tensor::Write(values) => values.read().bytes(),
        };
        *copy = vec![0; part.bytes(&plan.problem, role).div_ceil(4)];
        let to: &mut [u8] = bytemuck::cast_slice_mut(copy);
        part.each_piece(&plan.problem, role, |at, place, length| {
            to[at..at + length].copy_from_slice(&from[place..place + length]);
        });
    }
    let mut inner = Operands::default();
    inner.batches = operands.batches.take();
    for (role, copy) in Role::given().zip(&mut copies) {
        let copy: &mut [u8] = bytemuck::cast_slice_mut(copy);
        let length = part.bytes(&plan.problem, role).min(copy.len());
        let (element, copy) = (element(&plan.problem, role), &mut copy[..length]);
        inner.tensors[role as usize] = match operands.tensors[role as usize] {
            Tensor::None => Tensor::None,
            Tensor::Under => Tensor::Under,
            Tensor::Read(_) => Tensor::Read(Values::of_bytes(element, copy)),
            Tensor::Write(_) => Tensor::Write(ValuesMut::of_bytes(element, copy)),
        };
    }
    part_of.compute(inner);
    for (role, copy) in Role::given().zip(&copies) {
        if let Tensor::Write(to) = &mut operands.tensors[role as usize] {
            let (from, to): (&[u8], _) = (bytemuck::cast_slice(copy), to.bytes());
            part.each_piece(&plan.problem, role, |at, place, length| {
                to[place..place + length].copy_from_slice(&from[at..at + length]);
            });
        }
    }
}

impl Part {
    /// How many runs of cells it has of a tensor, how many there are in each, and whether these are rows of heads.
    fn runs(&self, problem: &Problem, role: Role) -> (u64, u64, bool) {
        let segmented = !problem.segments.is_empty();
        match role.cell() {
            Cell::Element => (self.rows, self.length, true),
            Cell::Parameter if segmented => (1, self.length, false),
            _ if segmented => (self.rows, 1, true),
            _ => (1, bytes(problem, role) / cell_bytes(problem, role), true),
        }
    }

    fn bytes(&self, problem: &Problem, role: Role) -> usize {
        let (runs, length, _) = self.runs(problem, role);
        (runs * length * cell_bytes(problem, role)) as usize
    }

    /// What lies in one piece of a tensor: where that is among what it has of it, where in memory, and how long, in bytes.
    fn each_piece(&self, problem: &Problem, role: Role, mut with: impl FnMut(usize, usize, usize)) {
        let (runs, length, by_heads) = self.runs(problem, role);
        let cell = cell_bytes(problem, role);
        let piece = if role.is_large() { problem.placement.piece.min(length).max(1) } else { length.max(1) };
        for run in 0..runs {
            let row = if by_heads { run / self.heads * self.of + self.first + run % self.heads } else { self.number };
            for at in (0..length).step_by(piece as usize) {
                let cells = row * length + at;
                let place = if role.is_large() { problem.placement.place(role, cells) } else { cells };
                let bytes = [run * length + at, place, piece].map(|cells| (cells * cell) as usize);
                with(bytes[0], bytes[1], bytes[2]);
            }
        }
    }
}
