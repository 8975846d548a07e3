//! How a tensor lies: a block cut into slabs, one for each `b`, and those into parts whose statistics are taken one by one.

use std::ops::Range;

use super::parallel::{Scratch, Units, each, grain, threads};
use super::simd::{Level, SHORT as TILED};
use super::statistics::{PARTS, Rules, part_of_row};
use super::values::{Input, Reader};
use crate::block::{AffineIndex, Block};
use crate::moments::Spread;
use crate::problem::Problem;

/// What of a slab is added up together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One row: the slab is one group.
    Row,
    /// Rows of neighbouring elements, several to a group.
    Rows,
    /// Columns, since the rows of groups are short.
    Columns,
}

/// The block of a problem, in numbers of elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) b: usize,
    pub(super) r: usize,
    pub(super) k: usize,
    pub(super) s: usize,
    pub(super) shape: Shape,
    /// Elements that a thread takes at a time.
    grain: usize,
}

/// Rows of a group that are shorter go by columns.
const SHORT: usize = 32;

/// Most columns of a tile: what they are normalized by stays in the nearest cache.
const TILE: usize = 1 << 11;

/// Least rows of columns that a thread takes at a time, as what they are normalized by is set for each anew.
const LEAST_ROWS: usize = 64;

/// Least rows of a part of columns: sums of fewer would cost more to merge than to take.
const PART_ROWS: usize = 256;

impl Layout {
    pub(super) fn new(problem: &Problem) -> Self {
        let Block { b, r, k, s } = problem.block;
        let [b, r, k, s] = [b, r, k, s].map(|n| n as usize);
        let shape = match (r, k) {
            (1, 1) => Shape::Row,
            _ if s >= SHORT => Shape::Rows,
            _ => Shape::Columns,
        };
        let cost = if problem.gradients().is_none() { 1 } else { 3 };
        Self { b, r, k, s, shape, grain: grain(b * r * k * s, cost) }
    }

    /// How many units of so many elements a thread takes at a time.
    pub(super) fn grain(&self, unit: usize) -> usize {
        (self.grain / unit.max(1)).max(1)
    }

    /// Whether one thread takes all.
    pub(super) fn is_alone(&self) -> bool {
        self.grain >= self.elements()
    }

    /// Whether there are slabs for all threads.
    pub(super) fn has_slabs(&self) -> bool {
        self.b >= 2 * threads()
    }

    /// The instructions that are fastest for it.
    pub(super) fn level(&self, widest: Level) -> Level {
        if self.shape == Shape::Row && self.s <= TILED { widest.for_tiles() } else { widest }
    }

    /// What a pass over elements is cut into, and how many of them a thread takes at a time: rows of columns, or elements.
    pub(super) fn units(&self) -> (usize, usize) {
        match self.shape {
            Shape::Columns => (self.width(), self.grain(self.width()).max(LEAST_ROWS)),
            _ => (1, self.grain(1)),
        }
    }

    /// Columns that are taken with all of their rows, and how many times: by the width alone.
    pub(super) fn tiles(&self) -> (usize, usize) {
        let tile = self.width().div_ceil(self.width().div_ceil(TILE)).next_multiple_of(16);
        (tile, self.width().div_ceil(tile))
    }

    /// Whether there are tiles for all threads.
    pub(super) fn has_tiles(&self) -> bool {
        self.b * self.tiles().1 >= 2 * threads()
    }

    pub(super) fn elements(&self) -> usize {
        self.b * self.slab()
    }

    /// Elements of a slab.
    pub(super) fn slab(&self) -> usize {
        self.r * self.k * self.s
    }

    /// Elements of one `r` of a slab.
    pub(super) fn width(&self) -> usize {
        self.k * self.s
    }

    /// Of `r`, or of elements of the one row, in a part of a slab: by the length of a group alone.
    pub(super) fn part(&self) -> usize {
        match self.shape {
            Shape::Row => part_of_row(self.s),
            Shape::Rows => self.r.div_ceil(PARTS).max(1),
            Shape::Columns => self.r.div_ceil(PARTS).next_multiple_of(16).max(PART_ROWS),
        }
    }

    /// Parts of a slab.
    pub(super) fn parts(&self) -> usize {
        if self.shape == Shape::Row { self.s.div_ceil(self.part()) } else { self.r.div_ceil(self.part()) }
    }

    /// The elements of one part of slab `b`.
    pub(super) fn range(&self, b: usize, part: usize) -> Range<usize> {
        let step = if self.shape == Shape::Row { self.part() } else { self.part() * self.width() };
        let start = b * self.slab();
        start + part * step..start + self.slab().min((part + 1) * step)
    }

