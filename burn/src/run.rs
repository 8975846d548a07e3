//! From burn's tensors to dispatches: the one place where a tensor becomes a wgpu buffer.

use std::error::Error;
use std::sync::Arc;

use burn::backend::DType;
use burn::tensor::Shape;
use burn_cubecl::cubecl::wgpu::WgpuResource;
use burn_cubecl::kernel::{into_contiguous, untile};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;
use wgpu_norm::{Backward, Operands, Plan, View};

use crate::device::{Reached, Server};
use crate::norm::{Norm, dtype};

/// Why a norm that was decided on failed all the same: the device is lost, or has no memory left.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What a forward pass gives.
pub(crate) struct Forward {
    pub(crate) y: CubeTensor,
    pub(crate) statistics: Option<CubeTensor>,
    pub(crate) running: Option<[CubeTensor; 2]>,
}

/// What a backward pass gives: the gradients that were wanted.
pub(crate) struct Gradients {
    pub(crate) input: Option<CubeTensor>,
    pub(crate) gamma: Option<CubeTensor>,
    pub(crate) beta: Option<CubeTensor>,
}

/// Which gradients are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub(crate) input: bool,
    pub(crate) gamma: bool,
    pub(crate) beta: bool,
}

/// Computes `norm` of `x`, in its place if nobody else reads it. `running` is the mean and variance that it normalizes with, or,
/// in training, those that it updates a copy of.
pub(crate) fn forward(
    norm: Norm,
    x: CubeTensor,
    gamma: Option<CubeTensor>,
    beta: Option<CubeTensor>,
    running: Option<[CubeTensor; 2]>,
    save: bool,
) -> Result<Forward, Failure> {
    let device = reached(&x)?;
    let Ordered { x, norm: here, order } = Ordered::new(norm, x);
    let plan = device.plan(&here, x.meta.shape(), None)?;
    let [gamma, beta] = [gamma, beta].map(|tensor| tensor.map(into_contiguous));
    let running = running.map(|both| both.map(|old| if norm.trains() { old.copy() } else { into_contiguous(old) }));
    let of_x = dtype(norm.storage.of_input());
    let y = if x.can_mut() { x.clone() } else { empty(&x, x.meta.shape(), of_x) };
    let statistics = save.then(|| empty(&x, &here.statistics_shape(x.meta.shape()), DType::F32));
    let [mean, variance] = each(&running);
    device.run(
        &plan,
        (|x, y| Operands::new(x, y), [&x, &y]),
        &[
            (|operands, view| operands.weight(view), gamma.as_ref()),
            (|operands, view| operands.bias(view), beta.as_ref()),
            (|operands, view| operands.running_mean(view), mean),
            (|operands, view| operands.running_var(view), variance),
            (|operands, view| operands.statistics(view), statistics.as_ref()),
        ],
    )?;
    let statistics = statistics.map(|tensor| order.statistics_back(&norm, tensor));
    Ok(Forward { y: order.back(y), statistics, running: running.filter(|_| norm.trains()) })
}

/// Computes the gradients of `norm` that are `wanted`, from the statistics that the forward pass saved, or from the running ones
/// that it normalized with.
pub(crate) fn backward(
    norm: Norm,
    dy: CubeTensor,
    x: CubeTensor,
    gamma: Option<CubeTensor>,
    statistics: Option<CubeTensor>,
    running: Option<[CubeTensor; 2]>,
    wanted: Wanted,
) -> Result<Gradients, Failure> {
    let device = reached(&x)?;
    let Ordered { x, norm: here, order } = Ordered::new(norm, x);
    let plan = device.plan(&here, x.meta.shape(), Some(wanted.plan(statistics.is_some())))?;
    let dy = order.apply(dy);
    let statistics = statistics.map(|tensor| order.statistics(&norm, tensor));
    let gamma = gamma.map(into_contiguous);
    let running = running.map(|both| both.map(into_contiguous));
    let [mean, variance] = each(&running);
    let input = wanted.input.then(|| empty(&x, x.meta.shape(), dtype(norm.storage.of_gradients())));
    let parameter = || empty(&x, &[x.meta.shape()[here.axis]], DType::F32);
    let (of_gamma, of_beta) = (wanted.gamma.then(parameter), wanted.beta.then(parameter));
    device.run(
        &plan,
        (|dy, x| Operands::backward(dy, x), [&dy, &x]),
        &[
            (|operands, view| operands.weight(view), gamma.as_ref()),
            (|operands, view| operands.running_mean(view), mean),
            (|operands, view| operands.running_var(view), variance),
            (|operands, view| operands.statistics(view), statistics.as_ref()),
            (|operands, view| operands.grad_input(view), input.as_ref()),
            (|operands, view| operands.grad_weight(view), of_gamma.as_ref()),
            (|operands, view| operands.grad_bias(view), of_beta.as_ref()),
        ],
    )?;
    Ok(Gradients { input: input.map(|input| order.back(input)), gamma: of_gamma, beta: of_beta })
}

