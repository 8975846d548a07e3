//! A layer: its options, what it owns, and its mode.

use std::fmt;

use super::calls::Calls;
use super::options::LayerOptions;
use super::tensors::{Parameter, ParameterValues, Running, RunningStatistics, Tensors};
use crate::element::Element;
use crate::epilogue::Activation;
use crate::error::{Error, LayerError};
use crate::gpu::Gpu;
use crate::norm::sealed::Lower;
use crate::norm::{Adapted, BatchNorm, Norm};
use crate::problem::count;

/// A norm that owns its parameters, their gradients and its running statistics on the GPU. `K` is the type of its options.
///
/// A new layer is in training mode. Its weights and running variances are 1, its biases, gradients and running means 0.
/// The caller may read and write its buffers, such as [`Layer::weight`] and [`Layer::grad_weight`]. They stay the same
/// buffers for as long as the layer lives.
///
/// `Debug` prints what PyTorch 2.15 prints for such a layer, and after it an activation.
pub struct Layer<K> {
    pub(super) options: K,
    pub(super) gpu: Gpu,
    pub(super) tensors: Tensors,
    pub(super) training: bool,
    pub(super) frozen: bool,
    pub(super) calls: Calls,
}

/// A layer of any kind, for networks that choose the kind at run time. [`Layer::into_any`] makes one.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::Gpu;
/// use wgpu_norm::nn::{AnyLayer, BatchNormLayer, BatchNormOptions, RmsNormLayer, RmsNormOptions};
///
/// let gpu = Gpu::new_blocking()?;
/// let layers: [AnyLayer; 2] = [
///     BatchNormLayer::new_blocking(&gpu, BatchNormOptions::new(8))?.into_any(),
///     RmsNormLayer::new_blocking(&gpu, RmsNormOptions::new(&[8]))?.into_any(),
/// ];
/// for layer in &layers {
///     assert!(layer.run_blocking(&[2, 8], &[1.0; 16])?.iter().all(|y| y.is_finite()));
/// }
/// # Ok(())
/// # }
/// ```
pub type AnyLayer = Layer<Box<dyn LayerOptions>>;

