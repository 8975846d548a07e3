//! Where results go, piece by piece: to their place, in the type that is stored, or past the cache.

use super::epilogue::Epilogue;
use super::layout::BATCH;
use super::modulation::{Added, Modulation};
use super::parallel::{Cut, Memory, Scratch};
use super::simd::{Level, fence};
use super::values::{Input, Values, ValuesMut};

/// Elements that an activation takes while as many others are fetched: few, so that memory is asked all the time.
const STEP: usize = 1 << 9;

/// What a pass reads and writes, or what belongs to some of its units.
#[derive(Default)]
pub(super) struct Flow<'a> {
    /// None where `y` is written over it.
    pub(super) x: Option<Values<'a>>,
    pub(super) residual: Option<Values<'a>>,
    pub(super) gate: Option<Modulation<'a>>,
    /// Whether the sum is written over the residual.
    pub(super) residual_under: bool,
    pub(super) y: ValuesMut<'a>,
    /// The sum of `x` and others, if that is asked for.
    pub(super) sum: ValuesMut<'a>,
    /// Elements of a unit.
    pub(super) per: usize,
    /// The number of the first element.
    pub(super) first: usize,
}

impl Cut for Flow<'_> {
    fn cut(self, at: usize) -> (Self, Self) {
        let Self { x, residual, gate, residual_under, y, sum, per, first } = self;
        let at = at * per;
        let ((x, x2), (residual, residual2)) = (cut(x, at), cut(residual, at));
        let ((y, y2), (sum, sum2)) = (y.split(at), sum.split(at));
        (
            Self { x, residual, gate, residual_under, y, sum, per, first },
            Self { x: x2, residual: residual2, gate, residual_under, y: y2, sum: sum2, per, first: first + at },
        )
    }
}

fn cut(of: Option<Values<'_>>, at: usize) -> (Option<Values<'_>>, Option<Values<'_>>) {
    of.map(|of| (of.part(0..at), of.part(at..of.len()))).unzip()
}

impl Flow<'_> {
    /// What is normalized, as it is before anything is written over it.
    pub(super) fn input(&self) -> Input<'_> {
        Input { x: self.x.unwrap_or_else(|| self.y.read()), added: self.added() }
    }

    fn added(&self) -> Added<'_> {
        let residual = self.residual.or_else(|| self.residual_under.then(|| self.sum.read()));
        Added { gate: self.gate, first: self.first, residual }
    }

    /// Whether kernels find what is normalized where its result is made ready, rather than in `x`.
    pub(super) fn loads(&self) -> bool {
        self.input().direct().is_none() || !self.sum.is_empty()
    }
}

/// Neighbouring columns of rows of a tensor that is written, so many to a unit.
pub(super) struct Strips<'a> {
    /// None where nothing is written.
    pub(super) rows: Vec<ValuesMut<'a>>,
    per: usize,
}

impl<'a> Strips<'a> {
    pub(super) fn new(mut of: ValuesMut<'a>, width: usize, per: usize) -> Self {
        let mut rows = Vec::new();
        while !of.is_empty() {
            let (row, rest) = of.split(width);
            rows.push(row);
            of = rest;
        }
        Self { rows, per }
    }
}

impl Cut for Strips<'_> {
    fn cut(self, at: usize) -> (Self, Self) {
        let Self { rows, per } = self;
        let (one, other) = rows.into_iter().map(|row| row.split(at * per)).unzip();
        (Self { rows: one, per }, Self { rows: other, per })
    }
}

/// Memory for elements that are made ready before they go to their place. What went past the cache is seen by all threads once it is
/// given up.
pub(super) struct Piece<'a> {
    ready: Memory<'a>,
    short: Memory<'a>,
    stream: bool,
}

impl<'a> Piece<'a> {
    /// Where results go past the cache, or are of 16 bits, or have no place.
    pub(super) fn new(y: &ValuesMut<'_>, stream: bool, scratch: &'a Scratch) -> Option<Self> {
        let needed = stream || y.is_short() || y.is_empty();
        needed.then(|| Self { ready: Memory::new(scratch), short: Memory::new(scratch), stream })
    }
}

impl Drop for Piece<'_> {
    fn drop(&mut self) {
        if self.stream {
            fence();
        }
    }
}

/// A tensor, or a part of one, that is written from its first element to its last.
pub(super) struct Sink<'a, 'p> {
    flow: Flow<'a>,
    /// Elements that are made ready at a time.
    window: usize,
    level: Level,
    piece: Option<&'a mut Piece<'p>>,
    loads: bool,
    /// What follows what is written.
    epilogue: Option<Epilogue<'a>>,
    /// Elements that are in their place.
    done: usize,
    /// Elements that are ready, of those that were loaded.
    ready: usize,
    loaded: usize,
}

