//! The slices a plan runs on.

use super::parallel::Memory;
use super::simd::Level;
use crate::error::BindError;
use crate::problem::Problem;
use crate::tensors::{Role, element, extent, is_written, presence, shape};
use crate::values::{Slice, Values, ValuesMut};

/// The tensors that a plan reads and writes, as slices in row-major order. Their shapes are those of
/// [`wgpu_norm::Operands`](crate::Operands).
///
/// A tensor with [strides](crate::Norm::with_strides) is the slice from its first element to its last, with what lies between.
///
/// A tensor that is written is `&mut`, and so cannot overlap another. To compute in place, use [`Operands::in_place`],
/// [`Operands::residual_in_place`], [`Operands::backward_in_place`] and [`Operands::grad_residual_in_place`].
///
/// Tensors that the norm [stores](crate::Norm::stored_as) in 16 bits are slices of [`half::f16`] or [`half::bf16`]. They are taken to
/// f32 and computed with, a residual is added, and each result is rounded once, to the nearest, ties to even: it is that of f32, rounded.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::cpu::{Cpu, Operands};
/// use wgpu_norm::half::f16;
/// use wgpu_norm::{Element, LayerNorm, Norm};
///
/// let norm = LayerNorm::new(&[1, 4], &[4])?.stored_as(Element::F16);
/// let plan = Cpu::new().plan(&norm)?;
/// let mut x = [1.0, 2.0, 3.0, 4.0].map(f16::from_f32);
/// // Weights are f32, unless `Storage::parameters` says that they are as x is.
/// plan.run(Operands::in_place(&mut x).weight(&[1.0, 1.0, 1.0, 2.0]))?;
/// assert_eq!(x.map(f16::to_f32), [-1.3417969, -0.44726563, 0.44726563, 2.6835938]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Operands<'a> {
    pub(super) tensors: [Tensor<'a>; Role::GIVEN],
    pub(super) batches: Option<&'a mut u32>,
    /// One that was written, or in the place of another, and given once more.
    twice: Option<Role>,
}

