//! The buffers a plan is bound to.

use crate::tensors::Role;

/// The start of a tensor: a buffer and an offset in bytes, a multiple of 4, or of 2 where its elements are of 16 bits. The plan
/// determines the length.
///
/// A `&wgpu::Buffer` converts to a view at offset 0, and a [`wgpu::BufferSlice`] to a view at its own offset.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub(crate) buffer: &'a wgpu::Buffer,
    pub(crate) offset: u64,
}

impl<'a> View<'a> {
    /// A view of the tensor that starts `offset` bytes into `buffer`.
    #[must_use]
    pub fn new(buffer: &'a wgpu::Buffer, offset: u64) -> Self {
        Self { buffer, offset }
    }

    /// The buffer.
    #[must_use]
    pub fn buffer(self) -> &'a wgpu::Buffer {
        self.buffer
    }

    /// Where the tensor starts, in bytes.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.offset
    }
}

impl<'a> From<&'a wgpu::Buffer> for View<'a> {
    fn from(buffer: &'a wgpu::Buffer) -> Self {
        Self::new(buffer, 0)
    }
}

impl<'a> From<wgpu::BufferSlice<'a>> for View<'a> {
    fn from(slice: wgpu::BufferSlice<'a>) -> Self {
        Self::new(slice.buffer(), slice.offset())
    }
}

/// The tensors that a plan reads and writes. Each is a [`View`] of a buffer with usage `STORAGE`, row-major and contiguous unless the norm
/// has [strides](crate::Norm::with_strides), and f32 unless it says [otherwise](crate::Norm::stored_as).
///
/// Tensors of 16-bit elements lie in words of four bytes, all of which are in the buffer. A word that a written tensor begins or ends
/// in may have an element of others in its other half, which stays as it is: but nobody else may write it while the dispatch runs.
///
/// Several tensors may share one buffer, as long as no tensor that is written overlaps another. There are exceptions for
/// computing in place: `y` and `residual_out` may be exactly `x` or `residual`, and `grad_input` may be exactly
/// `grad_output` or `grad_residual`. (Browsers also refuse to bind overlapping ranges for writing. There, keep tensors of
/// one buffer 256 bytes apart.)
///
/// A forward plan takes:
///
/// | tensor | shape | taken by |
/// |---|---|---|
/// | `x`, `y` | the norm's [`shape`](crate::Norm::shape) | all norms |
/// | `weight`, `bias` | its [`parameter_shape`](crate::Norm::parameter_shape) | norms with parameters, each optional |
/// | `mean`, `rstd` | its [`statistics_shape`](crate::Norm::statistics_shape) | all norms except in eval mode, each optional, written; RMS and Lp norms have no `mean` |
/// | `running_mean`, `running_var` | `[C]` | batch norm, updated in training; instance norm in eval mode |
/// | `num_batches_tracked` | one `u32` | batch norm in training, incremented; required by the cumulative average |
/// | `residual`, `residual_out` | that of `x` | all norms, each optional; `residual_out` is written; no plan for one part of a batch takes them |
/// | `statistics` | that of `rstd` with a last axis of 4 | all norms except in eval mode, optional, written |
/// | `scale`, `shift` | that of the [`Modulation`](crate::Modulation) | norms that are [modulated](crate::Norm::modulated), each optional |
/// | `gate`, `embedding` | that of the `Modulation` | the same, each optional; no plan for one part of a batch takes them |
/// | `skip` | that of `x` | norms [plus a skip](crate::Norm::plus_skip) |
///
/// A [backward plan](crate::Context::plan_backward) takes:
///
/// | tensor | shape | |
/// |---|---|---|
/// | `grad_output`, `x` | that of `x` | read |
/// | `weight` | its `parameter_shape` | the one of the forward pass |
/// | `bias` | its `parameter_shape` | the one of the forward pass, read by norms with an [activation](crate::Norm::then) or a [modulation](crate::Norm::modulated) |
/// | `scale`, `shift` | that of the [`Modulation`](crate::Modulation) | those of the forward pass |
/// | `skip` | that of `x` | the one of the forward pass, read by norms with an activation after it |
/// | `running_mean`, `running_var` | `[C]` | read, by batch and instance norm in eval mode |
/// | `statistics` | that of `rstd` with a last axis of 4 | read, with [`saved_statistics`](crate::Backward::saved_statistics) |
/// | `grad_input` | that of `x` | written, if planned |
/// | `grad_weight`, `grad_bias` | the `parameter_shape` | written or added to, if planned |
/// | `grad_scale`, `grad_shift` | that of the `Modulation` | optional, written or added to |
/// | `grad_skip` | that of `x` | optional, written by norms with an activation after the skip |
/// | `grad_residual` | that of `x` | optional, added to `grad_input` |
/// | `gate`, `branch` | as forward, and that of `x` | read, [with the gate](crate::Backward::with_gate): those of the forward pass, where `branch` was `x` |
/// | `grad_gate`, `grad_branch` | the same | written, with the gate; `grad_gate` may be added to |
/// | `grad_embedding` | that of the `Modulation` | written or added to, [with the embedding](crate::Backward::with_embedding) |
///
/// Plans for one part of a batch take `moments`, of the shape of `rstd` with a last axis of 4, and `sums`, likewise with a
/// last axis of 2. A plan that reads them takes those of all parts, one after the other. A plan from statistics reads `statistics`,
/// and takes no running ones.
#[derive(Debug, Clone, Copy)]
pub struct Operands<'a> {
    given: [Option<View<'a>>; Role::GIVEN],
}

