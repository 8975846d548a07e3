//! Forward and backward passes on buffers: plans by shape, bind groups by buffers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Layer;
use super::options::{Following, LayerOptions};
#[cfg(not(target_arch = "wasm32"))]
use super::passes::Saved;
use super::passes::{Backwards, BoundBackward, BoundForward, Forward, GradOutput, Place};
use super::recent::Recent;
use crate::backward::Backward;
use crate::error::{BindError, Error, LayerError};
use crate::gpu::bind::{Bound, Operands, View};
use crate::gpu::plan::Plan;
use crate::tensors::{Role, bytes};

/// Shapes come and go with the length of a text, say; plans are small.
const PLANS: usize = 256;
/// Bind groups keep buffers alive, so few are kept: enough for a layer that is used several times in a step.
const BOUND: usize = 32;

/// What a layer remembers of its calls.
#[derive(Debug)]
pub(super) struct Calls {
    /// The same `Arc` in all that this layer hands out, and in nothing of another's.
    layer: Arc<()>,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    plans: Recent<Planned>,
    forwards: Recent<Arc<Forward>>,
    backwards: Recent<Arc<Backwards>>,
}

#[derive(Debug, Clone)]
struct Planned {
    shape: Vec<usize>,
    purpose: Purpose,
    plan: Arc<Plan>,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Purpose {
    /// Whether it uses the statistics of the input, rather than running ones.
    own_statistics: bool,
    direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Direction {
    Forward,
    Backward { input: bool, parameters: bool, saved: bool },
}

impl Default for Calls {
    fn default() -> Self {
        let (plans, forwards, backwards) = (Recent::new(PLANS), Recent::new(BOUND), Recent::new(BOUND));
        Self { layer: Arc::default(), kept: Mutex::new(Kept { plans, forwards, backwards }) }
    }
}

impl Calls {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: LayerOptions> Layer<K> {
    /// Records the forward pass: reads `x` of this shape and writes `y`.
    ///
    /// The result is for [`Layer::backward`]; in inference, drop it. `y` may be `x` if no backward pass follows.
    ///
    /// The first call with a shape plans, and the first call with a pair of buffers binds. Later calls look both up. The layer
    /// keeps the plans of the last 256 shapes and the bind groups of the last 32 forward and backward passes.
    /// [`Layer::release`] frees them.
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] or [`Error::Layer`] if the layer does not accept this shape. [`Error::Bind`] if a buffer is too small or
    /// lacks a usage, as in [`Context::bind`](crate::Context::bind). On an error nothing is recorded.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn forward<'a>(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        shape: &[usize],
        x: impl Into<View<'a>>,
        y: impl Into<View<'a>>,
    ) -> Result<Saved, Error> {
        Ok(self.bind_forward_blocking(shape, x, y)?.record(pass))
    }

    /// Binds a forward pass, to be recorded later and any number of times. It keeps the current mode of the layer. It reads the
    /// parameters when it runs.
    ///
    /// # Errors
    ///
    /// As [`Layer::forward`].
    pub async fn bind_forward(
        &self,
        shape: &[usize],
        x: impl Into<View<'_>>,
        y: impl Into<View<'_>>,
    ) -> Result<BoundForward, Error> {
        let (x, y) = (x.into(), y.into());
        let known = self.calls.kept().forwards.get(|forward| {
            forward.training == self.training && forward.shape == shape && forward.x.is(x) && forward.y.is(y)
        });
        match known {
            Some(forward) => Ok(BoundForward(forward)),
            None => self.new_forward(shape, x, y).await,
        }
    }

    /// [`Layer::bind_forward`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::forward`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn bind_forward_blocking<'a>(
        &self,
        shape: &[usize],
        x: impl Into<View<'a>>,
        y: impl Into<View<'a>>,
    ) -> Result<BoundForward, Error> {
        pollster::block_on(self.bind_forward(shape, x.into(), y.into()))
    }

