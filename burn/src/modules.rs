//! burn's five modules, with burn's configurations and fields, computed by wgpu-norm where it can be.

use burn::config::Config;
use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param, RunningState};
use burn::nn;
use burn::tensor::{Device, Tensor};

use crate::call::{Call, Normalization, forward, try_forward};
use crate::error::Error;
use crate::norm::Kind;

/// Configuration of a [`LayerNorm`], with the fields of [`burn::nn::LayerNormConfig`].
#[derive(Debug, Config)]
pub struct LayerNormConfig {
    /// The length of the last axis.
    pub d_model: usize,
    /// Small number added to the variance. Default 1e-5.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether there is a beta. Default true.
    #[config(default = true)]
    pub bias: bool,
}

/// Layer normalization over the last axis, in place of [`burn::nn::LayerNorm`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LayerNorm {
    /// The scale, of shape `[d_model]`.
    pub gamma: Param<Tensor<1>>,
    /// The shift, of shape `[d_model]`.
    pub beta: Option<Param<Tensor<1>>>,
    /// Small number added to the variance.
    pub epsilon: f64,
}

impl LayerNormConfig {
    /// A module with gamma 1 and beta 0.
    pub fn init(&self, device: &Device) -> LayerNorm {
        let Self { d_model, epsilon, bias } = *self;
        let nn::LayerNorm { gamma, beta, .. } = nn::LayerNormConfig { d_model, epsilon, bias }.init(device);
        LayerNorm { gamma, beta, epsilon }
    }
}

impl LayerNorm {
    /// Normalizes each row of an `input` of shape `[.., d_model]`.
    ///
    /// # Panics
    ///
    /// As burn's own, if the last axis is not `d_model`.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        forward(self, input)
    }

    /// [`LayerNorm::forward`] by this package or not at all.
    ///
    /// # Errors
    ///
    /// [`Error`], which says why this package cannot compute it.
    pub fn try_forward<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>, Error> {
        try_forward(self, input)
    }
}

impl Normalization for LayerNorm {
    fn call<const D: usize>(&self, _input: &Tensor<D>) -> Result<Call, Error> {
        let (gamma, beta) = (self.gamma.val(), self.beta.as_ref().map(Param::val));
        let [length] = gamma.dims();
        Ok(Call::new(Kind::Layer, D.saturating_sub(1), self.epsilon, length).parameters(Some(gamma), beta))
    }

    fn forward_by_burn<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let [d_model] = self.gamma.dims();
        let config = nn::LayerNormConfig { d_model, epsilon: self.epsilon, bias: false };
        // Its epsilon is private, so only its configuration can say it.
        let mut module = config.init(&input.device());
        (module.gamma, module.beta) = (self.gamma.clone(), self.beta.clone());
        module.forward(input)
    }
}

impl ModuleDisplay for LayerNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        on_one_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [d_model] = self.gamma.shape().dims();
        content.add("d_model", &d_model).add("epsilon", &self.epsilon).add("bias", &self.beta.is_some()).optional()
    }
}

/// Configuration of an [`RmsNorm`], with the fields of [`burn::nn::RmsNormConfig`].
#[derive(Debug, Config)]
pub struct RmsNormConfig {
    /// The length of the last axis.
    pub d_model: usize,
    /// Small number added to the mean of squares. Default 1e-5.
    #[config(default = 1e-5)]
    pub epsilon: f64,
}

/// Root mean square normalization over the last axis, in place of [`burn::nn::RmsNorm`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct RmsNorm {
    /// The scale, of shape `[d_model]`.
    pub gamma: Param<Tensor<1>>,
    /// Small number added to the mean of squares.
    pub epsilon: f64,
}

impl RmsNormConfig {
    /// A module with gamma 1.
    ///
    /// # Panics
    ///
    /// As burn's own, if `epsilon` is not positive.
    pub fn init(&self, device: &Device) -> RmsNorm {
        let Self { d_model, epsilon } = *self;
        let nn::RmsNorm { gamma, .. } = nn::RmsNormConfig { d_model, epsilon }.init(device);
        RmsNorm { gamma, epsilon }
    }
}

