//! Forward and backward passes on buffers: plans by shape, bind groups by buffers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Layer;
use super::options::LayerOptions;
use super::recent::Recent;
use crate::backward::Backward;
use crate::bind::{Bound, Operands, View};
use crate::element::Element;
use crate::error::{BindError, Error};
use crate::norm::count;
use crate::plan::Plan;

/// Shapes come and go with the length of a text, say; plans are small.
const PLANS: usize = 256;
/// Bind groups keep buffers alive, so few are kept: enough for a layer that is used several times in a step.
const BOUND: usize = 32;

/// What a layer remembers of its calls.
#[derive(Debug)]
pub(super) struct Calls(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    plans: Recent<(Vec<usize>, Work), Arc<Plan>>,
    bound: Recent<CallKey, Call>,
    /// The last forward pass of each input.
    inputs: Recent<(Vec<usize>, Place), Past>,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Work {
    /// Whether by the statistics of the input, and not by running ones.
    own_statistics: bool,
    task: Task,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Task {
    Forward,
    Backward { input: bool, saved: bool },
}

/// A view, to remember.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    buffer: wgpu::Buffer,
    offset: u64,
}

impl Place {
    fn is(&self, view: View<'_>) -> bool {
        self.offset == view.offset && self.buffer == *view.buffer
    }
}

impl From<View<'_>> for Place {
    fn from(view: View<'_>) -> Self {
        Self { buffer: view.buffer.clone(), offset: view.offset }
    }
}

/// What makes one recorded call differ from another.
#[derive(Debug)]
struct CallKey {
    shape: Vec<usize>,
    work: Work,
    /// A forward pass that saves nothing differs from one that does.
    saves: bool,
    /// What the caller gave, in the order of the call.
    places: Vec<Place>,
    /// The statistics that a backward pass reads.
    statistics: Option<wgpu::Buffer>,
}

#[derive(Debug, Clone)]
struct Call {
    bound: Arc<Bound>,
    /// What a forward pass saves.
    statistics: Option<wgpu::Buffer>,
}

/// What is known of an input's forward pass.
#[derive(Debug, Clone)]
struct Past {
    training: bool,
    statistics: Option<wgpu::Buffer>,
}

impl Default for Calls {
    fn default() -> Self {
        let (plans, bound, inputs) = (Recent::new(PLANS), Recent::new(BOUND), Recent::new(BOUND));
        Self(Mutex::new(Kept { plans, bound, inputs }))
    }
}

impl Calls {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn call(
        &mut self,
        shape: &[usize],
        work: Work,
        saves: bool,
        views: &[View<'_>],
        statistics: Option<&wgpu::Buffer>,
    ) -> Option<Call> {
        let call = self.bound.get(|key| {
            key.work == work
                && key.saves == saves
                && key.shape == shape
                && key.statistics.as_ref() == statistics
                && key.places.len() == views.len()
                && key.places.iter().zip(views).all(|(place, &view)| place.is(view))
        });
        call.cloned()
    }

    fn past(&mut self, shape: &[usize], x: View<'_>) -> Option<&mut Past> {
        self.inputs.get(|(known, place)| known == shape && place.is(x))
    }

    /// That `x` went forward; not at all, as far as a backward pass is concerned, if there is nothing left of it.
    fn remember(&mut self, shape: &[usize], x: View<'_>, past: Option<Past>) {
        match (self.past(shape, x), past) {
            (Some(known), Some(past)) => *known = past,
            (None, Some(past)) => self.inputs.put((shape.to_vec(), x.into()), past),
            (_, None) => drop(self.inputs.take(|(known, place)| known == shape && place.is(x))),
        }
    }
}

/// A call that was bound.
struct Asked<'a> {
    shape: &'a [usize],
    work: Work,
    saves: bool,
    views: &'a [View<'a>],
    statistics: Option<wgpu::Buffer>,
}

/// A backward pass to bind.
struct Backwards<'a> {
    shape: &'a [usize],
    work: Work,
    grad_output: View<'a>,
    x: View<'a>,
    grad_input: Option<View<'a>>,
    statistics: Option<wgpu::Buffer>,
}

/// Whether two views are exactly the same place.
fn same(one: View<'_>, other: View<'_>) -> bool {
    one.offset == other.offset && one.buffer == other.buffer
}