    /// Records the backward pass of the forward pass that returned `saved`.
    ///
    /// It reads `x` and the gradient of `y`. It writes the gradient of `x`, if [`GradOutput::grad_input`] is given, and adds to
    /// the gradients of weight and bias. [`Layer::zero_grad`] sets those to 0, and [`Layer::freeze`] leaves them out.
    ///
    /// The pass uses the mode that the layer was in during the forward pass. The content of `x` must not have changed, and the
    /// forward pass must be submitted before this one.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wgpu_norm::nn::{LayerNormLayer, LayerNormOptions};
    /// # use wgpu_norm::{Gpu, wgpu};
    /// use wgpu_norm::nn::GradOutput;
    ///
    /// # let gpu = Gpu::new_blocking()?;
    /// # let norm = LayerNormLayer::new_blocking(&gpu, LayerNormOptions::new(&[64]))?;
    /// # let buffer = || gpu.device().create_buffer(&wgpu::BufferDescriptor {
    /// #     label: None, size: 32 * 64 * 4, usage: wgpu::BufferUsages::STORAGE, mapped_at_creation: false });
    /// # let (x, y, dy, dx) = (buffer(), buffer(), buffer(), buffer());
    /// # let mut encoder = gpu.device().create_command_encoder(&Default::default());
    /// # let mut pass = encoder.begin_compute_pass(&Default::default());
    /// let saved = norm.forward(&mut pass, &[32, 64], &x, &y)?;
    /// norm.backward(&mut pass, &saved, GradOutput::new(&dy).grad_input(&dx))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Layer`] if the forward pass is another layer's, if it wrote `y` over `x`, or if its commands were dropped before
    /// they were submitted, so that the statistics are missing. [`Error::Spec`] if there is no gradient to compute.
    /// [`Error::Bind`] as in [`Layer::forward`]. On an error nothing is recorded.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn backward(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        saved: &Saved,
        gradients: GradOutput<'_>,
    ) -> Result<(), Error> {
        Ok(pollster::block_on(self.backwards(&saved.forward, gradients))?.record(pass, saved)?)
    }

    /// Binds a backward pass after `forward`, to be recorded later and any number of times.
    ///
    /// # Errors
    ///
    /// As [`Layer::backward`].
    pub async fn bind_backward(
        &self,
        forward: &BoundForward,
        gradients: GradOutput<'_>,
    ) -> Result<BoundBackward, Error> {
        self.backwards(&forward.0, gradients).await
    }

    /// [`Layer::bind_backward`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::backward`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn bind_backward_blocking(
        &self,
        forward: &BoundForward,
        gradients: GradOutput<'_>,
    ) -> Result<BoundBackward, Error> {
        pollster::block_on(self.bind_backward(forward, gradients))
    }

    /// Number of plans that the layer keeps: one for each shape and kind of pass.
    #[must_use]
    pub fn plans_kept(&self) -> usize {
        self.calls.kept().plans.len()
    }

    /// Number of passes that the layer keeps bound to their buffers.
    #[must_use]
    pub fn calls_kept(&self) -> usize {
        let kept = self.calls.kept();
        kept.forwards.len() + kept.backwards.len()
    }

    /// Frees all plans and bind groups, and with them the buffers of past calls.
    pub fn release(&self) {
        let mut kept = self.calls.kept();
        kept.plans.clear();
        kept.forwards.clear();
        kept.backwards.clear();
    }

    /// Whether a pass in this mode uses the statistics of its input.
    fn goes_by_input(&self, training: bool) -> bool {
        training || !self.options.tracks()
    }

    /// The plan of a forward pass, as the layer's mode is.
    pub(super) fn forward_plan(&self, shape: &[usize]) -> Result<Arc<Plan>, Error> {
        self.plan(shape, Purpose { own_statistics: self.goes_by_input(self.training), direction: Direction::Forward })
    }

    /// The plan of a backward pass that computes its statistics, as the layer's mode is.
    pub(super) fn backward_plan(&self, shape: &[usize]) -> Result<Arc<Plan>, Error> {
        let direction = Direction::Backward { input: true, parameters: !self.frozen, saved: false };
        self.plan(shape, Purpose { own_statistics: self.goes_by_input(self.training), direction })
    }

    fn plan(&self, shape: &[usize], purpose: Purpose) -> Result<Arc<Plan>, Error> {
        let known = self.calls.kept().plans.get(|known| known.purpose == purpose && known.shape == shape);
        if let Some(Planned { plan, .. }) = known {
            return Ok(plan);
        }
        let norm = self.norm(shape, purpose.own_statistics)?;
        let context = self.gpu.context();
        let plan = Arc::new(match purpose.direction {
            Direction::Forward if self.follows(purpose.own_statistics).is_some() => {
                context.plan_from_moments(&norm, 1)?
            }
            Direction::Forward => context.plan(&norm)?,
            Direction::Backward { input, parameters, saved } => {
                let mut wanted = Backward::new().accumulate();
                wanted = if input { wanted } else { wanted.without_input() };
                wanted = if saved { wanted.saved_statistics() } else { wanted };
                wanted = if parameters && self.tensors.weight.is_some() { wanted } else { wanted.without_weight() };
                wanted = if parameters && self.tensors.bias.is_some() { wanted } else { wanted.without_bias() };
                context.plan_backward(&norm, wanted)?
            }
        });
        self.calls.kept().plans.put(Planned { shape: shape.to_vec(), purpose, plan: plan.clone() });
        Ok(plan)
    }

    async fn new_forward(&self, shape: &[usize], x: View<'_>, y: View<'_>) -> Result<BoundForward, Error> {
        let own_statistics = self.goes_by_input(self.training);
        let plan = self.forward_plan(shape)?;
        let operands = Operands::new(x, y);
        let (x, y) = (Place::from(x), Place::from(y));
        let bind = async |operands: &Operands<'_>| self.bound_forward(shape, &plan, *operands).await;
        let mut statistics = None;
        // Nothing goes back from an x that was overwritten.
        if self.training && own_statistics && x != y && !plan.passes().is_empty() {
            let size = bytes(&plan.problem, Role::Stats);
            statistics = Some(self.gpu.buffer("statistics", size, wgpu::BufferUsages::STORAGE, None).await?);
        }
        let bound = match &statistics {
            Some(saved) => match bind(&operands.statistics(saved)).await {
                // A device with few bindings does without, and a backward pass computes them itself.
                Err(Error::Bind(BindError::StorageBuffers { .. })) => {
                    statistics = None;
                    bind(&operands).await?
                }
                bound => bound?,
            },
            None => bind(&operands).await?,
        };
        let (layer, name, training) = (self.calls.layer.clone(), self.options.name(), self.training);
        let forward = Arc::new(Forward { layer, name, shape: shape.to_vec(), training, x, y, statistics, bound });
        self.calls.kept().forwards.put(forward.clone());
        Ok(BoundForward(forward))
    }

    async fn backwards(&self, forward: &Arc<Forward>, gradients: GradOutput<'_>) -> Result<BoundBackward, Error> {
        let (layer, parameters) = (self.options.name(), !self.frozen);
        let GradOutput { grad_output, grad_input } = gradients;
        if !Arc::ptr_eq(&forward.layer, &self.calls.layer) {
            return Err(LayerError::Foreign { layer }.into());
        }
        if forward.x == forward.y {
            return Err(LayerError::Overwritten { layer }.into());
        }
        let known = self.calls.kept().backwards.get(|known| {
            Arc::ptr_eq(&known.forward, forward)
                && known.parameters == parameters
                && known.grad_output.is(grad_output)
                && match (&known.grad_input, grad_input) {
                    (Some(place), Some(view)) => place.is(view),
                    (known, asked) => known.is_none() && asked.is_none(),
                }
        });
        if let Some(known) = known {
            return Ok(BoundBackward(known));
        }
        let own_statistics = self.goes_by_input(forward.training);
        let direction =
            Direction::Backward { input: grad_input.is_some(), parameters, saved: forward.statistics.is_some() };
        let plan = self.plan(&forward.shape, Purpose { own_statistics, direction })?;
        let mut operands = Operands::backward(grad_output, forward.x.view());
        if let Some(grad_input) = grad_input {
            operands = operands.grad_input(grad_input);
        }
        if let Some(statistics) = &forward.statistics {
            operands = operands.statistics(statistics);
        }
        let operands = self.backward_operands(operands, own_statistics);
        let bound = self.gpu.context().bind_async(&plan, &operands).await?;
        let (forward, grad_input) = (forward.clone(), grad_input.map(Place::from));
        let backwards = Arc::new(Backwards { forward, parameters, grad_output: grad_output.into(), grad_input, bound });
        self.calls.kept().backwards.put(backwards.clone());
        Ok(BoundBackward(backwards))
    }

    /// How running statistics follow those of instances in a pass that uses the statistics of its input.
    pub(super) fn follows(&self, own_statistics: bool) -> Option<Following> {
        self.options.following().filter(|_| own_statistics)
    }

    /// A forward pass as the layer's mode is, with what the layer brings to it.
    pub(super) async fn bound_forward(
        &self,
        shape: &[usize],
        plan: &Plan,
        mut operands: Operands<'_>,
    ) -> Result<Bound, Error> {
        let own_statistics = self.goes_by_input(self.training);
        if let Some(weight) = self.weight() {
            operands = operands.weight(weight);
        }
        if let Some(bias) = self.bias() {
            operands = operands.bias(bias);
        }
        let Some(running) = &self.tensors.running else {
            return Ok(self.gpu.context().bind_async(plan, &operands).await?);
        };
        if let Some(following) = self.follows(own_statistics) {
            return self.bound_following(shape, plan, operands, running, following).await;
        }
        operands = operands.running_mean(&running.mean).running_var(&running.var);
        if own_statistics {
            operands = operands.num_batches_tracked(&running.batches);
        }
        Ok(self.gpu.context().bind_async(plan, &operands).await?)
    }

    /// With what the layer brings to a backward pass.
    pub(super) fn backward_operands<'a>(&'a self, mut operands: Operands<'a>, own_statistics: bool) -> Operands<'a> {
        if let Some(weight) = self.weight() {
            operands = operands.weight(weight);
        }
        if let Some(bias) = self.bias().filter(|_| self.activation().is_some()) {
            operands = operands.bias(bias);
        }
        if let (Some(weight), false) = (&self.tensors.weight, self.frozen) {
            operands = operands.grad_weight(&weight.gradient);
        }
        if let (Some(bias), false) = (&self.tensors.bias, self.frozen) {
            operands = operands.grad_bias(&bias.gradient);
        }
        if let (Some(running), false) = (&self.tensors.running, own_statistics) {
            operands = operands.running_mean(&running.mean).running_var(&running.var);
        }
        operands
    }

    /// Whether the layer's mode uses the statistics of the input.
    pub(super) fn own_statistics(&self) -> bool {
        self.goes_by_input(self.training)
    }
}