impl RmsNorm {
    /// Normalizes each row of an `input` of shape `[.., d_model]`.
    ///
    /// # Panics
    ///
    /// As burn's own, if the last axis is not `d_model`.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        forward(self, input)
    }

    /// [`RmsNorm::forward`] by this package or not at all.
    ///
    /// # Errors
    ///
    /// [`Error`], which says why this package cannot compute it.
    pub fn try_forward<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>, Error> {
        try_forward(self, input)
    }
}

impl Normalization for RmsNorm {
    fn call<const D: usize>(&self, _input: &Tensor<D>) -> Result<Call, Error> {
        let gamma = self.gamma.val();
        let [length] = gamma.dims();
        Ok(Call::new(Kind::Rms, D.saturating_sub(1), self.epsilon, length).parameters(Some(gamma), None))
    }

    fn forward_by_burn<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        nn::RmsNorm { gamma: self.gamma.clone(), epsilon: self.epsilon }.forward(input)
    }
}

impl ModuleDisplay for RmsNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        on_one_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [d_model] = self.gamma.shape().dims();
        content.add("d_model", &d_model).add("epsilon", &self.epsilon).optional()
    }
}

/// Configuration of a [`GroupNorm`], with the fields of [`burn::nn::GroupNormConfig`].
#[derive(Debug, Config)]
pub struct GroupNormConfig {
    /// How many groups the channels are split into.
    pub num_groups: usize,
    /// The number of channels.
    pub num_channels: usize,
    /// Small number added to the variance. Default 1e-5.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether there are gamma and beta. Default true.
    #[config(default = true)]
    pub affine: bool,
}

/// Group normalization, in place of [`burn::nn::GroupNorm`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct GroupNorm {
    /// The scale, of shape `[num_channels]`.
    pub gamma: Option<Param<Tensor<1>>>,
    /// The shift, of shape `[num_channels]`.
    pub beta: Option<Param<Tensor<1>>>,
    /// How many groups the channels are split into.
    pub num_groups: usize,
    /// The number of channels.
    pub num_channels: usize,
    /// Small number added to the variance.
    pub epsilon: f64,
    /// Whether gamma and beta are applied.
    pub affine: bool,
    /// Whether the channels are the last axis, not axis 1.
    pub channels_last: bool,
}

impl GroupNormConfig {
    /// A module with gamma 1 and beta 0, for channels first.
    ///
    /// # Panics
    ///
    /// As burn's own, if `num_groups` does not divide `num_channels`.
    pub fn init(&self, device: &Device) -> GroupNorm {
        let Self { num_groups, num_channels, epsilon, affine } = *self;
        let nn::GroupNorm { gamma, beta, .. } =
            nn::GroupNormConfig { num_groups, num_channels, epsilon, affine }.init(device);
        GroupNorm { gamma, beta, num_groups, num_channels, epsilon, affine, channels_last: false }
    }
}

impl GroupNorm {
    /// This module, for inputs with the channels last or, as in burn, along axis 1.
    #[must_use]
    pub fn with_channels_last(mut self, channels_last: bool) -> Self {
        self.channels_last = channels_last;
        self
    }

    /// Normalizes an `input` of shape `[batch, num_channels, ..]`, or `[batch, .., num_channels]`.
    ///
    /// # Panics
    ///
    /// As burn's own, if the channels are not `num_channels`, or gamma or beta is missing where `affine` says that they are there.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        forward(self, input)
    }

    /// [`GroupNorm::forward`] by this package or not at all.
    ///
    /// # Errors
    ///
    /// [`Error`], which says why this package cannot compute it.
    pub fn try_forward<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>, Error> {
        try_forward(self, input)
    }
}

impl Normalization for GroupNorm {
    fn call<const D: usize>(&self, _input: &Tensor<D>) -> Result<Call, Error> {
        let kind = Kind::Group { groups: self.num_groups };
        let call = Call::new(kind, channel_axis::<D>(self.channels_last), self.epsilon, self.num_channels);
        call.affine(self.affine, &self.gamma, &self.beta)
    }

    fn forward_by_burn<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let Self { num_groups, num_channels, epsilon, affine, channels_last, .. } = *self;
        let (gamma, beta) = (self.gamma.clone(), self.beta.clone());
        let module = nn::GroupNorm { gamma, beta, num_groups, num_channels, epsilon, affine };
        channels_first(channels_last, input, |input| module.forward(input))
    }
}