    /// Calls `work` with every run of `s` that there is of neighbouring elements, or what there is of it.
    pub(super) fn each_run(&self, elements: Range<usize>, mut work: impl FnMut(Run)) {
        let Self { r, k: columns, s, .. } = *self;
        if elements.is_empty() {
            return;
        }
        let first = elements.start / s;
        let (mut b, mut row, mut k) = (first / (r * columns), first / columns % r, first % columns);
        let (mut at, mut within) = (elements.start, elements.start % s);
        while at < elements.end {
            let end = elements.end.min(at - within + s);
            work(Run { b, r: row, k, within, elements: at..end });
            (at, within) = (end, 0);
            k += 1;
            if k == columns {
                (k, row) = (0, row + 1);
            }
            if row == r {
                (row, b) = (0, b + 1);
            }
        }
    }

    /// How many statistics a part has.
    pub(super) fn lanes(&self) -> usize {
        match self.shape {
            Shape::Row => 1,
            Shape::Rows => self.k,
            Shape::Columns => self.width(),
        }
    }

    /// How many statistics of a part a thread takes at a time: all of them, unless parts are few.
    pub(super) fn strip(&self) -> usize {
        let strips = if self.is_alone() { 1 } else { (4 * threads()).div_ceil(self.b * self.parts()) };
        // Columns in whole cache lines.
        let lines = if self.shape == Shape::Columns { 64 } else { 1 };
        self.lanes().div_ceil(strips).next_multiple_of(lines).min(self.lanes())
    }

    /// Statistics of some elements, which are one part of a slab, from the number `first` on.
    fn part_statistics(
        &self,
        rules: &Rules,
        x: &mut Reader<'_>,
        part: Range<usize>,
        first: usize,
        out: &mut [Spread],
        scratch: &Scratch,
    ) {
        match self.shape {
            Shape::Row => out[0] = rules.part(x.get(part)),
            Shape::Rows => {
                out.fill(Spread::default());
                for row in part.step_by(self.width()) {
                    for (run, out) in (row + first * self.s..).step_by(self.s).zip(&mut *out) {
                        *out = out.merge(rules.row(x, run..run + self.s));
                    }
                }
            }
            Shape::Columns => rules.columns(x.part(part.start + first..part.end), self.width(), out, scratch),
        }
    }

    /// Merges the statistics of a part into those of the groups.
    pub(super) fn merge(&self, part: &[Spread], groups: &mut [Spread]) {
        let lanes = self.lanes() / self.k;
        for (group, part) in groups.iter_mut().zip(part.chunks(lanes)) {
            for part in part {
                *group = group.merge(*part);
            }
        }
    }

    /// The statistics of all groups, from those of all parts; `keep` is told of each in turn.
    pub(super) fn all_statistics(
        &self,
        rules: &Rules,
        x: Input<'_>,
        scratch: &Scratch,
        mut keep: impl FnMut(usize, Spread),
    ) {
        let (parts, lanes, slab, k, strip) = (self.parts(), self.lanes(), self.slab(), self.k, self.strip());
        let strips = lanes.div_ceil(strip);
        // The last strip may be wider than what there is of it.
        let stride = strips * strip;
        scratch.with(3 * (self.b * parts * stride + k), |memory| {
            let (spreads, partials) = memory.split_at_mut(3 * k);
            let spreads: &mut [Spread] = bytemuck::cast_slice_mut(spreads);
            let partials: &mut [Spread] = bytemuck::cast_slice_mut(partials);
            let units = Units { of: &mut *partials, per: strip };
            let grain = self.grain(slab.div_ceil(parts * strips));
            each(0..self.b * parts * strips, grain, units, &|range: Range<usize>, units| {
                let mut x = Reader::new(x, 0, rules.level, scratch);
                for (number, out) in range.zip(units.of.chunks_mut(strip)) {
                    let (b, part, first) = (number / strips / parts, number / strips % parts, number % strips * strip);
                    let (part, out) = (self.range(b, part), &mut out[..strip.min(lanes - first)]);
                    self.part_statistics(rules, &mut x, part, first, out, scratch);
                }
            });
            for (b, partials) in partials.chunks(parts * stride).enumerate() {
                spreads.fill(Spread::default());
                partials.chunks(stride).for_each(|part| self.merge(&part[..lanes], spreads));
                spreads.iter().enumerate().for_each(|(at, &spread)| keep(b * k + at, spread));
            }
        });
    }

    /// The statistics of the groups of slab `b`.
    pub(super) fn slab_statistics(
        &self,
        rules: &Rules,
        x: &mut Reader<'_>,
        b: usize,
        groups: &mut [Spread],
        scratch: &Scratch,
    ) {
        groups.fill(Spread::default());
        if self.shape == Shape::Row {
            groups[0] = rules.row(x, b * self.slab()..(b + 1) * self.slab());
            return;
        }
        scratch.with(3 * self.lanes(), |numbers| {
            let out: &mut [Spread] = bytemuck::cast_slice_mut(numbers);
            for part in 0..self.parts() {
                self.part_statistics(rules, x, self.range(b, part), 0, out, scratch);
                self.merge(out, groups);
            }
        });
    }
}

