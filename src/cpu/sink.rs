//! Where results go, piece by piece: to their place, or past the cache.

use super::simd::{Level, fence, stream};

/// Elements that are made ready before they go past the cache.
const PIECE: usize = 1 << 12;

/// Memory for them. What went past the cache is seen by all threads once it is given up.
pub(super) struct Piece([f32; PIECE], Level);

impl Piece {
    pub(super) fn new(level: Level) -> Self {
        Self([0.0; PIECE], level)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        fence();
    }
}

/// A tensor, or a part of one, that is written from its first element on.
pub(super) struct Sink<'a> {
    to: &'a mut [f32],
    done: usize,
    piece: Option<&'a mut Piece>,
    waiting: usize,
}

impl<'a> Sink<'a> {
    /// Past the cache, if there is memory for a piece.
    pub(super) fn new(to: &'a mut [f32], piece: Option<&'a mut Piece>) -> Self {
        Self { to, done: 0, piece, waiting: 0 }
    }

    /// Has the next elements written, perhaps in several calls, each told how many came before.
    #[inline]
    pub(super) fn put(&mut self, elements: usize, mut write: impl FnMut(usize, &mut [f32])) {
        let Some(piece) = &mut self.piece else {
            write(0, &mut self.to[self.done..self.done + elements]);
            self.done += elements;
            return;
        };
        let mut at = 0;
        while at < elements {
            let part = (elements - at).min(PIECE - self.waiting);
            write(at, &mut piece.0[self.waiting..self.waiting + part]);
            self.waiting += part;
            at += part;
            if self.waiting == PIECE {
                stream(piece.1, &piece.0, &mut self.to[self.done..self.done + PIECE]);
                self.done += PIECE;
                self.waiting = 0;
            }
        }
    }
}

impl Drop for Sink<'_> {
    fn drop(&mut self) {
        if let Some(piece) = &mut self.piece {
            let end = self.done + self.waiting;
            stream(piece.1, &piece.0[..self.waiting], &mut self.to[self.done..end]);
        }
    }
}
