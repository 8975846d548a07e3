//! Work on all cores: in the pool of rayon that the caller is in, or the global one. There are no threads on wasm32.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Something made of units, that can be cut in two between them.
pub(super) trait Cut: Sized + Send {
    fn cut(self, at: usize) -> (Self, Self);
}

impl Cut for () {
    fn cut(self, _: usize) -> (Self, Self) {
        ((), ())
    }
}

impl<A: Cut, B: Cut> Cut for (A, B) {
    fn cut(self, at: usize) -> (Self, Self) {
        let ((a, c), (b, d)) = (self.0.cut(at), self.1.cut(at));
        ((a, b), (c, d))
    }
}

/// A slice of so many elements to a unit; one of none is never cut.
#[derive(Debug)]
pub(super) struct Units<'a, T> {
    pub(super) of: &'a mut [T],
    pub(super) per: usize,
}

impl<T: Send> Cut for Units<'_, T> {
    fn cut(self, at: usize) -> (Self, Self) {
        let (one, other) = self.of.split_at_mut((at * self.per).min(self.of.len()));
        (Self { of: one, per: self.per }, Self { of: other, per: self.per })
    }
}

/// Calls `work` with all units, `grain` of them at a time, each time with what belongs to them.
pub(super) fn each<T: Cut>(units: Range<usize>, grain: usize, items: T, work: &(impl Fn(Range<usize>, T) + Sync)) {
    let grains = units.len().div_ceil(grain.max(1));
    if grains <= 1 {
        if !units.is_empty() {
            work(units, items);
        }
        return;
    }
    let middle = grains / 2 * grain;
    let (one, other) = items.cut(middle);
    let (first, second) = (units.start..units.start + middle, units.start + middle..units.end);
    join(|| each(first, grain, one, work), || each(second, grain, other, work));
}

#[cfg(not(target_arch = "wasm32"))]
fn join(one: impl FnOnce() + Send, other: impl FnOnce() + Send) {
    rayon::join(one, other);
}

#[cfg(target_arch = "wasm32")]
fn join(one: impl FnOnce(), other: impl FnOnce()) {
    one();
    other();
}

/// How many threads there are.
pub(super) fn threads() -> usize {
    #[cfg(not(target_arch = "wasm32"))]
    return rayon::current_num_threads();
    #[cfg(target_arch = "wasm32")]
    return 1;
}

/// Whether this is one of them. Others wait until the pool has woken up, which takes some 50 us.
fn is_inside() -> bool {
    #[cfg(not(target_arch = "wasm32"))]
    return rayon::current_thread_index().is_some();
    #[cfg(target_arch = "wasm32")]
    return false;
}

/// How many of some elements a thread takes at a time: any number where one thread is done with all before others have begun.
/// `cost` is how much longer each takes than to be normalized.
pub(super) fn grain(elements: usize, cost: usize) -> usize {
    let alone = if is_inside() { LEAST } else { OUTSIDE };
    let threads = threads();
    if threads == 1 || elements.saturating_mul(cost) <= alone {
        return usize::MAX;
    }
    (elements / (4 * threads)).clamp(LEAST, MOST)
}

/// Elements that are worth a thread of their own: 3 us.
const LEAST: usize = 1 << 14;

/// Elements that are worth waking the pool: 50 us.
const OUTSIDE: usize = 1 << 18;

/// Elements after which a thread looks whether others have nothing to do.
const MOST: usize = 1 << 16;

/// Memory for what is found on the way, kept from one call to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch(Mutex<Vec<Vec<f64>>>);

impl Scratch {
    /// Calls `work` with so many numbers, all 0.
    pub(super) fn with<T>(&self, numbers: usize, work: impl FnOnce(&mut [f64]) -> T) -> T {
        let mut memory = self.take();
        memory.clear();
        memory.resize(numbers, 0.0);
        let result = work(&mut memory);
        self.keep(memory);
        result
    }

    fn take(&self) -> Vec<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn keep(&self, memory: Vec<f64>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

/// Bytes in which processors tell a load from an earlier store by the last bits of their addresses alone.
const PAGE: usize = 4096;

/// Memory for elements in f32, of which there is none until some is asked for. It starts with a cache line, half a page away from where
/// large tensors do, so that few loads of those wait for stores to it.
#[derive(Debug)]
pub(super) struct Memory<'a> {
    scratch: &'a Scratch,
    taken: Option<Vec<f64>>,
}

impl<'a> Memory<'a> {
    pub(super) fn new(scratch: &'a Scratch) -> Self {
        Self { scratch, taken: None }
    }

    /// So many elements: those that were there, or anything.
    pub(super) fn of(&mut self, elements: usize) -> &mut [f32] {
        let taken = self.taken.get_or_insert_with(|| self.scratch.take());
        let numbers = elements.div_ceil(2) + PAGE / 8 + PAGE / 16;
        if taken.len() < numbers {
            taken.resize(numbers, 0.0);
        }
        let first = taken.as_ptr().align_offset(PAGE).min(PAGE / 8) + PAGE / 16;
        &mut bytemuck::cast_slice_mut(&mut taken[first..])[..elements]
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        if let Some(memory) = self.taken.take() {
            self.scratch.keep(memory);
        }
    }
}
