//! Forward and backward passes bound to their buffers, and what leads from one to the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::LayerError;
use crate::gpu::bind::{Bound, View};

/// A view, to remember.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    buffer: wgpu::Buffer,
    offset: u64,
}

impl Place {
    pub(super) fn is(&self, view: View<'_>) -> bool {
        self.offset == view.offset && self.buffer == *view.buffer
    }

    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.buffer, self.offset)
    }
}

impl From<View<'_>> for Place {
    fn from(view: View<'_>) -> Self {
        Self { buffer: view.buffer.clone(), offset: view.offset }
    }
}

/// A forward pass bound to its buffers, and all that a backward pass has to know of it.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) layer: Arc<()>,
    pub(super) name: &'static str,
    pub(super) shape: Vec<usize>,
    pub(super) training: bool,
    pub(super) x: Place,
    pub(super) y: Place,
    /// Saved for a backward pass.
    pub(super) statistics: Option<wgpu::Buffer>,
    pub(super) bound: Bound,
}

/// A backward pass bound to its buffers.
#[derive(Debug)]
pub(super) struct Backwards {
    pub(super) forward: Arc<Forward>,
    pub(super) parameters: bool,
    pub(super) grad_output: Place,
    pub(super) grad_input: Option<Place>,
    pub(super) bound: Bound,
}

/// A recorded forward pass, as [`Layer::backward`] takes it. It holds the `x` that was read, its shape, the mode of the layer
/// and the saved statistics, and keeps their buffers alive. Drop it if no backward pass follows.
///
/// [`Layer::backward`]: super::Layer::backward
#[derive(Debug, Clone)]
pub struct Saved {
    pub(super) forward: Arc<Forward>,
    /// Whether the commands were dropped before anyone submitted them; none if nothing depends on it.
    dropped: Option<Arc<AtomicBool>>,
}

/// The buffers of a backward pass: the gradient of `y`, and optionally that of `x`.
#[derive(Debug, Clone, Copy)]
pub struct GradOutput<'a> {
    /// The gradient of `y`.
    pub grad_output: View<'a>,
    /// The gradient of `x`, if it is wanted.
    pub grad_input: Option<View<'a>>,
}

impl<'a> GradOutput<'a> {
    /// The gradient of `y`, to be read. Without [`GradOutput::grad_input`], only the gradients of weight and bias are
    /// computed, as the first layer of a network needs.
    #[must_use]
    pub fn new(grad_output: impl Into<View<'a>>) -> Self {
        Self { grad_output: grad_output.into(), grad_input: None }
    }

    /// Output: the gradient of `x`. It may be exactly the buffer of the gradient of `y`.
    #[must_use]
    pub fn grad_input(mut self, grad_input: impl Into<View<'a>>) -> Self {
        self.grad_input = Some(grad_input.into());
        self
    }
}

/// A bound forward pass, made by [`Layer::bind_forward`](super::Layer::bind_forward).
#[derive(Debug, Clone)]
pub struct BoundForward(pub(super) Arc<Forward>);

impl BoundForward {
    /// Records the forward pass, as [`Layer::forward`](super::Layer::forward) does.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) -> Saved {
        self.0.bound.record(pass);
        let dropped = self.0.statistics.as_ref().map(|_| Watch::over(pass));
        Saved { forward: self.0.clone(), dropped }
    }
}

/// A bound backward pass, made by [`Layer::bind_backward`](super::Layer::bind_backward).
#[derive(Debug, Clone)]
pub struct BoundBackward(pub(super) Arc<Backwards>);

impl BoundBackward {
    /// Records the backward pass of a forward pass. The [`BoundForward`] that this was bound for must have recorded it.
    ///
    /// # Errors
    ///
    /// [`LayerError::Foreign`] if another one recorded it, [`LayerError::NotSubmitted`] if its commands were dropped. On an
    /// error nothing is recorded.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, saved: &Saved) -> Result<(), LayerError> {
        let layer = self.0.forward.name;
        if !Arc::ptr_eq(&self.0.forward, &saved.forward) {
            return Err(LayerError::Foreign { layer });
        }
        if saved.dropped.as_ref().is_some_and(|dropped| dropped.load(Ordering::Relaxed)) {
            return Err(LayerError::NotSubmitted { layer });
        }
        self.0.bound.record(pass);
        Ok(())
    }
}

/// Goes along with recorded commands, in a callback that wgpu calls when they are done, or else drops along with them.
struct Watch {
    dropped: Arc<AtomicBool>,
    done: bool,
}

impl Watch {
    /// Becomes true if what is recorded into `pass` is dropped before it is submitted.
    fn over(pass: &wgpu::ComputePass<'_>) -> Arc<AtomicBool> {
        let dropped = Arc::new(AtomicBool::new(false));
        let watch = Self { dropped: dropped.clone(), done: false };
        pass.on_submitted_work_done(move || {
            let mut watch = watch;
            watch.done = true;
        });
        dropped
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.done {
            self.dropped.store(true, Ordering::Relaxed);
        }
    }
}
