//! Slices and `ndarray` views in and out: upload, one call, readback.

mod backward;
#[cfg(feature = "cpu")]
mod cpu;
mod given;
#[cfg(feature = "ndarray")]
mod ndarray;
#[cfg(feature = "cpu")]
mod parts;
mod transfer;

use std::marker::PhantomData;

pub use backward::Gradients;
use given::sealed::Tensor as _;
pub use given::{Parameter, Tensor};
#[cfg(feature = "ndarray")]
pub use ndarray::AnyView;

use crate::element::{Element, Storage};
use crate::error::{BindError, Error};
use crate::gpu::Gpu;
use crate::norm::Norm;
use crate::problem::{Problem, Source, count};
use crate::tensors::Role;
use crate::tensors::{element, extent, is_written, presence, shape};
use crate::values::{Number, Slice, Values};

/// The input tensors of one call, and which optional results to return. `T` is a slice in row-major order, such as `&[f32]`, or an
/// `ndarray` view. [`Operands`](crate::Operands) gives the shapes.
///
/// `x` and all tensors of its size are f32, [`half::f16`] or [`half::bf16`], one of them, and results of that size come back as the
/// same. Weight and bias may be f32 or of that type. Statistics and the gradients of weight and bias are f32.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::half::f16;
/// use wgpu_norm::{Gpu, Inputs, LayerNorm};
///
/// let gpu = Gpu::new_blocking()?;
/// let x = [1.0, 2.0, 3.0, 4.0].map(f16::from_f32);
/// let inputs = Inputs::new(&x[..]).weight(&[1.0, 1.0, 1.0, 2.0]).with_mean();
/// let out = gpu.run_blocking(&LayerNorm::new(&[1, 4], &[4])?, inputs)?;
/// assert_eq!(out.y, [-1.3417969, -0.44726563, 0.44726563, 2.6835938].map(f16::from_f32));
/// assert_eq!(out.mean.unwrap(), [2.5f32]);
/// # Ok(())
/// # }
/// ```
///
/// So the types of the slices say how tensors are stored. Where the norm says it ([`stored_as`](crate::Norm::stored_as)), f32 is
/// rounded to that type on the way to the device, and its results come back as f32; weight and bias that it stores as f32 may be of 16
/// bits. Anything else is [`BindError::Element`].
#[derive(Debug, Clone, Copy)]
pub struct Inputs<T: Tensor, Any = <T as given::sealed::Tensor>::Any> {
    given: [Option<Any>; Role::GIVEN],
    batches: Option<u32>,
    asked: [bool; Role::GIVEN],
    of: PhantomData<T>,
}

/// The results of one call: `y`, the updated running statistics, and the optional results that were requested. `T` is of the type of
/// `x`, `S` of f32.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outputs<T, S = T> {
    /// The normalized tensor, of the shape of `x`.
    pub y: T,
    /// The mean of each group, if requested by [`Inputs::with_mean`]. NaN for groups without elements.
    pub mean: Option<S>,
    /// `1 / sqrt(variance + eps)` of each group, if requested by [`Inputs::with_rstd`]. NaN for groups without elements.
    pub rstd: Option<S>,
    /// The updated running mean of batch norm in training.
    pub running_mean: Option<S>,
    /// The updated running variance of batch norm in training.
    pub running_var: Option<S>,
    /// The updated number of batches, if it was given.
    pub num_batches_tracked: Option<u32>,
    /// What was normalized, `x + residual` past a gate and with an embedding, if requested by [`Inputs::with_residual_out`].
    pub residual_out: Option<T>,
    /// The statistics of each group for a backward pass, if requested by [`Inputs::with_statistics`]. The shape is that of
    /// `rstd` with a last axis of 4.
    pub statistics: Option<S>,
}

impl<T: Tensor> Inputs<T> {
    /// Inputs with the tensor `x` alone.
    #[must_use]
    pub fn new(x: T) -> Self {
        Self::default().with(Role::X, x.any())
    }