impl<'a> Operands<'a> {
    /// Operands that read `x` and write `y`, both of the norm's `shape`.
    #[must_use]
    pub fn new(x: impl Into<View<'a>>, y: impl Into<View<'a>>) -> Self {
        Self::none().with(Role::X, x.into()).with(Role::Y, y.into())
    }

    /// Operands that read `x` and write no `y`, for a plan made by [`Context::plan_moments`](crate::Context::plan_moments).
    #[must_use]
    pub fn of(x: impl Into<View<'a>>) -> Self {
        Self::none().with(Role::X, x.into())
    }

    pub(crate) fn none() -> Self {
        Self { given: [None; Role::GIVEN] }
    }

    /// Operands of a [backward](crate::Backward) plan. `grad_output` is the gradient of `y`, and `x` the input of the
    /// forward pass. If the forward pass added a residual, give the sum as `x`: [`Operands::residual_out`].
    #[must_use]
    pub fn backward(grad_output: impl Into<View<'a>>, x: impl Into<View<'a>>) -> Self {
        Self::none().with(Role::X, x.into()).with(Role::GradOutput, grad_output.into())
    }

    /// Operands that overwrite `x` with `y`.
    #[must_use]
    pub fn in_place(x: impl Into<View<'a>>) -> Self {
        let x = x.into();
        Self::new(x, x)
    }