#[derive(Debug, Default)]
pub(super) enum Tensor<'a> {
    #[default]
    None,
    Read(Values<'a>),
    Write(ValuesMut<'a>),
    /// In the place of what is written over it.
    Under,
}

impl<'a> Operands<'a> {
    /// Operands that read `x` and write `y`, both of the norm's `shape`.
    #[must_use]
    pub fn new(x: &'a (impl Slice + ?Sized), y: &'a mut (impl Slice + ?Sized)) -> Self {
        Self::default().read(Role::X, x).write(Role::Y, y)
    }

    /// Operands that overwrite `x` with `y`.
    #[must_use]
    pub fn in_place(x: &'a mut (impl Slice + ?Sized)) -> Self {
        Self::default().over(Role::X, Role::Y, x)
    }

    /// Operands that read `x` and write no `y`, for a plan made by [`Cpu::plan_moments`](crate::Cpu::plan_moments).
    #[must_use]
    pub fn of(x: &'a (impl Slice + ?Sized)) -> Self {
        Self::default().read(Role::X, x)
    }

    /// Operands of a [backward](crate::Backward) plan. `grad_output` is the gradient of `y`, and `x` the input of the forward
    /// pass, or the sum if something came before the norm.
    #[must_use]
    pub fn backward(grad_output: &'a (impl Slice + ?Sized), x: &'a (impl Slice + ?Sized)) -> Self {
        Self::default().read(Role::GradOutput, grad_output).read(Role::X, x)
    }

    /// The same, where the gradient of `x` overwrites that of `y`.
    #[must_use]
    pub fn backward_in_place(grad_output: &'a mut (impl Slice + ?Sized), x: &'a (impl Slice + ?Sized)) -> Self {
        Self::default().over(Role::GradOutput, Role::GradInput, grad_output).read(Role::X, x)
    }

    /// Per-channel or per-element scale (gamma). Without it, the scale is 1.
    #[must_use]
    pub fn weight(self, weight: &'a (impl Slice + ?Sized)) -> Self {
        self.read(Role::Weight, weight)
    }

    /// Per-channel or per-element shift (beta). Without it, the shift is 0.
    #[must_use]
    pub fn bias(self, bias: &'a (impl Slice + ?Sized)) -> Self {
        self.read(Role::Bias, bias)
    }

    /// Output: the mean of each group.
    #[must_use]
    pub fn mean(self, mean: &'a mut [f32]) -> Self {
        self.write(Role::Mean, mean)
    }

    /// Output: `1 / sqrt(variance + eps)` of each group, or the factor that the norm's own documentation names.
    #[must_use]
    pub fn rstd(self, rstd: &'a mut [f32]) -> Self {
        self.write(Role::Rstd, rstd)
    }

    /// Running mean and variance, of shape `[C]`, which eval mode reads.
    #[must_use]
    pub fn running(self, mean: &'a [f32], var: &'a [f32]) -> Self {
        self.read(Role::RunningMean, mean).read(Role::RunningVar, var)
    }

    /// Running mean and variance, of shape `[C]`, which batch norm updates in training.
    #[must_use]
    pub fn tracked(self, mean: &'a mut [f32], var: &'a mut [f32]) -> Self {
        self.write(Role::RunningMean, mean).write(Role::RunningVar, var)
    }

    /// Number of batches that the running statistics include, which batch norm increments in training.
    #[must_use]
    pub fn num_batches_tracked(mut self, batches: &'a mut u32) -> Self {
        self.batches = Some(batches);
        self
    }

    /// Tensor to add to `x` before normalizing.
    #[must_use]
    pub fn residual(self, residual: &'a (impl Slice + ?Sized)) -> Self {
        self.read(Role::Residual, residual)
    }

    /// Output: `x + residual`, past a gate and with an embedding where they are given.
    #[must_use]
    pub fn residual_out(self, sum: &'a mut (impl Slice + ?Sized)) -> Self {
        self.write(Role::ResidualOut, sum)
    }

    /// Tensor to add to `x` before normalizing, which the sum overwrites.
    #[must_use]
    pub fn residual_in_place(self, residual: &'a mut (impl Slice + ?Sized)) -> Self {
        self.over(Role::Residual, Role::ResidualOut, residual)
    }

    /// Output: the statistics of each group for a backward pass, four numbers per group.
    #[must_use]
    pub fn statistics_out(self, statistics: &'a mut [f32]) -> Self {
        self.write(Role::Stats, statistics)
    }

    /// The statistics that a forward pass wrote, on this engine or on a GPU.
    #[must_use]
    pub fn statistics(self, statistics: &'a [f32]) -> Self {
        self.read(Role::Stats, statistics)
    }

    /// Output: the gradient of `x`.
    #[must_use]
    pub fn grad_input(self, grad_input: &'a mut (impl Slice + ?Sized)) -> Self {
        self.write(Role::GradInput, grad_input)
    }

    /// Output: the gradient of `weight`. Added to what is there with [`accumulate`](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_weight(self, grad_weight: &'a mut [f32]) -> Self {
        self.write(Role::GradWeight, grad_weight)
    }

    /// Output: the gradient of `bias`. Added to what is there with [`accumulate`](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_bias(self, grad_bias: &'a mut [f32]) -> Self {
        self.write(Role::GradBias, grad_bias)
    }

    /// Gradient of `residual_out`, to add to the gradient of `x`.
    #[must_use]
    pub fn grad_residual(self, grad_residual: &'a (impl Slice + ?Sized)) -> Self {
        self.read(Role::GradResidual, grad_residual)
    }

    /// A gradient that the gradient of `x` is added to: of `residual_out`, or of an earlier micro-batch.
    #[must_use]
    pub fn grad_residual_in_place(self, gradient: &'a mut (impl Slice + ?Sized)) -> Self {
        self.over(Role::GradResidual, Role::GradInput, gradient)
    }

    /// Scale of a [`Modulation`](crate::Modulation), from its first number to its last. Without it, the factor is 1.
    #[must_use]
    pub fn scale(self, scale: &'a (impl Slice + ?Sized)) -> Self {
        self.read(Role::Scale, scale)
    }

    /// Shift of a [`Modulation`](crate::Modulation), from its first number to its last. Without it, the shift is 0.
    #[must_use]
    pub fn shift(self, shift: &'a (impl Slice + ?Sized)) -> Self {
        self.read(Role::Shift, shift)
    }

    /// Tensor that a norm [plus a skip](crate::Norm::plus_skip) adds.
    #[must_use]
    pub fn skip(self, skip: &'a (impl Slice + ?Sized)) -> Self {
        self.read(Role::Skip, skip)
    }

    /// Output: the gradient of `scale`. Added to what is there with [`accumulate`](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_scale(self, grad_scale: &'a mut [f32]) -> Self {
        self.write(Role::GradScale, grad_scale)
    }

    /// Output: the gradient of `shift`. Added to what is there with [`accumulate`](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_shift(self, grad_shift: &'a mut [f32]) -> Self {
        self.write(Role::GradShift, grad_shift)
    }

    /// Output: the gradient of `skip`, where an activation follows.
    #[must_use]
    pub fn grad_skip(self, grad_skip: &'a mut (impl Slice + ?Sized)) -> Self {
        self.write(Role::GradSkip, grad_skip)
    }

    /// What `x` is multiplied by before the norm, as a [`Modulation`](crate::Modulation) says. Without it, that is 1.
    #[must_use]
    pub fn gate(self, gate: &'a (impl Slice + ?Sized)) -> Self {
        self.read(Role::Gate, gate)
    }

    /// What is added to `x` before the norm, after the gate, as a [`Modulation`](crate::Modulation) says.
    #[must_use]
    pub fn embedding(self, embedding: &'a (impl Slice + ?Sized)) -> Self {
        self.read(Role::Embedding, embedding)
    }

    /// What the gate multiplied, for a backward pass: `x` of the forward pass.
    #[must_use]
    pub fn branch(self, branch: &'a (impl Slice + ?Sized)) -> Self {
        self.read(Role::Branch, branch)
    }

    /// Output: the gradient of `gate`. Added to what is there with [`accumulate`](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_gate(self, grad_gate: &'a mut [f32]) -> Self {
        self.write(Role::GradGate, grad_gate)
    }

    /// Output: the gradient of `embedding`. Added to what is there with [`accumulate`](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_embedding(self, grad_embedding: &'a mut [f32]) -> Self {
        self.write(Role::GradEmbedding, grad_embedding)
    }

    /// Output: the gradient of `branch`.
    #[must_use]
    pub fn grad_branch(self, grad_branch: &'a mut (impl Slice + ?Sized)) -> Self {
        self.write(Role::GradBranch, grad_branch)
    }

    /// Output: the [`Moments`](crate::Moments) of each group, four numbers each.
    #[must_use]
    pub fn moments_out(self, moments: &'a mut [f32]) -> Self {
        self.write(Role::Moments, moments)
    }

    /// The [`Moments`](crate::Moments) of each group of all parts, one part after the other.
    #[must_use]
    pub fn moments(self, moments: &'a [f32]) -> Self {
        self.read(Role::Moments, moments)
    }

    /// Output: the sums of `g = dy * weight` and of `g * xhat` over each group, two numbers each.
    #[must_use]
    pub fn sums_out(self, sums: &'a mut [f32]) -> Self {
        self.write(Role::Sums, sums)
    }

    /// The sums of all parts, one part after the other.
    #[must_use]
    pub fn sums(self, sums: &'a [f32]) -> Self {
        self.read(Role::Sums, sums)
    }

    pub(crate) fn read(self, role: Role, values: &'a (impl Slice + ?Sized)) -> Self {
        self.read_values(role, values.values())
    }

    pub(crate) fn read_values(self, role: Role, values: Values<'a>) -> Self {
        self.with(role, Tensor::Read(values))
    }

    pub(crate) fn write(self, role: Role, values: &'a mut (impl Slice + ?Sized)) -> Self {
        self.write_values(role, values.values_mut())
    }

    pub(crate) fn write_values(self, role: Role, values: ValuesMut<'a>) -> Self {
        self.with(role, Tensor::Write(values))
    }

    fn over(self, under: Role, over: Role, values: &'a mut (impl Slice + ?Sized)) -> Self {
        self.with(under, Tensor::Under).write(over, values)
    }

    fn with(mut self, role: Role, tensor: Tensor<'a>) -> Self {
        if let Some(slot) = self.tensors.get_mut(role as usize) {
            if matches!(slot, Tensor::Write(_) | Tensor::Under) {
                self.twice = Some(role);
            }
            *slot = tensor;
        }
        self
    }

    /// Refuses what does not fit the problem.
    pub(super) fn check(&self, problem: &Problem) -> Result<(), BindError> {
        if let Some(role) = self.twice {
            return Err(BindError::Twice { norm: problem.norm, tensor: role.name() });
        }
        presence(problem, |role| match role {
            Role::Batches => self.batches.is_some(),
            role => !matches!(self.tensors[role as usize], Tensor::None),
        })?;
        for role in Role::given() {
            let values = match &self.tensors[role as usize] {
                Tensor::None | Tensor::Under => continue,
                Tensor::Read(_) if is_written(problem, role) => {
                    return Err(BindError::ReadOnly { norm: problem.norm, tensor: role.name() });
                }
                Tensor::Read(values) => *values,
                Tensor::Write(values) => values.read(),
            };
            let (tensor, is, must) = (role.name(), values.element(), element(problem, role));
            if is != must {
                return Err(BindError::Element { tensor, is, must });
            }
            let (length, must) = (values.len(), extent(problem, role));
            if length as u64 != must {
                return Err(BindError::Length { tensor, length, must, shape: shape(problem, role).to_vec() });
            }
        }
        Ok(())
    }

    /// What is read there, if it is given and lies apart from what is written.
    pub(super) fn take_values(&mut self, role: Role) -> Option<Values<'a>> {
        match std::mem::take(&mut self.tensors[role as usize]) {
            Tensor::Read(values) => Some(values),
            Tensor::Write(values) => Some(values.into_read()),
            Tensor::None | Tensor::Under => None,
        }
    }

    /// The same of a tensor that is always f32.
    pub(super) fn take_read(&mut self, role: Role) -> Option<&'a [f32]> {
        self.take_values(role)?.direct()
    }

    /// The same in f32, which there is memory for.
    pub(super) fn take_in_f32<'b>(&mut self, role: Role, level: Level, memory: &'b mut Memory<'_>) -> Option<&'b [f32]>
    where
        'a: 'b,
    {
        let values = self.take_values(role)?;
        Some(values.direct().unwrap_or_else(|| values.in_f32(level, memory.of(values.len()))))
    }

    /// What is written there; nothing if it is not given.
    pub(super) fn take_values_mut(&mut self, role: Role) -> ValuesMut<'a> {
        match std::mem::take(&mut self.tensors[role as usize]) {
            Tensor::Write(values) => values,
            Tensor::Read(_) | Tensor::None | Tensor::Under => ValuesMut::default(),
        }
    }

    /// The same of a tensor that is always f32.
    pub(super) fn take_write(&mut self, role: Role) -> Option<&'a mut [f32]> {
        self.take_values_mut(role).into_direct()
    }

    /// Whether something is written over a tensor.
    pub(super) fn is_under(&self, role: Role) -> bool {
        matches!(self.tensors[role as usize], Tensor::Under)
    }
}
