//! Elements of a tensor as they are stored, and in f32, as they are computed with.

use std::ops::Range;

use super::modulation::Added;
use super::parallel::{Memory, Scratch};
use super::simd::{CHAIN, Level, add, add_to, narrow_bf16, narrow_f16, prefetch, stream, widen_bf16, widen_f16};
use crate::element::Element;
pub(super) use crate::values::{Values, ValuesMut};

/// Elements that are taken to f32 or from it at a time: few, so that memory is read and written by turns, at almost the same time.
pub(super) const PIECE: usize = 1 << 10;

impl<'a> Values<'a> {
    pub(super) fn of_bytes(element: Element, bytes: &'a [u8]) -> Self {
        Self { element, bytes }
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn part(self, elements: Range<usize>) -> Self {
        let size = self.element.size() as usize;
        Self { bytes: &self.bytes[elements.start * size..elements.end * size], ..self }
    }

    /// Has the cache fetch some of them, as far as there are so many.
    pub(super) fn prefetch(self, elements: Range<usize>) {
        prefetch(self.part(elements.start.min(self.len())..elements.end.min(self.len())).bytes);
    }

    /// As they are, if they are f32.
    pub(super) fn direct(self) -> Option<&'a [f32]> {
        (self.element == Element::F32).then(|| bytemuck::cast_slice(self.bytes))
    }

    /// In f32: as they are, or in memory that is as long.
    pub(super) fn in_f32<'b>(self, level: Level, memory: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        self.direct().unwrap_or_else(|| {
            self.load(level, memory);
            memory
        })
    }

    /// Copies them to f32.
    pub(super) fn load(self, level: Level, to: &mut [f32]) {
        match self.element {
            Element::F32 => to.copy_from_slice(bytemuck::cast_slice(self.bytes)),
            Element::F16 => widen_f16(level, bytemuck::cast_slice(self.bytes), to),
            Element::Bf16 => widen_bf16(level, bytemuck::cast_slice(self.bytes), to),
        }
    }

    /// Adds each to what is there, in f32.
    pub(super) fn add(self, level: Level, to: &mut [f32]) {
        let mut memory = [0.0; PIECE / 2];
        for at in (0..to.len()).step_by(memory.len()) {
            let end = to.len().min(at + memory.len());
            let part = self.part(at..end);
            add_to(level, &mut to[at..end], part.in_f32(level, &mut memory[..end - at]));
        }
    }
}

impl<'a> ValuesMut<'a> {
    pub(super) fn of_bytes(element: Element, bytes: &'a mut [u8]) -> Self {
        Self { element, bytes }
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// What is there.
    pub(super) fn read(&self) -> Values<'_> {
        Values { element: self.element, bytes: self.bytes }
    }

    pub(super) fn into_read(self) -> Values<'a> {
        Values { element: self.element, bytes: self.bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether they are of 16 bits.
    pub(super) fn is_short(&self) -> bool {
        self.element != Element::F32
    }

    pub(super) fn part(&mut self, elements: Range<usize>) -> ValuesMut<'_> {
        let size = self.element.size() as usize;
        ValuesMut { element: self.element, bytes: &mut self.bytes[elements.start * size..elements.end * size] }
    }

    /// The first elements and the others; all of them are the first if there are fewer.
    pub(super) fn split(self, at: usize) -> (Self, Self) {
        let at = (at * self.element.size() as usize).min(self.bytes.len());
        let (one, other) = self.bytes.split_at_mut(at);
        (Self { element: self.element, bytes: one }, Self { element: self.element, bytes: other })
    }

    /// As they are, if they are f32.
    pub(super) fn direct(&mut self) -> Option<&mut [f32]> {
        (self.element == Element::F32).then(|| bytemuck::cast_slice_mut(self.bytes))
    }

    pub(super) fn into_direct(self) -> Option<&'a mut [f32]> {
        (self.element == Element::F32).then(|| bytemuck::cast_slice_mut(self.bytes))
    }

    /// Sets them, each rounded to the nearest.
    pub(super) fn store(&mut self, level: Level, from: &[f32]) {
        match self.element {
            Element::F32 => bytemuck::cast_slice_mut(self.bytes).copy_from_slice(from),
            Element::F16 => narrow_f16(level, from, bytemuck::cast_slice_mut(self.bytes)),
            Element::Bf16 => narrow_bf16(level, from, bytemuck::cast_slice_mut(self.bytes)),
        }
    }

    /// The same past the cache; for those of 16 bits there is memory as long.
    pub(super) fn stream(&mut self, level: Level, from: &[f32], memory: &mut [f32]) {
        let bytes = if self.is_short() {
            let mut short =
                ValuesMut { element: self.element, bytes: &mut bytemuck::cast_slice_mut(memory)[..self.bytes.len()] };
            short.store(level, from);
            short.into_read().bytes
        } else {
            bytemuck::cast_slice(from)
        };
        stream(level, bytes, self.bytes);
    }
}

/// What is normalized: `x`, or the sum of it and others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) x: Values<'a>,
    pub(super) added: Added<'a>,
}

impl<'a> Input<'a> {
    pub(super) fn of(x: Values<'a>) -> Self {
        Self { x, added: Added::default() }
    }

    pub(super) fn len(self) -> usize {
        self.x.len()
    }