impl<K: LayerOptions> Layer<K> {
    /// Records the forward pass: reads `x` of this shape and writes `y`. `y` may be `x` where no backward pass follows.
    ///
    /// The first call with a shape plans and the first with two buffers binds, which may fail; later ones look both up.
    /// Plans of the last 256 shapes and bind groups of the last 32 calls are kept ([`Layer::release`] lets go of them).
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] or [`Error::Layer`] for a shape that this layer does not take, [`Error::Bind`] for buffers that are too
    /// small or lack a usage, as from [`Context::bind`](crate::Context::bind). Nothing is recorded then.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn forward<'a>(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        shape: &[usize],
        x: impl Into<View<'a>>,
        y: impl Into<View<'a>>,
    ) -> Result<(), Error> {
        let (x, y) = (x.into(), y.into());
        let bound = match self.known_forward(shape, x, y) {
            Some(bound) => bound,
            None => pollster::block_on(self.new_forward(shape, x, y))?,
        };
        bound.record(pass);
        Ok(())
    }

    /// What [`Layer::forward`] records, to be recorded later and any number of times. It stays in the mode that the layer is
    /// in now, and goes by the parameters as they are when it runs.
    ///
    /// # Errors
    ///
    /// As [`Layer::forward`].
    pub async fn bind_forward(
        &self,
        shape: &[usize],
        x: impl Into<View<'_>>,
        y: impl Into<View<'_>>,
    ) -> Result<Bound, Error> {
        let (x, y) = (x.into(), y.into());
        let bound = match self.known_forward(shape, x, y) {
            Some(bound) => bound,
            None => self.new_forward(shape, x, y).await?,
        };
        Ok(Arc::unwrap_or_clone(bound))
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
    ) -> Result<Bound, Error> {
        pollster::block_on(self.bind_forward(shape, x.into(), y.into()))
    }

    /// Records the backward pass of [`Layer::forward`]: reads `grad_output`, the gradient of `y`, and the `x` of that call,
    /// writes `grad_input`, and adds to the gradients of weight and bias ([`Layer::zero_grad`] starts them anew).
    /// `grad_input` may be `grad_output`.
    ///
    /// It follows the last forward pass of that `x`, in the mode that this was in, by the statistics that it saved. Of an `x`
    /// that no recent forward pass was of, it computes them anew, in the mode that the layer is in.
    ///
    /// # Errors
    ///
    /// As [`Layer::forward`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn backward<'a>(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        shape: &[usize],
        grad_output: impl Into<View<'a>>,
        x: impl Into<View<'a>>,
        grad_input: impl Into<View<'a>>,
    ) -> Result<(), Error> {
        self.record_backward(pass, shape, [grad_output.into(), x.into()], Some(grad_input.into()))
    }

    /// [`Layer::backward`] without the gradient of `x`: for the first layer of a network.
    ///
    /// # Errors
    ///
    /// As [`Layer::forward`]; and where the layer has no parameters there is nothing to compute.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn backward_parameters<'a>(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        shape: &[usize],
        grad_output: impl Into<View<'a>>,
        x: impl Into<View<'a>>,
    ) -> Result<(), Error> {
        self.record_backward(pass, shape, [grad_output.into(), x.into()], None)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn record_backward(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        shape: &[usize],
        read: [View<'_>; 2],
        grad_input: Option<View<'_>>,
    ) -> Result<(), Error> {
        let bound = match self.known_backward(shape, read, grad_input) {
            Ok(bound) => bound,
            Err(asked) => pollster::block_on(self.new_backward(asked))?,
        };
        bound.record(pass);
        Ok(())
    }

    /// What [`Layer::backward`] records (without `grad_input`, [`Layer::backward_parameters`]), to be recorded later and any
    /// number of times. Bind the forward pass first: its mode and statistics are what this goes by.
    ///
    /// # Errors
    ///
    /// As [`Layer::forward`].
    pub async fn bind_backward(
        &self,
        shape: &[usize],
        grad_output: impl Into<View<'_>>,
        x: impl Into<View<'_>>,
        grad_input: Option<View<'_>>,
    ) -> Result<Bound, Error> {
        let bound = match self.known_backward(shape, [grad_output.into(), x.into()], grad_input) {
            Ok(bound) => bound,
            Err(asked) => self.new_backward(asked).await?,
        };
        Ok(Arc::unwrap_or_clone(bound))
    }

    /// [`Layer::bind_backward`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::forward`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn bind_backward_blocking<'a>(
        &self,
        shape: &[usize],
        grad_output: impl Into<View<'a>>,
        x: impl Into<View<'a>>,
        grad_input: Option<View<'a>>,
    ) -> Result<Bound, Error> {
        pollster::block_on(self.bind_backward(shape, grad_output.into(), x.into(), grad_input))
    }

    /// How many plans are kept: one for each shape and kind of pass.
    #[must_use]
    pub fn plans_kept(&self) -> usize {
        self.calls.kept().plans.len()
    }

    /// How many calls are kept bound to their buffers.
    #[must_use]
    pub fn calls_kept(&self) -> usize {
        self.calls.kept().bound.len()
    }

    /// Lets go of plans and bind groups, and so of the buffers of calls past.
    pub fn release(&self) {
        let mut kept = self.calls.kept();
        kept.plans.clear();
        kept.bound.clear();
        kept.inputs.clear();
    }

    /// Whether a pass in this mode goes by the statistics of its input.
    fn goes_by_input(&self, training: bool) -> bool {
        training || !self.options.tracks()
    }

    /// The plan of a forward pass, as the layer's mode is.
    pub(super) fn forward_plan(&self, shape: &[usize]) -> Result<Arc<Plan>, Error> {
        self.plan(shape, Work { own_statistics: self.goes_by_input(self.training), task: Task::Forward })
    }

    /// The plan of a backward pass that computes its statistics, as the layer's mode is.
    pub(super) fn backward_plan(&self, shape: &[usize]) -> Result<Arc<Plan>, Error> {
        let task = Task::Backward { input: true, saved: false };
        self.plan(shape, Work { own_statistics: self.goes_by_input(self.training), task })
    }

    fn plan(&self, shape: &[usize], work: Work) -> Result<Arc<Plan>, Error> {
        let known = self.calls.kept().plans.get(|(known, of)| *of == work && known == shape).cloned();
        if let Some(plan) = known {
            return Ok(plan);
        }
        let norm = self.options.norm(shape, work.own_statistics)?;
        let context = self.gpu.context();
        let plan = Arc::new(match work.task {
            Task::Forward => context.plan(norm.as_ref())?,
            Task::Backward { input, saved } => {
                let mut wanted = Backward::new().accumulate();
                wanted = if input { wanted } else { wanted.without_input() };
                wanted = if saved { wanted.saved_statistics() } else { wanted };
                wanted = if self.tensors.weight.is_some() { wanted } else { wanted.without_weight() };
                wanted = if self.tensors.bias.is_some() { wanted } else { wanted.without_bias() };
                context.plan_backward(norm.as_ref(), wanted)?
            }
        });
        self.calls.kept().plans.put((shape.to_vec(), work), plan.clone());
        Ok(plan)
    }

    /// What a forward pass in this mode does, and whether it saves statistics: whoever overwrites x can have no backward
    /// pass.
    fn forward_work(&self, x: View<'_>, y: View<'_>) -> (Work, bool) {
        let own_statistics = self.goes_by_input(self.training);
        let saves = self.training && own_statistics && !same(x, y);
        (Work { own_statistics, task: Task::Forward }, saves)
    }

    /// A forward pass that was bound before. Allocates nothing.
    fn known_forward(&self, shape: &[usize], x: View<'_>, y: View<'_>) -> Option<Arc<Bound>> {
        let (work, saves) = self.forward_work(x, y);
        let mut kept = self.calls.kept();
        let call = kept.call(shape, work, saves, &[x, y], None)?;
        let past = Past { training: self.training, statistics: call.statistics };
        kept.remember(shape, x, (!same(x, y)).then_some(past));
        Some(call.bound)
    }

    async fn new_forward(&self, shape: &[usize], x: View<'_>, y: View<'_>) -> Result<Arc<Bound>, Error> {
        let (work, saves) = self.forward_work(x, y);
        let plan = self.plan(shape, work)?;
        let operands = self.forward_operands(Operands::new(x, y), work.own_statistics);
        let mut statistics = None;
        if saves && !plan.passes().is_empty() {
            // Those of an earlier y of the same x will do.
            statistics = self.calls.kept().past(shape, x).and_then(|past| past.statistics.clone());
            if statistics.is_none() {
                let size = count(&plan.problem.record_shape) * Element::F32.size();
                statistics = Some(self.gpu.buffer("statistics", size, wgpu::BufferUsages::STORAGE, None).await?);
            }
        }
        let bind = async |operands: &Operands<'_>| self.gpu.context().bind_async(&plan, operands).await;
        let bound = match &statistics {
            Some(saved) => match bind(&operands.statistics(saved)).await {
                // A device with few bindings does without, and a backward pass computes them anew.
                Err(BindError::StorageBuffers { .. }) => {
                    statistics = None;
                    bind(&operands).await?
                }
                bound => bound?,
            },
            None => bind(&operands).await?,
        };
        let asked = Asked { shape, work, saves, views: &[x, y], statistics: None };
        let past = Past { training: self.training, statistics: statistics.clone() };
        let bound = self.keep(asked, bound, statistics);
        self.calls.kept().remember(shape, x, (!same(x, y)).then_some(past));
        Ok(bound)
    }

    /// A backward pass that was bound before, or else what to bind.
    fn known_backward<'a>(
        &self,
        shape: &'a [usize],
        [grad_output, x]: [View<'a>; 2],
        grad_input: Option<View<'a>>,
    ) -> Result<Arc<Bound>, Backwards<'a>> {
        let mut kept = self.calls.kept();
        let past = kept.past(shape, x).cloned();
        let Past { training, statistics } = past.unwrap_or(Past { training: self.training, statistics: None });
        let task = Task::Backward { input: grad_input.is_some(), saved: statistics.is_some() };
        let work = Work { own_statistics: self.goes_by_input(training), task };
        let all = [grad_output, x, grad_input.unwrap_or(x)];
        let views = if grad_input.is_some() { &all[..] } else { &all[..2] };
        match kept.call(shape, work, false, views, statistics.as_ref()) {
            Some(call) => Ok(call.bound),
            None => Err(Backwards { shape, work, grad_output, x, grad_input, statistics }),
        }
    }

    async fn new_backward(&self, asked: Backwards<'_>) -> Result<Arc<Bound>, Error> {
        let Backwards { shape, work, grad_output, x, grad_input, statistics } = asked;
        let plan = self.plan(shape, work)?;
        let mut operands = self.backward_operands(Operands::backward(grad_output, x), work.own_statistics);
        let mut views = vec![grad_output, x];
        if let Some(grad_input) = grad_input {
            operands = operands.grad_input(grad_input);
            views.push(grad_input);
        }
        if let Some(statistics) = &statistics {
            operands = operands.statistics(statistics);
        }
        let bound = self.gpu.context().bind_async(&plan, &operands).await?;
        let asked = Asked { shape, work, saves: false, views: &views, statistics: statistics.clone() };
        Ok(self.keep(asked, bound, None))
    }

    fn keep(&self, asked: Asked<'_>, bound: Bound, saved: Option<wgpu::Buffer>) -> Arc<Bound> {
        let Asked { shape, work, saves, views, statistics } = asked;
        let places = views.iter().copied().map(Place::from).collect();
        let key = CallKey { shape: shape.to_vec(), work, saves, places, statistics };
        let bound = Arc::new(bound);
        self.calls.kept().bound.put(key, Call { bound: bound.clone(), statistics: saved });
        bound
    }

    /// With what the layer brings to a forward pass.
    pub(super) fn forward_operands<'a>(&'a self, mut operands: Operands<'a>, own_statistics: bool) -> Operands<'a> {
        if let Some(weight) = self.weight() {
            operands = operands.weight(weight);
        }
        if let Some(bias) = self.bias() {
            operands = operands.bias(bias);
        }
        if let Some(running) = &self.tensors.running {
            operands = operands.running_mean(&running.mean).running_var(&running.var);
            if own_statistics {
                operands = operands.num_batches_tracked(&running.batches);
            }
        }
        operands
    }

    /// With what the layer brings to a backward pass.
    pub(super) fn backward_operands<'a>(&'a self, mut operands: Operands<'a>, own_statistics: bool) -> Operands<'a> {
        if let Some(weight) = &self.tensors.weight {
            operands = operands.weight(&weight.value).grad_weight(&weight.gradient);
        }
        if let Some(bias) = &self.tensors.bias {
            operands = operands.grad_bias(&bias.gradient);
        }
        if let (Some(running), false) = (&self.tensors.running, own_statistics) {
            operands = operands.running_mean(&running.mean).running_var(&running.var);
        }
        operands
    }

    /// Whether the layer's mode goes by the statistics of the input.
    pub(super) fn own_statistics(&self) -> bool {
        self.goes_by_input(self.training)
    }
}
