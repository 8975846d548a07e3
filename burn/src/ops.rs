//! The norms as operations of burn's backends: on the device, recorded by fusion, and with gradients by autodiff.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Store;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, DType, ExtensionType, backend_extension};
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;

use crate::norm::{Norm, dtype};
use crate::run::{self, Failure, Wanted};

/// A tensor that may be missing. burn's extensions take no `Option`.
#[derive(ExtensionType)]
#[extension_type(fusion)]
pub enum Maybe<B: Backend> {
    Without,
    With(FloatTensor<B>),
}

/// The running mean and variance of batch norm.
#[derive(ExtensionType)]
#[extension_type(fusion)]
pub enum Running<B: Backend> {
    Without,
    With { mean: FloatTensor<B>, variance: FloatTensor<B> },
}

/// What the forward pass gives: `y`, the statistics for the backward pass, and in training of batch norm the next running ones.
#[derive(ExtensionType)]
#[extension_type(fusion)]
pub struct Normalized<B: Backend> {
    pub y: FloatTensor<B>,
    #[extension_type]
    pub statistics: Maybe<B>,
    #[extension_type]
    pub running: Running<B>,
}

/// The gradients that were wanted.
#[derive(ExtensionType)]
#[extension_type(fusion)]
pub struct Gradients<B: Backend> {
    #[extension_type]
    pub input: Maybe<B>,
    #[extension_type]
    pub gamma: Maybe<B>,
    #[extension_type]
    pub beta: Maybe<B>,
}

/// The two passes of every norm. Tensors are of the types of its [`storage`](Norm::storage), all others f32, gradients of gamma and
/// beta as well.
#[backend_extension(Cube, Fusion, Autodiff)]
pub trait Normalize: Backend {
    #[fusion(meta = normalized)]
    fn normalize(
        x: FloatTensor<Self>,
        #[extension_type] gamma: Maybe<Self>,
        #[extension_type] beta: Maybe<Self>,
        #[extension_type] running: Running<Self>,
        norm: Norm,
        save: bool,
    ) -> Normalized<Self>;

    #[fusion(meta = gradients)]
    fn normalize_backward(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        #[extension_type] gamma: Maybe<Self>,
        #[extension_type] statistics: Maybe<Self>,
        #[extension_type] running: Running<Self>,
        norm: Norm,
        wanted: Wanted,
    ) -> Gradients<Self>;
}

/// The shapes that [`Normalize::normalize`] gives.
fn normalized(
    x: &TensorSpec,
    _gamma: &MaybeMetadata,
    _beta: &MaybeMetadata,
    running: &RunningMetadata,
    norm: &Norm,
    save: &bool,
) -> NormalizedMetadata {
    let statistics = || TensorSpec::new(Shape::from(norm.statistics_shape(x.shape.as_slice())), DType::F32);
    NormalizedMetadata {
        y: x.clone(),
        statistics: if *save { MaybeMetadata::With(statistics()) } else { MaybeMetadata::Without },
        running: if norm.trains() { running.clone() } else { RunningMetadata::Without },
    }
}

/// The shapes that [`Normalize::normalize_backward`] gives.
fn gradients(
    _dy: &TensorSpec,
    x: &TensorSpec,
    _gamma: &MaybeMetadata,
    _statistics: &MaybeMetadata,
    _running: &RunningMetadata,
    norm: &Norm,
    wanted: &Wanted,
) -> GradientsMetadata {
    let maybe = |wanted, spec| if wanted { MaybeMetadata::With(spec) } else { MaybeMetadata::Without };
    let parameter = TensorSpec::new(Shape::from(vec![x.shape[norm.axis]]), DType::F32);
    GradientsMetadata {
        input: maybe(wanted.input, x.clone()),
        gamma: maybe(wanted.gamma, parameter.clone()),
        beta: maybe(wanted.beta, parameter),
    }
}

impl Normalize for CubeBackend {
    fn normalize(
        x: FloatTensor<Self>,
        gamma: Maybe<Self>,
        beta: Maybe<Self>,
        running: Running<Self>,
        norm: Norm,
        save: bool,
    ) -> Normalized<Self> {
        let given = run::forward(norm, x, gamma.option(), beta.option(), running.option(), save);
        let run::Forward { y, statistics, running } = given.unwrap_or_else(|failure| fail(&norm, &failure));
        Normalized { y, statistics: Maybe::new(statistics), running: Running::new(running) }
    }

    fn normalize_backward(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        gamma: Maybe<Self>,
        statistics: Maybe<Self>,
        running: Running<Self>,
        norm: Norm,
        wanted: Wanted,
    ) -> Gradients<Self> {
        let given = run::backward(norm, dy, x, gamma.option(), statistics.option(), running.option(), wanted);
        let run::Gradients { input, gamma, beta } = given.unwrap_or_else(|failure| fail(&norm, &failure));
        Gradients { input: Maybe::new(input), gamma: Maybe::new(gamma), beta: Maybe::new(beta) }
    }
}

/// What burn does, too, where a device is lost or has no memory left: an operation has no error to return.
fn fail(norm: &Norm, failure: &Failure) -> ! {
    panic!("{}: {failure}", norm.name())
}

