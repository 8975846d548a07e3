//! What each column of a slab is normalized by, side by side, several rows for one where they are short.

use super::layout::{Affine, Layout};
use super::simd::{Center, Centers, Slopes};
use crate::statistics::Statistics;

/// Elements of a row, or of several together.
const WIDE: usize = 256;

/// A few numbers for each column.
pub(super) struct Columns<'a, const N: usize> {
    pub(super) of: [&'a mut [f32]; N],
    width: usize,
}

/// Elements of what several rows are taken for: a multiple of the width.
pub(super) fn wide(layout: &Layout) -> usize {
    let width = layout.width();
    width * (WIDE / width).clamp(1, layout.r)
}

impl<'a, const N: usize> Columns<'a, N> {
    /// Of the first columns of a row, so many, or of all several times over: in memory for `N` numbers an element.
    pub(super) fn new(memory: &'a mut [f32], elements: usize, layout: &Layout) -> Self {
        let mut parts = memory.chunks_mut(elements);
        let of = std::array::from_fn(|_| parts.next().unwrap_or_default());
        Self { of, width: layout.width().min(elements) }
    }

    /// Sets the numbers of each column from `first` on. `number` is told its group and its weight.
    pub(super) fn fill(
        &mut self,
        layout: &Layout,
        affine: &Affine,
        b: usize,
        first: usize,
        number: impl Fn(usize, usize) -> [f32; N],
    ) {
        let (s, end) = (layout.s, first + self.width);
        for k in first / s..end.div_ceil(s) {
            let base = affine.base(b, 0, k);
            for column in first.max(k * s)..end.min((k + 1) * s) {
                for (of, v) in self.of.iter_mut().zip(number(k, base + (column - k * s) / affine.run)) {
                    of[column - first] = v;
                }
            }
        }
        for of in &mut self.of {
            for at in (self.width..of.len()).step_by(self.width) {
                of.copy_within(..self.width, at);
            }
        }
    }
}

impl Columns<'_, 5> {
    /// The centres of columns, and their biases; weights go into the factors.
    pub(super) fn centers(&self) -> (Centers<'_>, &[f32]) {
        let [scale, shift, delta, factor, bias] = &self.of;
        (centers(scale, shift, delta, factor), bias)
    }
}

pub(super) fn center_of(statistics: &Statistics) -> Center {
    let Statistics { scale, shift, delta, factor, .. } = *statistics;
    Center { scale, shift, delta, factor }
}

fn centers<'a>(scale: &'a [f32], shift: &'a [f32], delta: &'a [f32], factor: &'a [f32]) -> Centers<'a> {
    let scaled = scale.iter().any(|&scale| scale != 1.0);
    Centers { scale: scaled.then_some(scale), shift, delta, factor }
}

impl Columns<'_, 4> {
    /// The centres of the columns of one row.
    pub(super) fn centers(&self) -> Centers<'_> {
        let [scale, shift, delta, factor] = self.of.each_ref().map(|of| &of[..self.width]);
        centers(scale, shift, delta, factor)
    }
}

impl Columns<'_, 8> {
    /// The centres of columns, and what their gradients are made of.
    pub(super) fn gradients(&self) -> (Centers<'_>, Slopes<'_>) {
        let [scale, shift, delta, factor, rstd, mean, along, weight] = &self.of;
        (centers(scale, shift, delta, factor), Slopes { rstd, mean, along, weight })
    }
}

impl Centers<'_> {
    /// From one of the elements of a wide row on.
    pub(super) fn from(&self, at: usize) -> Self {
        let Self { scale, shift, delta, factor } = *self;
        Self { scale: scale.map(|of| &of[at..]), shift: &shift[at..], delta: &delta[at..], factor: &factor[at..] }
    }
}

impl Slopes<'_> {
    /// From one of the elements of a wide row on.
    pub(super) fn from(&self, at: usize) -> Self {
        let Self { rstd, mean, along, weight } = *self;
        Self { rstd: &rstd[at..], mean: &mean[at..], along: &along[at..], weight: &weight[at..] }
    }
}
