//! Gradients of slices.

use super::transfer::Fetched;
use super::{Inputs, Number, Role, Tensor};
use crate::backward::Backward;
use crate::error::{BindError, Error};
use crate::gpu::Gpu;
use crate::norm::Norm;
use crate::problem::Problem;
use crate::tensors::takes;

/// The gradients that one backward pass computed: those that its [`Backward`] selects. `T` is of the type of `x`, `S` of f32.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Gradients<T, S = T> {
    /// The gradient of `x`, and of the residual if there was one.
    pub input: Option<T>,
    /// The gradient of `weight`, in its shape.
    pub weight: Option<S>,
    /// The gradient of `bias`, in its shape.
    pub bias: Option<S>,
    /// The gradient of `scale`, in its shape, of a norm that is [modulated](crate::Norm::modulated).
    pub scale: Option<S>,
    /// The gradient of `shift`, in its shape.
    pub shift: Option<S>,
    /// The gradient of `skip`, where an activation follows it. Without one it is that of `y`.
    pub skip: Option<T>,
    /// The gradient of `gate`, in its shape, [if wanted](Backward::with_gate).
    pub gate: Option<S>,
    /// The gradient of `embedding`, in its shape, [if wanted](Backward::with_embedding).
    pub embedding: Option<S>,
    /// The gradient of what the gate multiplied, if that of the gate is wanted.
    pub branch: Option<T>,
}

impl Gpu {
    /// Computes the gradients of `norm` on slices in row-major order. `inputs` are the `x` and `weight` of the forward pass,
    /// and `grad_output`, the gradient of `y`. An empty `x` gives gradients of 0 for weight and bias.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::{Backward, Gpu, Inputs, RmsNorm};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let norm = RmsNorm::new(&[1, 2], &[2])?.eps(0.0);
    /// let inputs = Inputs::new(&[3.0, 4.0][..]).grad_output(&[1.0, 1.0]);
    /// let gradients = gpu.run_backward_blocking(&norm, Backward::new().without_bias(), inputs)?;
    /// let dx = gradients.input.unwrap();
    /// // Along x nothing changes: the gradient is perpendicular to it.
    /// assert!((3.0 * dx[0] + 4.0 * dx[1]).abs() < 1e-6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Gpu::run`] and [`Context::plan_backward`](crate::Context::plan_backward).
    pub async fn run_backward<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<&[T]>,
    ) -> Result<Gradients<Vec<T>, Vec<f32>>, Error> {
        let problem = norm.lower()?.backward(wanted)?;
        inputs.check_presence_backward(&problem)?;
        let results = planned(&problem);
        let plan = self.context().plan_of(inputs.stored(problem, &results)?)?;
        let problem = &plan.problem;
        inputs.check_lengths(problem)?;
        if plan.passes().is_empty() {
            return Ok(Fetched::start(problem, &inputs, &results).gradients());
        }
        Ok(self.dispatch(&plan, &inputs, &results).await?.gradients())
    }

    /// [`Gpu::run_backward`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_backward`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_backward_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<&[T]>,
    ) -> Result<Gradients<Vec<T>, Vec<f32>>, Error> {
        pollster::block_on(self.run_backward(norm, wanted, inputs))
    }
}

/// The gradients that the plan computes.
pub(super) fn planned(problem: &Problem) -> Vec<Role> {
    let Some(wanted) = problem.gradients() else { return Vec::new() };
    let modulation = takes(problem, Role::GradScale);
    let planned = [
        (Role::GradInput, wanted.input),
        (Role::GradWeight, wanted.weight),
        (Role::GradBias, wanted.bias),
        (Role::GradScale, modulation),
        (Role::GradShift, modulation),
        (Role::GradSkip, problem.passes_skip()),
        (Role::GradGate, wanted.gate),
        (Role::GradEmbedding, wanted.embedding),
        (Role::GradBranch, wanted.gate),
    ];
    planned.into_iter().filter_map(|(role, planned)| planned.then_some(role)).collect()
}

impl<T: Tensor> Inputs<T> {
    /// Refuses what the plan does not take, before anything is uploaded.
    pub(super) fn check_presence_backward(&self, problem: &Problem) -> Result<(), BindError> {
        let norm = problem.norm;
        let results = planned(problem);
        let accumulates = problem.gradients().is_some_and(|wanted| wanted.accumulate);
        let parameters = [Role::GradWeight, Role::GradBias].into_iter();
        for role in parameters.chain([Role::GradScale, Role::GradShift, Role::GradGate, Role::GradEmbedding]) {
            let tensor = role.name();
            match (self.get(role).is_some(), accumulates && results.contains(&role)) {
                (false, true) => {
                    return Err(BindError::Missing { norm, tensor, why: "the plan adds to it" });
                }
                (true, false) => {
                    let why = "the plan adds to none; Backward::accumulate() does";
                    return Err(BindError::Unexpected { norm, tensor, why });
                }
                _ => {}
            }
        }
        super::presence(problem, |role| match role {
            Role::Batches => self.batches.is_some(),
            role => self.get(role).is_some() || self.asks(role) || results.contains(&role),
        })
    }
}
