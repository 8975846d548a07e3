//! Running statistics that follow those of instances.

use super::Layer;
use super::options::{Following, LayerOptions};
use super::tensors::Running;
use crate::backward::Backward;
use crate::element::Element;
use crate::error::Error;
use crate::gpu::bind::{Bound, Operands};
use crate::gpu::plan::Plan;
use crate::norm::{BatchNorm, LayerNorm, Norm};
use crate::problem::count;
use crate::tensors::Role;

impl<K: LayerOptions> Layer<K> {
    /// A forward pass by each instance's statistics, `plan` being of its moments, and what the running statistics make of
    /// them: as PyTorch does, a batch norm whose channels are the instances, and then the average over the samples.
    pub(super) async fn bound_following(
        &self,
        shape: &[usize],
        plan: &Plan,
        operands: Operands<'_>,
        running: &Running,
        following: Following,
    ) -> Result<Bound, Error> {
        let context = self.gpu.context();
        let norm = self.norm(shape, true)?;
        let instances = norm.statistics_shape();
        let all = count(&instances) as usize;
        let floats = async |tensor: &'static str, length: u64| {
            let size = (length * Element::F32.size()).max(Element::F32.size());
            self.gpu.buffer(tensor, size, wgpu::BufferUsages::STORAGE, None).await
        };
        let moments = floats("moments", count(&plan.problem.moments_shape)).await?;
        let normalize = context.bind_async(plan, &operands.moments(&moments)).await?;
        if plan.passes().is_empty() || norm.shape().contains(&0) {
            return Ok(normalize);
        }
        let mut steps = Vec::new();
        if let Some(x) = operands.get(Role::X) {
            let plan = context.plan_moments(&norm)?;
            steps.push(context.bind_async(&plan, &Operands::of(x).moments(&moments)).await?);
        }
        steps.push(normalize);

        // The mean and variance of each instance: the moments, as running statistics that keep nothing of what was there.
        let (means, vars) = (floats("instance_means", all as u64).await?, floats("instance_vars", all as u64).await?);
        let nothing = floats("x", 0).await?;
        let none = [0, all];
        // 0 times an infinity that was there is NaN, so first they become 0: the gradients of no rows.
        let zero = context.plan_backward(&LayerNorm::new(&none, &[all])?, Backward::new().without_input())?;
        let operands = Operands::backward(&nothing, &nothing).grad_weight(&means).grad_bias(&vars);
        steps.push(context.bind_async(&zero, &operands).await?);
        let take = BatchNorm::new(&none, 1)?.momentum(1.0).running_variance(following.estimator);
        let take = context.plan_from_moments(&take, 1)?;
        let y = floats("y", 0).await?;
        let operands = Operands::new(&nothing, &y).moments(&moments).running_mean(&means).running_var(&vars);
        steps.push(context.bind_async(&take, &operands).await?);

        // Their averages over the samples are means of a batch, whose variances nobody wants.
        let average = context.plan(&BatchNorm::new(&instances, 1)?.momentum(following.momentum))?;
        let unused = floats("running_var", count(&instances[1..])).await?;
        for (values, running) in [(&means, &running.mean), (&vars, &running.var)] {
            let operands = Operands::in_place(values).running_mean(running).running_var(&unused);
            steps.push(context.bind_async(&average, &operands).await?);
        }
        Ok(steps.into_iter().collect())
    }
}