impl<K: LayerOptions> Layer<K> {
    /// Makes a layer on the device of `gpu`. All layers made from one `gpu` share its pipelines.
    ///
    /// To pass your own buffers to the layer, make `gpu` with [`Gpu::from_device`]. [`Gpu::new`] says why.
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] or [`Error::Layer`] if an option is outside its range. [`Error::Run`] if the device is out of memory or
    /// lost, or if the queue belongs to another device.
    pub async fn new(gpu: &Gpu, options: K) -> Result<Self, Error> {
        gpu.check_queue()?;
        let layer = options.name();
        if options.parameter_shape().contains(&0) {
            let (option, must) = ("its number of features", "at least 1");
            return Err(LayerError::Option { layer, option, value: 0, must }.into());
        }
        // Checks what the options say before any input does.
        adapted(&options, options.norm(&options.example_shape(), true)?).lower()?.checked()?;
        let tensors = Tensors::new(gpu, &options).await?;
        Ok(Self { options, gpu: gpu.clone(), tensors, training: true, frozen: false, calls: Calls::default() })
    }

    /// [`Layer::new`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new_blocking(gpu: &Gpu, options: K) -> Result<Self, Error> {
        pollster::block_on(Self::new(gpu, options))
    }

    /// This layer, with its kind known only at run time.
    #[must_use]
    pub fn into_any(self) -> AnyLayer
    where
        K: 'static,
    {
        let Self { options, gpu, tensors, training, frozen, calls } = self;
        Layer { options: Box::new(options), gpu, tensors, training, frozen, calls }
    }

    /// The device that the layer is on.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The batch norm of an input of this shape that goes by the statistics of its batch: what a training step over several devices
    /// does in parts. `None` if the layer is of another kind, or goes by its running statistics.
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] or [`Error::Layer`] if the layer does not accept this shape.
    pub fn batch_norm(&self, shape: &[usize]) -> Result<Option<Adapted<BatchNorm>>, Error> {
        let norm = if self.own_statistics() { self.options.batch_norm(shape)? } else { None };
        Ok(norm.map(|norm| adapted(&self.options, norm)))
    }

    /// The norm of an input of this shape, by the statistics of the input or by running ones.
    pub(super) fn norm(&self, shape: &[usize], own_statistics: bool) -> Result<Adapted<Box<dyn Norm>>, Error> {
        Ok(adapted(&self.options, self.options.norm(shape, own_statistics)?))
    }

    /// What follows the norm, if the options say something.
    #[must_use]
    pub fn activation(&self) -> Option<Activation> {
        self.options.activation()
    }

    /// The options that the layer was made from.
    #[must_use]
    pub fn options(&self) -> &K {
        &self.options
    }

    /// Switches to training mode: the layer normalizes with the statistics of the input, updates the running statistics, and
    /// saves what the backward pass needs.
    pub fn train(&mut self) {
        self.training = true;
    }

    /// Switches to eval mode: the layer normalizes with its running statistics, if it keeps any, and saves nothing. (A
    /// backward pass still works, and recomputes the statistics.)
    pub fn eval(&mut self) {
        self.training = false;
    }

    /// Whether the layer is in training mode.
    #[must_use]
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// Freezes weight and bias: backward passes compute only the gradient of `x`, and leave the gradients of the parameters
    /// unchanged. Running statistics are not affected.
    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Undoes [`Layer::freeze`].
    pub fn unfreeze(&mut self) {
        self.frozen = false;
    }

    /// Whether weight and bias are frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// The scale (gamma), if the layer has one, stored as its options say. Of an odd number of 16-bit elements, two more bytes follow.
    #[must_use]
    pub fn weight(&self) -> Option<&wgpu::Buffer> {
        self.tensors.weight.as_ref().map(|weight| &weight.value)
    }

    /// The shift (beta), if the layer has one, stored as the weight is.
    #[must_use]
    pub fn bias(&self) -> Option<&wgpu::Buffer> {
        self.tensors.bias.as_ref().map(|bias| &bias.value)
    }

    /// The gradient of the weight, in f32. Backward passes add to it.
    #[must_use]
    pub fn grad_weight(&self) -> Option<&wgpu::Buffer> {
        self.tensors.weight.as_ref().map(|weight| &weight.gradient)
    }

    /// The gradient of the bias, in f32. Backward passes add to it.
    #[must_use]
    pub fn grad_bias(&self) -> Option<&wgpu::Buffer> {
        self.tensors.bias.as_ref().map(|bias| &bias.gradient)
    }

    /// The running mean, in f32, if the layer is a batch or instance norm that keeps one.
    #[must_use]
    pub fn running_mean(&self) -> Option<&wgpu::Buffer> {
        self.tensors.running.as_ref().map(|running| &running.mean)
    }

    /// The running variance, in f32, if the layer is a batch or instance norm that keeps one.
    #[must_use]
    pub fn running_var(&self) -> Option<&wgpu::Buffer> {
        self.tensors.running.as_ref().map(|running| &running.var)
    }

    /// Number of batches that the running statistics include: one `u32`. (Instance norm never increments it, as in PyTorch.)
    #[must_use]
    pub fn num_batches_tracked(&self) -> Option<&wgpu::Buffer> {
        self.tensors.running.as_ref().map(|running| &running.batches)
    }

    /// Records commands that set the gradients of weight and bias to 0. Call it before the pass that adds to them.
    pub fn record_zero_grad(&self, encoder: &mut wgpu::CommandEncoder) {
        for gradient in self.tensors.gradients() {
            encoder.clear_buffer(gradient, 0, None);
        }
    }

    /// Sets the gradients of weight and bias to 0 now, by submitting [`Layer::record_zero_grad`].
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if the device is lost.
    pub async fn zero_grad(&self) -> Result<(), Error> {
        self.gpu.submit(|encoder| self.record_zero_grad(encoder), &[]).await.map(drop)
    }

    /// [`Layer::zero_grad`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::zero_grad`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn zero_grad_blocking(&self) -> Result<(), Error> {
        pollster::block_on(self.zero_grad())
    }

    /// Reads weight and bias back, as f32, after all work submitted before.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if the device is out of memory or lost.
    pub async fn parameters(&self) -> Result<ParameterValues, Error> {
        let element = self.options.storage().of_parameters();
        self.read(["weight", "bias"], element, |parameter| &parameter.value).await
    }

    /// [`Layer::parameters`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::parameters`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn parameters_blocking(&self) -> Result<ParameterValues, Error> {
        pollster::block_on(self.parameters())
    }

    /// Reads the gradients of weight and bias back, after all work submitted before.
    ///
    /// # Errors
    ///
    /// As [`Layer::parameters`].
    pub async fn gradients(&self) -> Result<ParameterValues, Error> {
        self.read(["grad_weight", "grad_bias"], Element::F32, |parameter| &parameter.gradient).await
    }

    /// [`Layer::gradients`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::parameters`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn gradients_blocking(&self) -> Result<ParameterValues, Error> {
        pollster::block_on(self.gradients())
    }

    /// Reads the running statistics back, after all work submitted before. `None` if the layer keeps none.
    ///
    /// # Errors
    ///
    /// As [`Layer::parameters`].
    pub async fn running_statistics(&self) -> Result<Option<RunningStatistics>, Error> {
        let Some(Running { mean, var, batches }) = &self.tensors.running else { return Ok(None) };
        let sources = [("running_mean", mean), ("running_var", var), ("num_batches_tracked", batches)];
        let mut values = self.gpu.submit(|_| {}, &sources).await?.into_iter();
        let mut next = || values.next().unwrap_or_default();
        Ok(Some(RunningStatistics {
            mean: next(),
            var: next(),
            num_batches_tracked: next().first().map_or(0, |count| count.to_bits()),
        }))
    }

    /// [`Layer::running_statistics`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::parameters`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn running_statistics_blocking(&self) -> Result<Option<RunningStatistics>, Error> {
        pollster::block_on(self.running_statistics())
    }

    async fn read(
        &self,
        names: [&'static str; 2],
        element: Element,
        of: impl Fn(&Parameter) -> &wgpu::Buffer,
    ) -> Result<ParameterValues, Error> {
        let Tensors { weight, bias, .. } = &self.tensors;
        let given = [weight, bias].into_iter().zip(names);
        let sources: Vec<_> = given.filter_map(|(parameter, name)| Some((name, of(parameter.as_ref()?)))).collect();
        let length = count(&self.options.parameter_shape()) as usize;
        let mut values = Vec::new();
        for readback in self.gpu.send(|_| {}, &sources).await? {
            values.push(self.gpu.fetch_numbers(readback, element, length).await?);
        }
        let mut values = values.into_iter();
        let weight = weight.as_ref().and_then(|_| values.next());
        Ok(ParameterValues { weight, bias: bias.as_ref().and_then(|_| values.next()) })
    }
}

/// The norm of such a layer, with what follows it and as its tensors are stored.
fn adapted<N: Norm>(options: &impl LayerOptions, norm: N) -> Adapted<N> {
    norm.stored_as(options.storage()).and_then(options.activation())
}

impl<K: LayerOptions> fmt::Debug for Layer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // PyTorch's layers have none.
        let activation = self.activation().map(|activation| format!(", activation={activation}")).unwrap_or_default();
        write!(f, "{}({}{activation})", self.options.name(), self.options.repr())
    }
}