    /// Per-channel or per-element scale (gamma), of [`parameter_shape`](crate::Norm::parameter_shape). Without it, the
    /// scale is 1.
    #[must_use]
    pub fn weight(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Weight, view.into())
    }

    /// Per-channel or per-element shift (beta), of [`parameter_shape`](crate::Norm::parameter_shape). Without it, the
    /// shift is 0.
    #[must_use]
    pub fn bias(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Bias, view.into())
    }

    /// Output: the mean of each group, of [`statistics_shape`](crate::Norm::statistics_shape).
    #[must_use]
    pub fn mean(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Mean, view.into())
    }

    /// Output: `1 / sqrt(variance + eps)` of each group, of [`statistics_shape`](crate::Norm::statistics_shape). For other
    /// norms it is the factor that the norm's own documentation names.
    #[must_use]
    pub fn rstd(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Rstd, view.into())
    }

    /// Running mean, of shape `[C]`. Batch norm updates it in training; batch and instance norm read it in eval mode.
    #[must_use]
    pub fn running_mean(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::RunningMean, view.into())
    }

    /// Running variance, of shape `[C]`. Batch norm updates it in training; batch and instance norm read it in eval mode.
    #[must_use]
    pub fn running_var(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::RunningVar, view.into())
    }

    /// Number of batches that the running statistics include: one `u32`, which batch norm increments in training.
    #[must_use]
    pub fn num_batches_tracked(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Batches, view.into())
    }

    /// Tensor to add to `x` before normalizing, of the shape of `x`.
    #[must_use]
    pub fn residual(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Residual, view.into())
    }

    /// Output: `x + residual`, past a gate and with an embedding where they are given, of the shape of `x`. In a residual network, the next block adds to it.
    #[must_use]
    pub fn residual_out(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::ResidualOut, view.into())
    }

    /// Statistics of each group for the backward pass: four f32 per group, opaque to the caller. Must start at a multiple
    /// of 16 bytes.
    ///
    /// A forward plan writes them. A backward plan with [`saved_statistics`](crate::Backward::saved_statistics) reads them.
    /// They hold the mean as a sum of two f32, since one would lose digits that gradients need.
    #[must_use]
    pub fn statistics(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Stats, view.into())
    }

    /// Output: the gradient of `x`, of the shape of `x`.
    #[must_use]
    pub fn grad_input(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradInput, view.into())
    }

    /// Output: the gradient of `weight`. Added to the buffer's content with
    /// [`accumulate`](crate::Backward::accumulate), else written over it.
    #[must_use]
    pub fn grad_weight(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradWeight, view.into())
    }

    /// Output: the gradient of `bias`. Added to the buffer's content with
    /// [`accumulate`](crate::Backward::accumulate), else written over it.
    #[must_use]
    pub fn grad_bias(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradBias, view.into())
    }

    /// Gradient of [`Operands::residual_out`], of the shape of `x`, to add to the gradient of `x`. The sum is the gradient
    /// of both `x` and the residual.
    #[must_use]
    pub fn grad_residual(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradResidual, view.into())
    }

    /// Scale of a [`Modulation`](crate::Modulation), of its shape and pitch. Without it, the factor is 1.
    #[must_use]
    pub fn scale(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Scale, view.into())
    }

    /// Shift of a [`Modulation`](crate::Modulation), of its shape and pitch. Without it, the shift is 0.
    #[must_use]
    pub fn shift(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Shift, view.into())
    }

    /// Tensor that a norm [plus a skip](crate::Norm::plus_skip) adds, of the shape of `x`.
    #[must_use]
    pub fn skip(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Skip, view.into())
    }

    /// Output: the gradient of `scale`, of the shape and pitch of the [`Modulation`](crate::Modulation). Added to the buffer's content
    /// with [`accumulate`](crate::Backward::accumulate), else written over it. What lies between keeps its bits.
    #[must_use]
    pub fn grad_scale(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradScale, view.into())
    }

    /// Output: the gradient of `shift`, as that of `scale`.
    #[must_use]
    pub fn grad_shift(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradShift, view.into())
    }

    /// Output: the gradient of `skip`, of the shape of `x`, where an activation follows. Without one it is that of `y`.
    #[must_use]
    pub fn grad_skip(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradSkip, view.into())
    }

    /// What `x` is multiplied by before the norm, of the shape and pitch of the [`Modulation`](crate::Modulation). Without it, that is 1.
    #[must_use]
    pub fn gate(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Gate, view.into())
    }

    /// What is added to `x` before the norm, after the gate, of the shape and pitch of the [`Modulation`](crate::Modulation).
    #[must_use]
    pub fn embedding(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Embedding, view.into())
    }

    /// What the gate multiplied, for a backward pass: `x` of the forward pass.
    #[must_use]
    pub fn branch(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Branch, view.into())
    }

    /// Output: the gradient of `gate`, as that of `scale`.
    #[must_use]
    pub fn grad_gate(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradGate, view.into())
    }

    /// Output: the gradient of `embedding`, as that of `scale`.
    #[must_use]
    pub fn grad_embedding(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradEmbedding, view.into())
    }

    /// Output: the gradient of `branch`, of the shape of `x`.
    #[must_use]
    pub fn grad_branch(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradBranch, view.into())
    }

    /// [`Moments`](crate::Moments) of each group. Must start at a multiple of 16 bytes.
    ///
    /// A plan made by [`Context::plan_moments`](crate::Context::plan_moments) writes them; one made by
    /// [`Context::plan_from_moments`](crate::Context::plan_from_moments) reads them.
    #[must_use]
    pub fn moments(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Moments, view.into())
    }

    /// Sums of `g = dy * weight` and of `g * xhat` over each group, two f32. Must start at a multiple of 8 bytes.
    ///
    /// A plan made by [`Context::plan_backward_sums`](crate::Context::plan_backward_sums) writes them; one made by
    /// [`Context::plan_backward_from_sums`](crate::Context::plan_backward_from_sums) reads them. The sums of several parts
    /// may be added up.
    #[must_use]
    pub fn sums(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Sums, view.into())
    }

    pub(crate) fn with(mut self, role: Role, view: View<'a>) -> Self {
        if let Some(slot) = self.given.get_mut(role as usize) {
            *slot = Some(view);
        }
        self
    }

    pub(crate) fn get(&self, role: Role) -> Option<View<'a>> {
        self.given.get(role as usize).copied().flatten()
    }

    /// Whether two of them are exactly the same place.
    pub(crate) fn coincide(&self, one: Role, other: Role) -> bool {
        match (self.get(one), self.get(other)) {
            (Some(one), Some(other)) => one.buffer == other.buffer && one.offset == other.offset,
            _ => false,
        }
    }
}