impl<'a, 'p> Sink<'a, 'p> {
    /// Through memory for a piece, if there is one: so many elements at a time, and more past the cache, where that is faster.
    pub(super) fn new(
        flow: Flow<'a>,
        window: usize,
        loads: bool,
        level: Level,
        piece: Option<&'a mut Piece<'p>>,
    ) -> Self {
        let window = if piece.as_ref().is_some_and(|piece| piece.stream) { BATCH } else { window };
        Self { flow, window, level, piece, loads, epilogue: None, done: 0, ready: 0, loaded: 0 }
    }

    /// With this after what is written.
    pub(super) fn then(self, epilogue: Epilogue<'a>) -> Self {
        Self { epilogue: Some(epilogue).filter(|epilogue| !epilogue.is_none()), ..self }
    }

    /// What is normalized, of all elements.
    pub(super) fn input(&self) -> Input<'_> {
        self.flow.input()
    }

    /// The same in f32, as far as it is loaded at once.
    pub(super) fn source(&mut self) -> &[f32] {
        self.load();
        match self.x() {
            Some(x) => x,
            None => self.window(),
        }
    }

    /// Has the next elements written, perhaps in several calls, each told how many came before, and `x`, unless that is where the
    /// result is written.
    #[inline]
    pub(super) fn put(&mut self, elements: usize, mut write: impl FnMut(usize, Option<&[f32]>, &mut [f32])) {
        let mut at = 0;
        while at < elements {
            self.load();
            let mut part = (elements - at).min(self.loaded - self.ready);
            if self.epilogue.is_some() {
                // What is written is still in the nearest cache.
                part = part.min(BATCH);
            }
            let own = self.ready..self.ready + part;
            let x = self.x().map(|x| &x[own.clone()]);
            let (first, epilogue) = (self.flow.first + self.done + own.start, self.epilogue);
            let (next, later) = (self.done + own.end, self.flow.x.unwrap_or_default());
            let (y, after) = self.window()[own.start..].split_at_mut(part);
            write(at, x, y);
            if let Some(epilogue) = epilogue {
                for (y, at) in y.chunks_mut(STEP).zip((0..).step_by(STEP)) {
                    // Else memory would be idle while the arithmetic of an activation lasts.
                    later.prefetch(next + at..next + at + y.len());
                    Values::new(after).prefetch(at..at + y.len());
                    epilogue.apply(first + at, y);
                }
            }
            at += part;
            self.ready += part;
            if self.ready == self.loaded {
                self.flush();
            }
        }
    }

    /// `x` of the elements that are loaded.
    fn x(&self) -> Option<&'a [f32]> {
        let x = self.flow.x.filter(|_| !self.loads)?;
        x.part(self.done..self.done + self.loaded).direct()
    }

    /// Where they are made ready.
    fn window(&mut self) -> &mut [f32] {
        match &mut self.piece {
            Some(piece) => piece.ready.of(self.loaded),
            None => &mut self.flow.y.direct().unwrap_or_default()[self.done..self.done + self.loaded],
        }
    }

    /// Begins with the next elements, unless some are left.
    fn load(&mut self) {
        if self.loaded > 0 {
            return;
        }
        let all = self.input().len() - self.done;
        self.loaded = if self.piece.is_some() || self.loads { all.min(self.window) } else { all };
        if let Some(piece) = &self.piece
            && !piece.stream
        {
            // The next ones, which memory has time for until then.
            let next = self.done + self.loaded;
            self.flow.y.read().prefetch(next..next + self.window);
            if let Some(x) = self.flow.x {
                x.prefetch(next..next + self.window);
            }
        }
        if !self.loads {
            return;
        }
        let (level, own) = (self.level, self.done..self.done + self.loaded);
        let Flow { x, residual, gate, residual_under, y, sum, first, .. } = &mut self.flow;
        let residual = residual.or_else(|| residual_under.then(|| sum.read()));
        let added = Added { gate: *gate, first: *first, residual };
        let to = match &mut self.piece {
            Some(piece) => {
                let x = x.unwrap_or_else(|| y.read());
                let to = piece.ready.of(own.len());
                Input { x, added }.part(own.clone()).load(level, to);
                to
            }
            None => {
                let to = &mut y.direct().unwrap_or_default()[own.clone()];
                match *x {
                    Some(x) => Input { x, added }.part(own.clone()).load(level, to),
                    None => added.part(own.clone()).to(level, to),
                }
                to
            }
        };
        if !sum.is_empty() {
            sum.part(own).store(level, to);
        }
    }

    /// Puts what is ready in its place.
    fn flush(&mut self) {
        if let Some(piece) = &mut self.piece {
            let ready = piece.ready.of(self.loaded);
            let mut to = self.flow.y.part(self.done..self.done + self.loaded);
            if piece.stream {
                to.stream(self.level, ready, piece.short.of(self.loaded));
            } else {
                to.store(self.level, ready);
            }
        }
        self.done += self.loaded;
        (self.ready, self.loaded) = (0, 0);
    }
}