    /// Per-channel or per-element scale (gamma), of [`parameter_shape`](Norm::parameter_shape). Without it, the scale is 1.
    #[must_use]
    pub fn weight(self, weight: impl Parameter<T>) -> Self {
        self.with(Role::Weight, weight.any())
    }

    /// Per-channel or per-element shift (beta), of [`parameter_shape`](Norm::parameter_shape). Without it, the shift is 0.
    #[must_use]
    pub fn bias(self, bias: impl Parameter<T>) -> Self {
        self.with(Role::Bias, bias.any())
    }

    /// Running mean, of shape `[C]`: for batch norm, and for instance norm in eval mode.
    #[must_use]
    pub fn running_mean(self, running_mean: T::F32) -> Self {
        self.with(Role::RunningMean, running_mean.any())
    }

    /// Running variance, of shape `[C]`: for batch norm, and for instance norm in eval mode.
    #[must_use]
    pub fn running_var(self, running_var: T::F32) -> Self {
        self.with(Role::RunningVar, running_var.any())
    }

    /// Number of batches that the running statistics include, before this one.
    #[must_use]
    pub fn num_batches_tracked(mut self, batches: u32) -> Self {
        self.batches = Some(batches);
        self
    }

    /// Requests the mean of each group.
    #[must_use]
    pub fn with_mean(self) -> Self {
        self.ask(Role::Mean)
    }

    /// Requests `1 / sqrt(variance + eps)` of each group.
    #[must_use]
    pub fn with_rstd(self) -> Self {
        self.ask(Role::Rstd)
    }

    /// Requests the statistics of each group, for a backward pass.
    #[must_use]
    pub fn with_statistics(self) -> Self {
        self.ask(Role::Stats)
    }

    /// Tensor to add to `x` before normalizing, of the shape of `x`.
    #[must_use]
    pub fn residual(self, residual: T) -> Self {
        self.with(Role::Residual, residual.any())
    }

    /// Requests what is normalized: `x + residual`, past a gate and with an embedding.
    #[must_use]
    pub fn with_residual_out(self) -> Self {
        self.ask(Role::ResidualOut)
    }

    /// Gradient of `y`, for a backward pass.
    #[must_use]
    pub fn grad_output(self, grad_output: T) -> Self {
        self.with(Role::GradOutput, grad_output.any())
    }

    /// Statistics of the forward pass, for a backward pass with
    /// [`saved_statistics`](crate::Backward::saved_statistics).
    #[must_use]
    pub fn statistics(self, statistics: T::F32) -> Self {
        self.with(Role::Stats, statistics.any())
    }

    /// Gradient of `residual_out`, to add to the gradient of `x` in a backward pass.
    #[must_use]
    pub fn grad_residual(self, grad_residual: T) -> Self {
        self.with(Role::GradResidual, grad_residual.any())
    }