impl<B: Backend + Normalize, C: CheckpointStrategy> Normalize for Autodiff<B, C> {
    fn normalize(
        x: FloatTensor<Self>,
        gamma: Maybe<Self>,
        beta: Maybe<Self>,
        running: Running<Self>,
        norm: Norm,
        _save: bool,
    ) -> Normalized<Self> {
        let running = running.map(|tensor| tensor.into_primitive());
        match (gamma, beta) {
            (Maybe::With(gamma), Maybe::With(beta)) => {
                record::<B, C, 3>([x.node(), gamma.node(), beta.node()], x, Some(gamma), Some(beta), running, norm)
            }
            (Maybe::With(gamma), Maybe::Without) => {
                record::<B, C, 2>([x.node(), gamma.node()], x, Some(gamma), None, running, norm)
            }
            // Without gamma there is no beta.
            (Maybe::Without, _) => record::<B, C, 1>([x.node()], x, None, None, running, norm),
        }
    }

    fn normalize_backward(
        _dy: FloatTensor<Self>,
        _x: FloatTensor<Self>,
        _gamma: Maybe<Self>,
        _statistics: Maybe<Self>,
        _running: Running<Self>,
        _norm: Norm,
        _wanted: Wanted,
    ) -> Gradients<Self> {
        unreachable!("autodiff differentiates once, as burn's own batch norm")
    }
}

/// Computes the norm, and records its backward pass for the parents `x`, gamma and beta, so many as there are.
fn record<B: Backend + Normalize, C: CheckpointStrategy, const N: usize>(
    parents: [NodeGuard; N],
    x: FloatTensor<Autodiff<B, C>>,
    gamma: Option<FloatTensor<Autodiff<B, C>>>,
    beta: Option<FloatTensor<Autodiff<B, C>>>,
    running: Running<B>,
    norm: Norm,
) -> Normalized<Autodiff<B, C>> {
    let beta = Maybe::new(beta.map(|tensor| tensor.into_primitive()));
    let (y, running) = match Gradient::<N>.prepare::<C>(parents).compute_bound().stateful() {
        OpsKind::Tracked(mut prepared) => {
            let (x_node, gamma_node) =
                (prepared.checkpoint(&x), gamma.as_ref().map(|gamma| prepared.checkpoint(gamma)));
            let gamma = Maybe::new(gamma.map(|tensor| tensor.into_primitive()));
            // In eval mode, the running statistics are all that the backward pass needs.
            let (kept, save) = match (&running, norm.trains()) {
                (Running::With { mean, variance }, false) => (Some([mean.clone(), variance.clone()]), false),
                _ => (None, true),
            };
            let Normalized { y, statistics, running } =
                B::normalize(x.into_primitive(), gamma, beta, running, norm, save);
            let state = State { x: x_node, gamma: gamma_node, statistics: statistics.option(), running: kept, norm };
            (prepared.finish(state, y), running)
        }
        OpsKind::UnTracked(prepared) => {
            let gamma = Maybe::new(gamma.map(|tensor| tensor.into_primitive()));
            let Normalized { y, running, .. } = B::normalize(x.into_primitive(), gamma, beta, running, norm, false);
            (prepared.finish(y), running)
        }
    };
    let running = running.map(Autodiff::<B, C>::from_inner);
    Normalized { y, statistics: Maybe::Without, running }
}

/// The backward pass of a norm with `N` parents.
#[derive(Debug)]
struct Gradient<const N: usize>;

#[derive(Clone, Debug)]
struct State<B: Backend> {
    x: NodeId,
    gamma: Option<NodeId>,
    statistics: Option<FloatTensor<B>>,
    running: Option<[FloatTensor<B>; 2]>,
    norm: Norm,
}

impl<B: Backend + Normalize, const N: usize> Backward<B, N> for Gradient<N> {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Store, checkpointer: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let State { x, gamma, statistics, running, norm } = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let gamma = gamma.map(|gamma| checkpointer.retrieve_node_output::<FloatTensor<B>>(gamma));
        let wants = |parent: usize| matches!(ops.parents.get(parent), Some(Some(_)));
        let wanted = Wanted { input: wants(0), gamma: wants(1), beta: wants(2) };
        let (gamma, statistics, running) = (Maybe::new(gamma), Maybe::new(statistics), Running::new(running));
        let given = B::normalize_backward(dy, x, gamma, statistics, running, norm, wanted);
        // Those of gamma and beta come as f32. burn takes a gradient to be of the type of what it belongs to.
        let parameter = |gradient: Maybe<B>| match dtype(norm.storage.of_parameters()) {
            DType::F32 => gradient,
            other => Maybe::new(gradient.option().map(|gradient| B::float_cast(gradient, other.into()))),
        };
        let given = [given.input, parameter(given.gamma), parameter(given.beta)];
        for (parent, gradient) in ops.parents.iter().zip(given) {
            if let (Some(parent), Maybe::With(gradient)) = (parent, gradient) {
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: Backend> Maybe<B> {
    pub(crate) fn new(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::Without, Self::With)
    }

    fn option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Without => None,
            Self::With(tensor) => Some(tensor),
        }
    }
}

impl<B: Backend> Running<B> {
    pub(crate) fn new(both: Option<[FloatTensor<B>; 2]>) -> Self {
        both.map_or(Self::Without, |[mean, variance]| Self::With { mean, variance })
    }

    pub(crate) fn option(self) -> Option<[FloatTensor<B>; 2]> {
        match self {
            Self::Without => None,
            Self::With { mean, variance } => Some([mean, variance]),
        }
    }

    fn map<T: Backend>(self, change: impl Fn(FloatTensor<B>) -> FloatTensor<T>) -> Running<T> {
        Running::new(self.option().map(|both| both.map(change)))
    }
}
