//! One call of a module: by wgpu-norm if it can, else by burn's own module.

use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};
use std::sync::{LazyLock, Mutex, PoisonError};

use burn::backend::Dispatch;
use burn::module::Param;
use burn::tensor::{FloatDType, Tensor};
use wgpu_norm::{Element, Storage};

use crate::device;
use crate::error::Error;
use crate::norm::{Kind, Norm, dtype, storage};
use crate::ops::{Maybe, Normalize, Normalized, Running};

/// What a module brings to a call.
pub(crate) trait Normalization {
    /// What to compute of `input`.
    fn call<const D: usize>(&self, input: &Tensor<D>) -> Result<Call, Error>;

    /// Takes the running statistics that batch norm has updated.
    fn update(&self, _running: [Tensor<1>; 2]) {}

    /// The same by burn's own module.
    fn forward_by_burn<const D: usize>(&self, input: Tensor<D>) -> Tensor<D>;
}

/// A norm with its parameters.
pub(crate) struct Call {
    norm: Norm,
    /// The length of the axis that gamma and beta run along.
    length: usize,
    gamma: Option<Tensor<1>>,
    beta: Option<Tensor<1>>,
    running: Option<[Tensor<1>; 2]>,
}

/// By this package, or by burn's module with one warning.
pub(crate) fn forward<const D: usize>(module: &impl Normalization, input: Tensor<D>) -> Tensor<D> {
    match decided(module, &input) {
        Ok(call) => call.compute(module, input),
        Err(error) => {
            warn(&error);
            module.forward_by_burn(input)
        }
    }
}

/// By this package, or not at all.
pub(crate) fn try_forward<const D: usize>(module: &impl Normalization, input: Tensor<D>) -> Result<Tensor<D>, Error> {
    Ok(decided(module, &input)?.compute(module, input))
}

/// `input` stays with the caller until this is decided: a norm overwrites a tensor that has one owner.
fn decided<const D: usize>(module: &impl Normalization, input: &Tensor<D>) -> Result<Call, Error> {
    let mut call = module.call(input)?;
    let parameters = [&call.gamma, &call.beta].into_iter().flatten().map(Tensor::dtype);
    call.norm.storage = storage(input.dtype(), parameters);
    let [mean, variance] = call.running.as_ref().map_or([None, None], |running| running.each_ref().map(Some));
    let of_parameters = call.norm.storage.of_parameters();
    let named = [
        ("gamma", call.gamma.as_ref(), of_parameters),
        ("beta", call.beta.as_ref(), of_parameters),
        ("running_mean", mean, Element::F32),
        ("running_var", variance, Element::F32),
    ];
    let given: Vec<_> = named.into_iter().filter_map(|(name, tensor, of)| Some((name, tensor?, of))).collect();
    device::can(&call.norm, input, call.length, &given)?;
    Ok(call)
}

/// Warns of each kind of reason once. What is wrong for burn as well, it says itself.
fn warn(error: &Error) {
    if matches!(error, Error::Shape { .. } | Error::Parameter { .. } | Error::Affine { .. }) {
        return;
    }
    static WARNED: LazyLock<Mutex<HashSet<Discriminant<Error>>>> = LazyLock::new(Mutex::default);
    if WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(discriminant(error)) {
        log::warn!("{error}. burn's own module computes it, here and from now on.");
    }
}

impl Call {
    pub(crate) fn new(kind: Kind, axis: usize, epsilon: f64, length: usize) -> Self {
        let norm = Norm { kind, axis, epsilon: epsilon.into(), storage: Storage::default() };
        Self { norm, length, gamma: None, beta: None, running: None }
    }

    pub(crate) fn parameters(self, gamma: Option<Tensor<1>>, beta: Option<Tensor<1>>) -> Self {
        Self { gamma, beta, ..self }
    }

    pub(crate) fn running(self, running: [Tensor<1>; 2]) -> Self {
        Self { running: Some(running), ..self }
    }

    /// Gamma and beta, both or none, as a module's `affine` says.
    pub(crate) fn affine(
        self,
        affine: bool,
        gamma: &Option<Param<Tensor<1>>>,
        beta: &Option<Param<Tensor<1>>>,
    ) -> Result<Self, Error> {
        match (affine, gamma, beta) {
            (false, _, _) => Ok(self),
            (true, Some(gamma), Some(beta)) => Ok(self.parameters(Some(gamma.val()), Some(beta.val()))),
            (true, _, _) => Err(Error::Affine { norm: self.norm.name() }),
        }
    }

    fn compute<const D: usize>(self, module: &impl Normalization, input: Tensor<D>) -> Tensor<D> {
        let Self { norm, gamma, beta, running, .. } = self;
        let kept: Option<[FloatDType; 2]> =
            running.as_ref().map(|running| running.each_ref().map(|tensor| tensor.dtype().into()));
        let given = input.dtype();
        let [of_x, of_parameters] = [norm.storage.of_input(), norm.storage.of_parameters()];
        let [gamma, beta] =
            [gamma, beta].map(|tensor| Maybe::new(tensor.map(|tensor| cast(tensor, of_parameters).into_dispatch())));
        let running = running.map(|running| running.map(|tensor| cast(tensor, Element::F32).into_dispatch()));
        let x = cast(input, of_x).into_dispatch();
        let Normalized { y, running, .. } = Dispatch::normalize(x, gamma, beta, Running::new(running), norm, false);
        if let (Some(running), Some(kept)) = (running.option(), kept) {
            let [mean, variance] = running.map(|tensor| Tensor::<1>::from_dispatch(tensor).detach());
            module.update([mean.cast(kept[0]), variance.cast(kept[1])]);
        }
        let y = Tensor::from_dispatch(y);
        if given == dtype(of_x) { y } else { y.cast(FloatDType::from(given)) }
    }
}

/// A tensor of that type, by burn if it is of another.
fn cast<const D: usize>(tensor: Tensor<D>, element: Element) -> Tensor<D> {
    let wanted = dtype(element);
    if tensor.dtype() == wanted { tensor } else { tensor.cast(FloatDType::from(wanted)) }
}