    /// Gradient of `weight` so far, for a backward pass that [accumulates](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_weight(self, grad_weight: T::F32) -> Self {
        self.with(Role::GradWeight, grad_weight.any())
    }

    /// Gradient of `bias` so far, for a backward pass that [accumulates](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_bias(self, grad_bias: T::F32) -> Self {
        self.with(Role::GradBias, grad_bias.any())
    }

    /// Scale of a [`Modulation`](crate::Modulation), of its shape. Without it, the factor is 1.
    #[must_use]
    pub fn scale(self, scale: impl Parameter<T>) -> Self {
        self.with(Role::Scale, scale.any())
    }

    /// Shift of a [`Modulation`](crate::Modulation), of its shape. Without it, the shift is 0.
    #[must_use]
    pub fn shift(self, shift: impl Parameter<T>) -> Self {
        self.with(Role::Shift, shift.any())
    }

    /// Tensor that a norm [plus a skip](Norm::plus_skip) adds, of the shape of `x`.
    #[must_use]
    pub fn skip(self, skip: T) -> Self {
        self.with(Role::Skip, skip.any())
    }

    /// Gradient of `scale` so far, for a backward pass that [accumulates](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_scale(self, grad_scale: T::F32) -> Self {
        self.with(Role::GradScale, grad_scale.any())
    }

    /// Gradient of `shift` so far, for a backward pass that [accumulates](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_shift(self, grad_shift: T::F32) -> Self {
        self.with(Role::GradShift, grad_shift.any())
    }

    /// What `x` is multiplied by before the norm, of the shape of the [`Modulation`](crate::Modulation). Without it, that is 1.
    #[must_use]
    pub fn gate(self, gate: impl Parameter<T>) -> Self {
        self.with(Role::Gate, gate.any())
    }

    /// What is added to `x` before the norm, after the gate, of the shape of the [`Modulation`](crate::Modulation).
    #[must_use]
    pub fn embedding(self, embedding: impl Parameter<T>) -> Self {
        self.with(Role::Embedding, embedding.any())
    }

    /// What the gate multiplied, for a backward pass: `x` of the forward pass.
    #[must_use]
    pub fn branch(self, branch: T) -> Self {
        self.with(Role::Branch, branch.any())
    }

    /// Gradient of `gate` so far, for a backward pass that [accumulates](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_gate(self, grad_gate: T::F32) -> Self {
        self.with(Role::GradGate, grad_gate.any())
    }

    /// Gradient of `embedding` so far, for a backward pass that [accumulates](crate::Backward::accumulate).
    #[must_use]
    pub fn grad_embedding(self, grad_embedding: T::F32) -> Self {
        self.with(Role::GradEmbedding, grad_embedding.any())
    }

    fn ask(mut self, role: Role) -> Self {
        if let Some(slot) = self.asked.get_mut(role as usize) {
            *slot = true;
        }
        self
    }

    fn asks(&self, role: Role) -> bool {
        self.asked.get(role as usize).copied().unwrap_or(false)
    }

    fn with(mut self, role: Role, value: T::Any) -> Self {
        if let Some(slot) = self.given.get_mut(role as usize) {
            *slot = Some(value);
        }
        self
    }
}

impl<T: Tensor> Inputs<T> {
    fn get(&self, role: Role) -> Option<&T::Any> {
        self.given.get(role as usize).and_then(Option::as_ref)
    }

    /// What a forward pass writes.
    fn results(&self, problem: &Problem) -> Vec<Role> {
        let asked = [Role::Mean, Role::Rstd, Role::ResidualOut, Role::Stats];
        let tracked = matches!(problem.source, Source::Tracked(_));
        let running = [Role::RunningMean, Role::RunningVar].into_iter().filter(|_| tracked);
        std::iter::once(Role::Y).chain(asked.into_iter().filter(|&role| self.asks(role))).chain(running).collect()
    }

    /// Refuses what the norm does not take, before anything is uploaded.
    fn check_presence(&self, problem: &Problem) -> Result<(), BindError> {
        presence(problem, |role| match role {
            Role::Y => true,
            Role::Batches => self.batches.is_some(),
            _ => self.get(role).is_some() || self.asks(role),
        })
    }

    /// The problem on tensors that are stored as they are given, where the norm does not say how. Refuses those of another type than it
    /// says.
    fn stored(&self, problem: Problem, results: &[Role]) -> Result<Problem, BindError> {
        let is = T::ELEMENT;
        let given = || Role::given().filter_map(|role| Some((role, T::element(self.get(role)?))));
        let storage = if problem.storage.short().is_none() && is != Element::F32 {
            let mut parameters =
                given().filter(|(role, _)| matches!(role, Role::Weight | Role::Bias) || role.modulates());
            let same = parameters.all(|(_, parameter)| parameter == is);
            Storage::new(is).parameters(if same { is } else { Element::F32 })
        } else {
            problem.storage
        };
        let problem = Problem { storage, ..problem };
        check_elements(&problem, given().chain(results.iter().map(|&role| (role, is))))?;
        Ok(problem)
    }
}