    pub(super) fn part(self, elements: Range<usize>) -> Self {
        Self { x: self.x.part(elements.clone()), added: self.added.part(elements) }
    }

    /// One element.
    pub(super) fn at(self, i: usize) -> f32 {
        let mut one = [0.0];
        self.part(i..i + 1).load(Level::baseline(), &mut one);
        one[0]
    }

    /// As it is, if it is `x` in f32.
    pub(super) fn direct(self) -> Option<&'a [f32]> {
        self.x.direct().filter(|_| self.added.is_none())
    }

    /// Copies it to f32.
    pub(super) fn load(self, level: Level, to: &mut [f32]) {
        let Self { x, added } = self;
        let residual = added.residual.and_then(Values::direct).filter(|_| added.gate.is_none());
        if let (Some(x), Some(residual)) = (x.direct(), residual) {
            return add(level, x, residual, to);
        }
        x.load(level, to);
        added.to(level, to);
    }
}

/// Reads some elements after the others, in f32.
pub(super) struct Reader<'a> {
    input: Input<'a>,
    /// All of it, if it is read as it is.
    direct: Option<&'a [f32]>,
    /// What the first element counts as.
    start: usize,
    level: Level,
    memory: Memory<'a>,
    /// The elements that are in memory.
    window: Range<usize>,
    /// Elements that are taken there at a time.
    piece: usize,
    through: Option<Through<'a>>,
}

/// What is made of some elements.
pub(super) type Through<'a> = &'a (dyn Fn(Range<usize>, &mut [f32]) + Sync);

impl<'a> Reader<'a> {
    /// Of elements that are counted from `start` on.
    pub(super) fn new(input: Input<'a>, start: usize, level: Level, scratch: &'a Scratch) -> Self {
        let direct = input.direct();
        Self { input, direct, start, level, memory: Memory::new(scratch), window: 0..0, piece: PIECE, through: None }
    }

    /// So many elements at a time.
    pub(super) fn by(self, piece: usize) -> Self {
        Self { piece, ..self }
    }

    /// Of what is made of elements of `input`, so many at a time, if anything is.
    pub(super) fn through(self, through: Option<Through<'a>>, piece: usize) -> Self {
        if through.is_some() { Self { direct: None, through, piece, ..self } } else { self }
    }

    /// Of what is made of some elements, all at once.
    pub(super) fn holding(
        values: Values<'_>,
        elements: Range<usize>,
        level: Level,
        scratch: &'a Scratch,
        through: impl FnOnce(&mut [f32]),
    ) -> Self {
        let mut memory = Memory::new(scratch);
        let held = memory.of(elements.len());
        values.load(level, held);
        through(held);
        let input = Input::of(Values::default());
        Self {
            input,
            direct: None,
            start: elements.start,
            level,
            memory,
            window: elements,
            piece: PIECE,
            through: None,
        }
    }

    /// Some elements, as they are stored.
    pub(super) fn part(&self, elements: Range<usize>) -> Input<'a> {
        self.input.part(elements.start - self.start..elements.end - self.start)
    }

    #[inline]
    pub(super) fn get(&mut self, elements: Range<usize>) -> &[f32] {
        match self.direct {
            Some(direct) => &direct[elements.start - self.start..elements.end - self.start],
            None => self.loaded(elements),
        }
    }

    fn loaded(&mut self, elements: Range<usize>) -> &[f32] {
        let Range { start, end } = elements;
        if start < self.window.start || end > self.window.end {
            self.window = start..end.max((self.start + self.input.len()).min(start + self.piece));
            let memory = self.memory.of(self.window.len());
            self.input.part(start - self.start..self.window.end - self.start).load(self.level, memory);
            if let Some(through) = self.through {
                through(self.window.clone(), memory);
            }
            let next = self.window.end - self.start;
            self.input.x.prefetch(next..next + self.piece);
        }
        &self.memory.of(self.window.len())[start - self.window.start..end - self.window.start]
    }
}

/// Calls `work` with chains of rows, one after the other, of the same columns of tensors, in f32, and how far apart rows are. Rows are `pitch`
/// apart in the tensors, which start with the first of so many columns.
pub(super) fn each_rows<const N: usize>(
    of: [Input<'_>; N],
    (pitch, columns): (usize, usize),
    level: Level,
    scratch: &Scratch,
    mut work: impl FnMut([&[f32]; N], usize),
) {
    let direct = of.map(Input::direct);
    if direct.iter().all(Option::is_some) {
        return work(direct.map(Option::unwrap_or_default), pitch);
    }
    let length = of.iter().map(|of| of.len()).min().unwrap_or(0);
    let mut memory = of.map(|_| Memory::new(scratch));
    for first in (0..length).step_by(CHAIN * pitch) {
        let end = length.min(first + CHAIN * pitch);
        let count = (end - first).div_ceil(pitch);
        for (of, memory) in of.iter().zip(&mut memory) {
            let to = memory.of(count * columns);
            if columns == pitch {
                of.part(first..end).load(level, to);
                continue;
            }
            for (row, to) in to.chunks_mut(columns).enumerate() {
                let at = first + row * pitch;
                of.part(at..at + columns).load(level, to);
            }
        }
        work(memory.each_mut().map(|memory| &*memory.of(count * columns)), columns);
    }
}