impl ModuleDisplay for GroupNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        on_one_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let content = content
            .add("num_groups", &self.num_groups)
            .add("num_channels", &self.num_channels)
            .add("epsilon", &self.epsilon)
            .add("affine", &self.affine);
        with_layout(content, self.channels_last).optional()
    }
}

/// Configuration of an [`InstanceNorm`], with the fields of [`burn::nn::InstanceNormConfig`].
#[derive(Debug, Config)]
pub struct InstanceNormConfig {
    /// The number of channels.
    pub num_channels: usize,
    /// Small number added to the variance. Default 1e-5.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether there are gamma and beta. Default true.
    #[config(default = true)]
    pub affine: bool,
}

/// Instance normalization, in place of [`burn::nn::InstanceNorm`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct InstanceNorm {
    /// The scale, of shape `[num_channels]`.
    pub gamma: Option<Param<Tensor<1>>>,
    /// The shift, of shape `[num_channels]`.
    pub beta: Option<Param<Tensor<1>>>,
    /// The number of channels.
    pub num_channels: usize,
    /// Small number added to the variance.
    pub epsilon: f64,
    /// Whether gamma and beta are applied.
    pub affine: bool,
    /// Whether the channels are the last axis, not axis 1.
    pub channels_last: bool,
}

impl InstanceNormConfig {
    /// A module with gamma 1 and beta 0, for channels first.
    pub fn init(&self, device: &Device) -> InstanceNorm {
        let Self { num_channels, epsilon, affine } = *self;
        let nn::InstanceNorm { gamma, beta, .. } =
            nn::InstanceNormConfig { num_channels, epsilon, affine }.init(device);
        InstanceNorm { gamma, beta, num_channels, epsilon, affine, channels_last: false }
    }
}

impl InstanceNorm {
    /// This module, for inputs with the channels last or, as in burn, along axis 1.
    #[must_use]
    pub fn with_channels_last(mut self, channels_last: bool) -> Self {
        self.channels_last = channels_last;
        self
    }

    /// Normalizes an `input` of shape `[batch, num_channels, ..]`, or `[batch, .., num_channels]`.
    ///
    /// # Panics
    ///
    /// As burn's own, if the channels are not `num_channels`, or gamma or beta is missing where `affine` says that they are there.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        forward(self, input)
    }

    /// [`InstanceNorm::forward`] by this package or not at all.
    ///
    /// # Errors
    ///
    /// [`Error`], which says why this package cannot compute it.
    pub fn try_forward<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>, Error> {
        try_forward(self, input)
    }
}

impl Normalization for InstanceNorm {
    fn call<const D: usize>(&self, _input: &Tensor<D>) -> Result<Call, Error> {
        let axis = channel_axis::<D>(self.channels_last);
        let call = Call::new(Kind::Instance, axis, self.epsilon, self.num_channels);
        call.affine(self.affine, &self.gamma, &self.beta)
    }

    fn forward_by_burn<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let Self { num_channels, epsilon, affine, channels_last, .. } = *self;
        let (gamma, beta) = (self.gamma.clone(), self.beta.clone());
        let module = nn::InstanceNorm { gamma, beta, num_channels, epsilon, affine };
        channels_first(channels_last, input, |input| module.forward(input))
    }
}

impl ModuleDisplay for InstanceNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        on_one_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let content =
            content.add("num_channels", &self.num_channels).add("epsilon", &self.epsilon).add("affine", &self.affine);
        with_layout(content, self.channels_last).optional()
    }
}

/// Configuration of a [`BatchNorm`], with the fields of [`burn::nn::BatchNormConfig`].
#[derive(Debug, Config)]
pub struct BatchNormConfig {
    /// The number of channels.
    pub num_features: usize,
    /// Small number added to the variance. Default 1e-5.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// How much of a new running statistic is that of the batch. Default 0.1.
    #[config(default = 0.1)]
    pub momentum: f64,
}

