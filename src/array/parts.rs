//! One part of a batch on slices, by an [`Engine`]: up to where the caller merges what all parts leave, and on from there.

use super::backward::planned;
use super::transfer::Fetched;
use super::{Gradients, Inputs, Number, Problem, Role, Values};
use crate::backward::Backward;
use crate::engine::Engine;
use crate::error::Error;
use crate::moments::Moments;
use crate::norm::Norm;
use crate::problem::count;

/// The sums of groups, and gradients.
type SumsAnd<T> = (Vec<f32>, Gradients<Vec<T>, Vec<f32>>);

impl Engine {
    /// Computes the [`Moments`] of each group of `x`, one part of a batch. Those of an empty `x` are 0. Other tensors of `inputs` are
    /// not used.
    ///
    /// [`Merged::new`](crate::Merged::new) takes the moments of all parts, one part after the other.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::{BatchNorm, Cpu, Engine, Inputs, Merged};
    ///
    /// let engine = Engine::from(Cpu::new());
    /// // One channel, whose batch of three samples is in two parts.
    /// let norms = [BatchNorm::channels_last(&[2, 1])?, BatchNorm::channels_last(&[1, 1])?];
    /// let parts = [&[1.0, 2.0][..], &[6.0]];
    /// let mut moments = engine.run_moments_blocking(&norms[0], Inputs::new(parts[0]))?;
    /// moments.extend(engine.run_moments_blocking(&norms[1], Inputs::new(parts[1]))?);
    /// let merged = Merged::new(&norms[0], &moments)?;
    /// let inputs = Inputs::new(parts[1]).statistics(merged.statistics());
    /// let y = engine.run_from_statistics_blocking(&norms[1], inputs)?;
    /// // The mean is 3, the variance 14/3.
    /// assert!((y[0] - 3.0 / (14.0f32 / 3.0).sqrt()).abs() < 1e-5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Gpu::run`](crate::Gpu::run), and for a norm in eval mode.
    pub async fn run_moments<T: Number>(&self, norm: &dyn Norm, inputs: Inputs<&[T]>) -> Result<Vec<Moments>, Error> {
        let x = inputs.get(Role::X).map_or_else(Inputs::<&[T]>::default, |&x| Inputs::default().with(Role::X, x));
        let mut found = self.part(norm.lower()?.moments()?, x, &[Role::Moments]).await?;
        Ok(bytemuck::pod_collect_to_vec(&found.take(Role::Moments).unwrap_or_default()))
    }

    /// Runs `norm` on one part of a batch, by the [`statistics`](Inputs::statistics) of the whole: returns `y`.
    /// [`Merged::track`](crate::Merged::track) updates running statistics.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run`](crate::Gpu::run), and for a norm in eval mode.
    pub async fn run_from_statistics<T: Number>(&self, norm: &dyn Norm, inputs: Inputs<&[T]>) -> Result<Vec<T>, Error> {
        let problem = norm.lower()?.by_statistics()?;
        inputs.check_presence(&problem)?;
        Ok(self.part(problem, inputs, &[Role::Y]).await?.take_large(Role::Y).unwrap_or_default())
    }

    /// The first half of the backward pass of one part of a batch: the sums of `g` and of `g * xhat` over each group, and the
    /// gradients of weight and bias of this part. `inputs` have the [`statistics`](Inputs::statistics) of the whole batch.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_backward`](crate::Gpu::run_backward), and for a norm in eval mode.
    pub async fn run_backward_sums<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<&[T]>,
    ) -> Result<SumsAnd<T>, Error> {
        let problem = norm.lower()?.backward_sums(wanted)?;
        inputs.ask(Role::Sums).check_presence_backward(&problem)?;
        let mut results = planned(&problem);
        results.push(Role::Sums);
        let mut found = self.part(problem, inputs, &results).await?;
        Ok((found.take(Role::Sums).unwrap_or_default(), found.gradients()))
    }

    /// The second half of the backward pass of one part of a batch: returns the gradient of `x`. `sums` are those of all parts, one
    /// part after the other or added up, and `inputs` have the [`statistics`](Inputs::statistics) of the whole batch.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_backward`](crate::Gpu::run_backward), and for a norm in eval mode.
    /// [`BindError::Length`](crate::BindError::Length) if the last part of the sums is not whole.
    pub async fn run_backward_from_sums<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<&[T]>,
        sums: &[f32],
    ) -> Result<Vec<T>, Error> {
        let problem = norm.lower()?;
        let of_a_part = 2 * count(&problem.statistics_shape) as usize;
        let problem = problem.by_sums(sums.len().div_ceil(of_a_part.max(1)).max(1))?;
        let inputs: Inputs<&[T]> = inputs;
        let inputs = inputs.with(Role::Sums, Values::new(sums));
        inputs.check_presence_backward(&problem)?;
        Ok(self.part(problem, inputs, &[Role::GradInput]).await?.take_large(Role::GradInput).unwrap_or_default())
    }

    /// Runs what was checked but for types and lengths.
    async fn part<T: Number>(
        &self,
        problem: Problem,
        inputs: Inputs<&[T]>,
        results: &[Role],
    ) -> Result<Fetched<T>, Error> {
        let problem = inputs.stored(problem, results)?;
        inputs.check_lengths(&problem)?;
        if problem.block.elements() == 0 {
            return Ok(Fetched::start(&problem, &inputs, results));
        }
        match (self.gpu(), self.cpu()) {
            (Some(gpu), _) => gpu.dispatch(&gpu.context().plan_of(problem)?, &inputs, results).await,
            (None, cpu) => Ok(cpu.cloned().unwrap_or_default().plan_of(problem)?.dispatch(&inputs, results)?),
        }
    }

    /// [`Engine::run_moments`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Engine::run_moments`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_moments_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<&[T]>,
    ) -> Result<Vec<Moments>, Error> {
        pollster::block_on(self.run_moments(norm, inputs))
    }

    /// [`Engine::run_from_statistics`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Engine::run_from_statistics`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_from_statistics_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<&[T]>,
    ) -> Result<Vec<T>, Error> {
        pollster::block_on(self.run_from_statistics(norm, inputs))
    }

    /// [`Engine::run_backward_sums`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Engine::run_backward_sums`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_backward_sums_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<&[T]>,
    ) -> Result<SumsAnd<T>, Error> {
        pollster::block_on(self.run_backward_sums(norm, wanted, inputs))
    }

    /// [`Engine::run_backward_from_sums`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Engine::run_backward_from_sums`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_backward_from_sums_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<&[T]>,
        sums: &[f32],
    ) -> Result<Vec<T>, Error> {
        pollster::block_on(self.run_backward_from_sums(norm, inputs, sums))
    }
}
