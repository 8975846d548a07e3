//! The buffers a plan is bound to.

use crate::element::Element;
use crate::shader::Role;

/// Where a tensor starts: a buffer and an offset in bytes, any multiple of 4. Its length follows from the plan.
///
/// A whole `&wgpu::Buffer` converts to a view from offset 0, a [`wgpu::BufferSlice`] to one from where it starts.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub(crate) buffer: &'a wgpu::Buffer,
    pub(crate) offset: u64,
}

impl<'a> View<'a> {
    /// The tensor that starts `offset` bytes into `buffer`.
    #[must_use]
    pub fn new(buffer: &'a wgpu::Buffer, offset: u64) -> Self {
        Self { buffer, offset }
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

/// The tensors of one call of a plan, each a [`View`] of a buffer with usage `STORAGE`, f32, row-major and contiguous.
///
/// Several may share one buffer, as long as none that is written overlaps another. `y` and `residual_out` may be exactly `x` or
/// `residual`, `grad_input` exactly `grad_output` or `grad_residual`. (Browsers also
/// refuse to bind overlapping ranges for writing; there, keep tensors of one buffer apart by 256 bytes.)
///
/// | tensor | shape | taken by |
/// |---|---|---|
/// | `x`, `y` | the norm's [`shape`](crate::Norm::shape) | all |
/// | `weight`, `bias` | its [`parameter_shape`](crate::Norm::parameter_shape) | all, each optional |
/// | `mean`, `rstd` | its [`statistics_shape`](crate::Norm::statistics_shape) | all, each optional, written; no `mean` with RMS norm, neither in eval mode |
/// | `running_mean`, `running_var` | `[C]` | batch norm, updated when training; instance norm in eval mode |
/// | `num_batches_tracked` | one `u32` | batch norm when training, incremented; needed for the cumulative average |
/// | `residual`, `residual_out` | that of `x` | layer and RMS norm, each optional; `residual_out` is written |
/// | `statistics` | that of `rstd`, and 4 | all but eval modes, optional, written; read by backward plans that ask for it |
///
/// A [backward plan](crate::Context::plan_backward) takes:
///
/// | tensor | shape | |
/// |---|---|---|
/// | `grad_output`, `x` | that of `x` | read |
/// | `weight` | its own | as in the forward pass |
/// | `running_mean`, `running_var` | `[C]` | batch and instance norm in eval mode |
/// | `statistics` | that of `rstd`, and 4 | with [`saved_statistics`](crate::Backward::saved_statistics) |
/// | `grad_input` | that of `x` | written, where planned |
/// | `grad_weight`, `grad_bias` | those of `weight` and `bias` | written or added to, where planned |
/// | `grad_residual` | that of `x` | optional, added to `grad_input` |
///
/// Plans for one of several parts of a batch take `moments` (of the shape of `rstd`, and 4; read: that many parts of it) and
/// `sums` (of the shape of `rstd`, and 2; likewise).
#[derive(Debug, Clone, Copy)]
pub struct Operands<'a> {
    given: [Option<View<'a>>; Role::GIVEN.len()],
}

impl<'a> Operands<'a> {
    /// Reads `x` and writes `y`.
    #[must_use]
    pub fn new(x: impl Into<View<'a>>, y: impl Into<View<'a>>) -> Self {
        Self::none().with(Role::X, x.into()).with(Role::Y, y.into())
    }

    /// Reads `x` and writes no `y`: for plans of [moments](crate::Context::plan_moments).
    #[must_use]
    pub fn of(x: impl Into<View<'a>>) -> Self {
        Self::none().with(Role::X, x.into())
    }

    pub(crate) fn none() -> Self {
        Self { given: [None; Role::GIVEN.len()] }
    }

    /// For a [backward](crate::Backward) plan: reads `grad_output`, the gradient of `y`, and `x`, the input of the forward
    /// pass, or what its residual was added to ([`Operands::residual_out`]).
    #[must_use]
    pub fn backward(grad_output: impl Into<View<'a>>, x: impl Into<View<'a>>) -> Self {
        Self::none().with(Role::X, x.into()).with(Role::GradOutput, grad_output.into())
    }

    /// Overwrites `x` with the result.
    #[must_use]
    pub fn in_place(x: impl Into<View<'a>>) -> Self {
        let x = x.into();
        Self::new(x, x)
    }

    /// Multiplies by this.
    #[must_use]
    pub fn weight(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Weight, view.into())
    }

    /// Adds this.
    #[must_use]
    pub fn bias(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Bias, view.into())
    }

    /// Writes each group's mean here.
    #[must_use]
    pub fn mean(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Mean, view.into())
    }

    /// Writes each group's `1 / sqrt(variance + eps)` here.
    #[must_use]
    pub fn rstd(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Rstd, view.into())
    }

    /// The running mean, of batch norm or of instance norm in eval mode.
    #[must_use]
    pub fn running_mean(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::RunningMean, view.into())
    }

    /// The running variance, of batch norm or of instance norm in eval mode.
    #[must_use]
    pub fn running_var(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::RunningVar, view.into())
    }

    /// How many batches the running statistics have seen: one `u32`.
    #[must_use]
    pub fn num_batches_tracked(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Batches, view.into())
    }

    /// Normalizes `x` plus this.
    #[must_use]
    pub fn residual(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Residual, view.into())
    }

    /// Writes `x` plus the residual here: what the next block adds to.
    #[must_use]
    pub fn residual_out(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::ResidualOut, view.into())
    }

    /// Forward: writes each group's `shift`, `delta`, `rstd` and number of elements here, four f32 (the mean is
    /// `shift + delta`, which one f32 cannot hold). Backward with
    /// [`saved_statistics`](crate::Backward::saved_statistics): reads them. Starts at a multiple of 16 bytes.
    #[must_use]
    pub fn statistics(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Stats, view.into())
    }

    /// Writes the gradient of `x` here.
    #[must_use]
    pub fn grad_input(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradInput, view.into())
    }

    /// Writes the gradient of `weight` here, or adds it.
    #[must_use]
    pub fn grad_weight(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradWeight, view.into())
    }

    /// Writes the gradient of `bias` here, or adds it.
    #[must_use]
    pub fn grad_bias(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradBias, view.into())
    }

    /// Adds this to the gradient of `x`: what came back to [`Operands::residual_out`]. The sum is the gradient of both `x`
    /// and the residual.
    #[must_use]
    pub fn grad_residual(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::GradResidual, view.into())
    }

    /// Each group's [`Moments`](crate::Moments): written by a plan that computes them, read by one that goes by them. Starts
    /// at a multiple of 16 bytes.
    #[must_use]
    pub fn moments(self, view: impl Into<View<'a>>) -> Self {
        self.with(Role::Moments, view.into())
    }

    /// Each group's sums of `g` and `g * xhat`, two f32: written by a plan that computes them, read by one that goes by them.
    /// Those of several parts may be added up. Starts at a multiple of 8 bytes.
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

impl View<'_> {
    /// Whether a vector load of four elements may start here.
    pub(crate) fn is_quad_aligned(&self) -> bool {
        self.offset.is_multiple_of(4 * Element::F32.size())
    }
}