/// Batch normalization, in place of [`burn::nn::BatchNorm`].
///
/// As burn's, it trains on an autodiff device, if `training` says so: it normalizes with the statistics of the batch and updates
/// the running ones, with the biased variance. Otherwise it normalizes with the running statistics.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BatchNorm {
    /// The scale, of shape `[num_features]`.
    pub gamma: Param<Tensor<1>>,
    /// The shift, of shape `[num_features]`.
    pub beta: Param<Tensor<1>>,
    /// Whether it trains on an autodiff device.
    pub training: Param<Flag>,
    /// The running mean, of shape `[num_features]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// The running variance, of shape `[num_features]`.
    pub running_var: RunningState<Tensor<1>>,
    /// How much of a new running statistic is that of the batch.
    pub momentum: f64,
    /// Small number added to the variance.
    pub epsilon: f64,
    /// Whether the channels are the last axis, not axis 1.
    pub channels_last: bool,
}

impl BatchNormConfig {
    /// A module with gamma 1, beta 0, running mean 0 and running variance 1, for channels first.
    ///
    /// # Panics
    ///
    /// As burn's own, if `num_features` is 0, `epsilon` is not finite and positive, or `momentum` is not in 0 to 1.
    pub fn init(&self, device: &Device) -> BatchNorm {
        let Self { num_features, epsilon, momentum } = *self;
        let module = nn::BatchNormConfig { num_features, epsilon, momentum }.init(device);
        let nn::BatchNorm { gamma, beta, training, running_mean, running_var, .. } = module;
        BatchNorm { gamma, beta, training, running_mean, running_var, momentum, epsilon, channels_last: false }
    }
}

impl BatchNorm {
    /// This module, for inputs with the channels last or, as in burn, along axis 1.
    #[must_use]
    pub fn with_channels_last(mut self, channels_last: bool) -> Self {
        self.channels_last = channels_last;
        self
    }

    /// Normalizes an `input` of shape `[batch, num_features, ..]`, or `[batch, .., num_features]`.
    ///
    /// # Panics
    ///
    /// As burn's own, if the channels are not `num_features`.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        forward(self, input)
    }

    /// [`BatchNorm::forward`] by this package or not at all.
    ///
    /// # Errors
    ///
    /// [`Error`], which says why this package cannot compute it.
    pub fn try_forward<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>, Error> {
        try_forward(self, input)
    }
}

impl Normalization for BatchNorm {
    fn call<const D: usize>(&self, input: &Tensor<D>) -> Result<Call, Error> {
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        let [length] = gamma.dims();
        let device = input.device();
        let running = [&self.running_mean, &self.running_var];
        let (kind, running) = if device.is_autodiff() && self.training.is_enabled() {
            (Kind::BatchTrain { momentum: self.momentum.into() }, running.map(RunningState::value_sync))
        } else {
            (Kind::BatchEval, running.map(RunningState::value))
        };
        let call = Call::new(kind, channel_axis::<D>(self.channels_last), self.epsilon, length);
        Ok(call.parameters(Some(gamma), Some(beta)).running(running.map(|tensor| tensor.to_device(&device))))
    }

    fn update(&self, [mean, variance]: [Tensor<1>; 2]) {
        self.running_mean.update(mean);
        self.running_var.update(variance);
    }

    fn forward_by_burn<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let Self { gamma, beta, training, running_mean, running_var, momentum, epsilon, channels_last } = self.clone();
        let module = nn::BatchNorm { gamma, beta, training, running_mean, running_var, momentum, epsilon };
        channels_first(channels_last, input, |input| module.forward(input))
    }
}

impl ModuleDisplay for BatchNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        on_one_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [num_features] = self.beta.shape().dims();
        let content =
            content.add("num_features", &num_features).add("momentum", &self.momentum).add("epsilon", &self.epsilon);
        let content = if self.training.is_enabled() { content } else { content.add("training", &self.training) };
        with_layout(content, self.channels_last).optional()
    }
}

fn channel_axis<const D: usize>(channels_last: bool) -> usize {
    if channels_last { D.saturating_sub(1) } else { 1 }
}

/// Calls a module of burn, which takes channels first. The order of positions does not matter to it.
fn channels_first<const D: usize>(
    channels_last: bool,
    input: Tensor<D>,
    module: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    if channels_last && D > 2 { module(input.swap_dims(1, D - 1)).swap_dims(1, D - 1) } else { module(input) }
}

fn on_one_line() -> Option<DisplaySettings> {
    DisplaySettings::new().with_new_line_after_attribute(false).optional()
}

/// As burn shows its modules, unless the layout is another.
fn with_layout(content: Content, channels_last: bool) -> Content {
    if channels_last { content.add("channels_last", &true) } else { content }
}