/// A run of `s`, or a part of one that starts `within` elements into it.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) b: usize,
    pub(super) r: usize,
    pub(super) k: usize,
    pub(super) within: usize,
    pub(super) elements: Range<usize>,
}

/// Weight and bias, and which of them belong to an element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    index: AffineIndex,
    /// Neighbours along `s` that share a weight: 1 if each element has its own, else many.
    pub(super) run: usize,
    /// How often a weight is repeated so that each element has its own.
    pub(super) repeat: usize,
    /// How many weights there are, repetitions included.
    pub(super) length: usize,
}

/// Elements of neighbouring slabs whose statistics are taken together.
pub(super) const BATCH: usize = 1 << 12;

/// Columns of a row that has a weight of its own: shorter rows go several at a time.
const LONG_ROW: usize = 32;

/// Fewer neighbours than this share no weight: it is repeated for each.
const LEAST_RUN: usize = 16;

impl Affine {
    pub(super) fn new(problem: &Problem, layout: &Layout) -> Self {
        let index = problem.index;
        let share = usize::try_from(index.s_div).unwrap_or(usize::MAX).min(layout.s).max(1);
        let repeat = if share < LEAST_RUN && index.s_div < u64::MAX { share } else { 1 };
        let run = if repeat == share && index.s_div < u64::MAX { 1 } else { share };
        Self { index, run, repeat, length: problem.parameters() as usize * repeat }
    }

    /// No weight at all.
    pub(super) fn none(layout: &Layout) -> Self {
        // For short rows the same for each element is as good as one for all.
        let rows = layout.shape == Shape::Row && layout.s <= BATCH;
        let (run, length) = if rows { (1, layout.s.max(1)) } else { (layout.s.max(1), 1) };
        Self { index: AffineIndex::NONE, run, repeat: 1, length }
    }

    /// Calls `work` with the elements of a run that share a weight, and its number.
    pub(super) fn each_weight(&self, run: &Run, mut work: impl FnMut(Range<usize>, usize)) {
        let base = self.base(run.b, run.r, run.k);
        let (mut at, start) = (run.elements.start, run.elements.start - run.within);
        while at < run.elements.end {
            let number = (at - start) / self.run;
            let end = run.elements.end.min(start + (number + 1) * self.run);
            work(at..end, base + number);
            at = end;
        }
    }

    /// The first weight of a run of `s`.
    pub(super) fn base(&self, b: usize, r: usize, k: usize) -> usize {
        let AffineIndex { b_mod, b_mul, r_mul, k_mul, .. } = self.index;
        // Spares short rows a division.
        let of_b = if b_mul == 0 { 0 } else { (b as u64 % b_mod) * b_mul };
        (of_b + r as u64 * r_mul + k as u64 * k_mul) as usize * self.repeat
    }

    /// Whether each `r` has weights of its own.
    pub(super) fn goes_down(&self) -> bool {
        self.index.r_mul > 0
    }

    /// Whether these are one for each row of columns that is long enough to be taken for itself.
    pub(super) fn weighs_long_rows(&self, layout: &Layout) -> bool {
        self.goes_down() && layout.shape == Shape::Columns && layout.s == 1 && layout.k >= LONG_ROW
    }

    /// Of those that go down the rows, sets what is `given` of some rows for each of their elements.
    pub(super) fn fill_rows(&self, layout: &Layout, rows: Range<usize>, given: &[f32], out: &mut [f32]) {
        for (row, out) in rows.zip(out.chunks_mut(layout.width())) {
            let given = &given[row * layout.s..(row + 1) * layout.s];
            match given {
                [one] => out.fill(*one),
                _ => out.chunks_mut(given.len()).for_each(|out| out.iter_mut().zip(given).for_each(|(of, v)| *of = *v)),
            }
        }
    }

    /// Whether each slab is a short row with a weight of its own, as in instance norm.
    pub(super) fn is_by_row(&self, layout: &Layout) -> bool {
        layout.shape == Shape::Row && layout.s <= BATCH && self.run >= layout.s && !self.is_shared()
    }

    /// Whether all slabs have the same weights.
    pub(super) fn is_shared(&self) -> bool {
        self.index.b_mul == 0
    }

    /// What is given, for each element that has its own, or `default`; `offset` is added to each.
    pub(super) fn expand(&self, given: Option<&[f32]>, default: f32, offset: f32, out: &mut [f32]) {
        match given {
            Some(given) if self.repeat == 1 => {
                for (out, v) in out.iter_mut().zip(given) {
                    *out = v + offset;
                }
            }
            Some(given) => {
                for (out, v) in out.chunks_mut(self.repeat).zip(given) {
                    out.fill(v + offset);
                }
            }
            None => out.fill(default),
        }
    }
}