/// Refuses tensors that are given, and large ones that are wanted, as another type than they are stored as. Results come last.
pub(crate) fn check_elements(
    problem: &Problem,
    tensors: impl IntoIterator<Item = (Role, Element)>,
) -> Result<(), BindError> {
    // Large ones share a type: the first that is stored as another is what the caller knows of.
    let mut first = None;
    for (role, is) in tensors {
        let must = element(problem, role);
        if is == must {
            continue;
        }
        let back = role.is_large() && is_written(problem, role);
        let error = BindError::Element { tensor: role.name(), is, must };
        // f32 is rounded on the way, and from 16 bits it is exact, if there is no way back.
        if is != Element::F32 && (must != Element::F32 || back) {
            return Err(first.filter(|_| back).unwrap_or(error));
        }
        if role.is_large() {
            first.get_or_insert(error);
        }
    }
    Ok(())
}

impl<T: Number> Inputs<&[T]> {
    /// Refuses tensors of another length than their shape has.
    fn check_lengths(&self, problem: &Problem) -> Result<(), BindError> {
        for role in Role::given() {
            if let Some(given) = self.get(role) {
                let (must, length) = (extent(problem, role), given.len());
                if length as u64 != must {
                    let (tensor, shape) = (role.name(), shape(problem, role).to_vec());
                    return Err(BindError::Length { tensor, length, must, shape });
                }
            }
        }
        Ok(())
    }
}

impl<T: Tensor> Default for Inputs<T> {
    fn default() -> Self {
        Self { given: std::array::from_fn(|_| None), batches: None, asked: Default::default(), of: PhantomData }
    }
}

impl Gpu {
    /// Runs `norm` on slices in row-major order: uploads the inputs, computes, and reads the results back.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::{Gpu, Inputs, RmsNorm};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let out = gpu.run_blocking(&RmsNorm::new(&[1, 2], &[2])?, Inputs::new(&[3.0, 3.0][..]).weight(&[1.0, 2.0]))?;
    /// assert!((out.y[1] - 2.0).abs() < 1e-5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] if a parameter is outside its range. [`Error::Bind`] if a tensor is missing, has the wrong length, or
    /// is not one that the norm takes. [`Error::Run`] if the device is out of memory or lost.
    pub async fn run<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<&[T]>,
    ) -> Result<Outputs<Vec<T>, Vec<f32>>, Error> {
        let problem = norm.lower()?;
        inputs.check_presence(&problem)?;
        let mut results = inputs.results(&problem);
        let plan = self.context().plan_of(inputs.stored(problem, &results)?)?;
        let problem = &plan.problem;
        inputs.check_lengths(problem)?;
        if plan.passes().is_empty() {
            return Ok(nothing(problem, &inputs));
        }
        results.extend(inputs.batches.map(|_| Role::Batches));
        Ok(self.dispatch(&plan, &inputs, &results).await?.outputs())
    }

    /// [`Gpu::run`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<&[T]>,
    ) -> Result<Outputs<Vec<T>, Vec<f32>>, Error> {
        pollster::block_on(self.run(norm, inputs))
    }
}

/// The results for an empty tensor: nothing normalized, running statistics as they were.
fn nothing<T: Number>(problem: &Problem, inputs: &Inputs<&[T]>) -> Outputs<Vec<T>, Vec<f32>> {
    let undefined = || vec![f32::NAN; count(&problem.statistics_shape) as usize];
    let tracked = matches!(problem.source, Source::Tracked(_));
    let kept = |role: Role| inputs.get(role).filter(|_| tracked).map(|values| values.numbers());
    Outputs {
        y: Vec::new(),
        mean: inputs.asks(Role::Mean).then(undefined),
        rstd: inputs.asks(Role::Rstd).then(undefined),
        running_mean: kept(Role::RunningMean),
        running_var: kept(Role::RunningVar),
        num_batches_tracked: inputs.batches,
        residual_out: inputs.asks(Role::ResidualOut).then(Vec::new),
        statistics: inputs.asks(Role::Stats).then(|| vec![f32::NAN; count(&problem.record_shape) as usize]),
    }
}