impl Wanted {
    fn plan(self, saved: bool) -> Backward {
        let mut plan = Backward::new();
        if saved {
            plan = plan.saved_statistics();
        }
        if !self.input {
            plan = plan.without_input();
        }
        if !self.gamma {
            plan = plan.without_weight();
        }
        if !self.beta {
            plan = plan.without_bias();
        }
        plan
    }
}

/// How operands start from two tensors, and how one more is added.
type Start = for<'a> fn(View<'a>, View<'a>) -> Operands<'a>;
type More = for<'a> fn(Operands<'a>, View<'a>) -> Operands<'a>;

impl Reached {
    /// Binds `plan` to the tensors and submits it, on the thread where burn submits: there a buffer costs no round trip. What burn
    /// has pending for a tensor is submitted when its buffer is asked for, so all runs in order. The buffers stay where
    /// they are until then, and nothing here keeps burn's memory longer.
    fn run(
        &self,
        plan: &Plan,
        (start, first): (Start, [&CubeTensor; 2]),
        more: &[(More, Option<&CubeTensor>)],
    ) -> Result<(), Failure> {
        let client = &first[0].client;
        client.exclusive(|| {
            let held = |tensor: &CubeTensor| client.get_resource::<Server>(tensor.handle.clone());
            let (one, other) = (held(first[0])?, held(first[1])?);
            let more = more.iter().filter_map(|&(place, tensor)| Some((place, held(tensor?))));
            let more = more.map(|(place, held)| held.map(|held| (place, held))).collect::<Result<Vec<_>, _>>()?;
            let mut operands = start(view(one.resource()), view(other.resource()));
            for (place, held) in &more {
                operands = place(operands, view(held.resource()));
            }
            let bound = self.context.bind(plan, &operands)?;
            let mut encoder = self.context.device().create_command_encoder(&Default::default());
            bound.record(&mut encoder.begin_compute_pass(&Default::default()));
            self.queue.submit([encoder.finish()]);
            Ok(())
        })?
    }
}

fn view(resource: &WgpuResource) -> View<'_> {
    View::new(&resource.buffer, resource.offset)
}

fn reached(x: &CubeTensor) -> Result<Arc<Reached>, Failure> {
    Reached::find(&x.device).ok_or_else(|| format!("{:?} is not registered", x.device).into())
}

/// `x` with its axes in the order of memory, and the norm of it.
struct Ordered {
    x: CubeTensor,
    norm: Norm,
    order: Order,
}

/// An order of axes.
struct Order(Vec<usize>);

impl Ordered {
    fn new(norm: Norm, x: CubeTensor) -> Self {
        let x = untile(x);
        let order = Order(norm.order(x.meta.shape(), x.meta.strides()));
        Self { x: order.apply(x), norm: norm.permuted(&order.0), order }
    }
}

impl Order {
    /// A tensor with its axes in this order, copied unless it lies so.
    fn apply(&self, tensor: CubeTensor) -> CubeTensor {
        into_contiguous(permute(tensor, &self.0))
    }

    /// A tensor in this order with its axes as they were.
    fn back(&self, tensor: CubeTensor) -> CubeTensor {
        let mut inverse = vec![0; self.0.len()];
        for (to, &from) in self.0.iter().enumerate() {
            inverse[from] = to;
        }
        permute(tensor, &inverse)
    }

    fn statistics(&self, norm: &Norm, tensor: CubeTensor) -> CubeTensor {
        if norm.statistics_follow_x() { self.apply(tensor) } else { into_contiguous(tensor) }
    }

    fn statistics_back(&self, norm: &Norm, tensor: CubeTensor) -> CubeTensor {
        if norm.statistics_follow_x() { self.back(tensor) } else { tensor }
    }
}

/// A tensor from burn's pool, contiguous and not yet written. No two of them share a word of four bytes: the pool aligns them to more.
fn empty(like: &CubeTensor, shape: &[usize], dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), Shape::from(shape.to_vec()), dtype)
}

fn each(both: &Option<[CubeTensor; 2]>) -> [Option<&CubeTensor>; 2] {
    both.as_ref().map_or([None, None], |both| both.each_ref().map(Some))
}
