//! The specification: batch norm of one rank's part, on slices.

use wgpu_norm::{Backward, BatchNorm, Engine, Gradients, Inputs, Merged, Number};

use crate::error::{Call, Error};
use crate::ranks::Ranks;

/// Batch norm by the mean and variance of the batches of all ranks.
///
/// Each rank makes one of the shape of its own part, which may be empty, and with the same channels and options. All ranks call
/// [`SyncBatchNorm::run`] and [`SyncBatchNorm::run_backward`] in the same order.
///
/// Slices are of f32, [`half::f16`](wgpu_norm::half::f16) or [`half::bf16`](wgpu_norm::half::bf16), as [`Inputs`] says. What the ranks tell
/// each other is f32 in any case.
#[derive(Debug, Clone)]
pub struct SyncBatchNorm {
    norm: BatchNorm,
    ranks: Ranks,
    summed: bool,
}

impl SyncBatchNorm {
    /// `norm` of this rank's part, by the statistics of all `ranks`.
    #[must_use]
    pub fn new(norm: BatchNorm, ranks: &Ranks) -> Self {
        Self { norm, ranks: ranks.clone(), summed: false }
    }

    /// Gradients of weight and bias are the sums over all ranks, added up in float64 in the order of the ranks: the same bits on all.
    /// By default they are those of this rank's part, as in PyTorch.
    #[must_use]
    pub fn summed_gradients(mut self) -> Self {
        self.summed = true;
        self
    }

    /// Normalizes this rank's `x`, with `weight` and `bias` if `inputs` have them. Returns `y` and what the ranks found together.
    ///
    /// [`Merged::statistics`] is for [`SyncBatchNorm::run_backward`]. [`Merged::track`] updates running statistics: to the same bits
    /// on all ranks, and to none where the batch is empty on all.
    ///
    /// # Errors
    ///
    /// [`Error::Norm`] as [`Engine::run_moments`] and [`Engine::run_from_statistics`], and for a norm in eval mode, for which there is
    /// nothing to do together. [`Error::Ranks`] if ranks do not come, or come with other channels.
    pub fn run<T: Number>(&self, engine: &Engine, inputs: Inputs<&[T]>) -> Result<(Vec<T>, Merged), Error> {
        let moments = engine.run_moments_blocking(&self.norm, inputs)?;
        let merged = Merged::new(&self.norm, &self.ranks.gather_for(Call::Forward, &moments)?)?;
        let y = engine.run_from_statistics_blocking(&self.norm, inputs.statistics(merged.statistics()))?;
        Ok((y, merged))
    }

    /// Computes the gradients that `wanted` selects. `inputs` are `x`, `weight`, `grad_output`, and the
    /// [`statistics`](Merged::statistics) of the forward pass.
    ///
    /// # Errors
    ///
    /// [`Error::Norm`] as [`Engine::run_backward_sums`] and [`Engine::run_backward_from_sums`]. [`Error::Ranks`] if ranks do not come, or
    /// come with other channels or wishes. [`Error::Accumulate`] if gradients that are summed were to be added to others.
    pub fn run_backward<T: Number>(
        &self,
        engine: &Engine,
        wanted: Backward,
        inputs: Inputs<&[T]>,
    ) -> Result<Gradients<Vec<T>, Vec<f32>>, Error> {
        if self.summed && wanted == wanted.accumulate() {
            return Err(Error::Accumulate);
        }
        let (mut message, mut gradients) = engine.run_backward_sums_blocking(&self.norm, wanted, inputs)?;
        let sums = message.len();
        let parameters = [&mut gradients.weight, &mut gradients.bias];
        let mut parameters: Vec<_> = parameters.into_iter().flatten().filter(|_| self.summed).collect();
        parameters.iter().for_each(|gradient| message.extend_from_slice(gradient));
        let summed: Vec<f32> =
            self.ranks.sum_for(Call::Backward, &message)?.into_iter().map(|sum| sum as f32).collect();
        let (sums, mut rest) = summed.split_at(sums);
        for gradient in &mut parameters {
            let (own, others) = rest.split_at(gradient.len());
            gradient.copy_from_slice(own);
            rest = others;
        }
        // All ranks came for the sums, whoever goes on.
        if wanted != wanted.without_input() {
            gradients.input = Some(engine.run_backward_from_sums_blocking(&self.norm, inputs, sums)?);
        }
        Ok(gradients)
    }
}
