//! Folding batch norm into the layer before it.

use super::{BatchNormLayer, ParameterValues};
use crate::error::{BindError, Error, LayerError};
use crate::problem::count;

/// The layer before a batch norm, for [`BatchNormLayer::fold_into`]: its kind, weight and bias. They are row-major, with
/// PyTorch's layout. The kind says along which axis of the weight the output channels are.
///
/// | constructor | shape of the weight | PyTorch |
/// |---|---|---|
/// | [`LayerBefore::linear`] | `[out, in]` | `Linear` |
/// | [`LayerBefore::convolution`] | `[out, in / groups, ...]` | `Conv1d` to `3d` |
/// | [`LayerBefore::transposed_convolution`] | `[in, out / groups, ...]` | `ConvTranspose1d` to `3d` |
#[derive(Debug, Clone, Copy)]
pub struct LayerBefore<'a> {
    kind: Before,
    shape: &'a [usize],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    groups: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Before {
    Linear,
    Convolution,
    Transposed,
}

impl<'a> LayerBefore<'a> {
    /// A linear layer, with a weight of shape `[out, in]`.
    #[must_use]
    pub fn linear(shape: &'a [usize], weight: &'a [f32]) -> Self {
        Self { kind: Before::Linear, shape, weight, bias: None, groups: 1 }
    }

    /// A convolution, with a weight of shape `[out, in / groups, ...]`.
    #[must_use]
    pub fn convolution(shape: &'a [usize], weight: &'a [f32]) -> Self {
        Self { kind: Before::Convolution, ..Self::linear(shape, weight) }
    }

    /// A transposed convolution, with a weight of shape `[in, out / groups, ...]`.
    #[must_use]
    pub fn transposed_convolution(shape: &'a [usize], weight: &'a [f32]) -> Self {
        Self { kind: Before::Transposed, ..Self::linear(shape, weight) }
    }

    /// Number of channel groups of a convolution. Default 1.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// The bias, one value per output channel. Default none.
    #[must_use]
    pub fn bias(mut self, bias: &'a [f32]) -> Self {
        self.bias = Some(bias);
        self
    }

    /// Refuses what does not end in `channels` channels.
    fn check(&self, layer: &'static str, channels: usize) -> Result<(), Error> {
        let Self { kind, shape, weight, bias, groups } = *self;
        let wrong = |must: String| Err(LayerError::Fold { layer, shape: shape.to_vec(), must }.into());
        let axes = match kind {
            Before::Linear if shape.len() != 2 => Some("have 2 axes, [out, in]"),
            Before::Convolution if shape.len() < 3 => Some("have 3 axes or more, [out, in / groups, ...]"),
            Before::Transposed if shape.len() < 3 => Some("have 3 axes or more, [in, out / groups, ...]"),
            _ => None,
        };
        if let Some(must) = axes {
            return wrong(must.to_owned());
        }
        let divide = match kind {
            Before::Linear => (groups == 1, "1 for a linear layer"),
            Before::Convolution => (groups > 0 && channels.is_multiple_of(groups), "a divisor of the output channels"),
            Before::Transposed => (groups > 0 && shape[0].is_multiple_of(groups), "a divisor of the input channels"),
        };
        if let (false, must) = divide {
            return Err(LayerError::Option { layer, option: "groups", value: groups, must }.into());
        }
        match kind {
            Before::Linear | Before::Convolution if shape[0] != channels => {
                return wrong(format!("have the {channels} channels of the norm along its first axis"));
            }
            Before::Transposed if shape[1].checked_mul(groups) != Some(channels) => {
                return wrong(format!(
                    "have the {channels} channels of the norm, divided by the groups ({groups}), along its second axis"
                ));
            }
            _ => {}
        }
        for (tensor, length, must, shape) in [
            ("weight", weight.len(), count(shape), shape),
            ("bias", bias.map_or(channels, <[f32]>::len), channels as u64, &[channels][..]),
        ] {
            if length as u64 != must {
                return Err(BindError::Length { tensor, length, must, shape: shape.to_vec() }.into());
            }
        }
        Ok(())
    }

    /// The output channel of an element of the weight.
    fn channel(&self, element: usize) -> usize {
        let inner = |axis: usize| self.shape[axis + 1..].iter().product::<usize>();
        match self.kind {
            Before::Linear | Before::Convolution => element / inner(0),
            Before::Transposed => {
                let (input, within) = (element / inner(0), element / inner(1) % self.shape[1]);
                input / (self.shape[0] / self.groups) * self.shape[1] + within
            }
        }
    }
}

/// The weight and bias of a layer with a batch norm folded in.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Folded {
    /// The new weight, of the same shape as the old one.
    pub weight: Vec<f32>,
    /// The new bias, one value per output channel.
    pub bias: Vec<f32>,
}

impl BatchNormLayer {
    /// Folds this norm into the layer before it, for inference. One layer with the returned weight and bias computes the same
    /// as the layer before followed by this norm in eval mode, with its current parameters and running statistics.
    ///
    /// With `s = norm_weight / sqrt(running_var + eps)`, for each output channel, the new weight is `weight * s` and the new bias
    /// is `(bias - running_mean) * s + norm_bias`. Both are computed in float64 and rounded to f32 once.
    ///
    /// The layer's activation is left out, as it comes after both.
    ///
    /// Folding costs accuracy if the products of weight and input have a mean far from zero. The norm subtracts that mean before
    /// it scales; the folded layer subtracts it at the end, by its bias. If the mean is `r` times the standard deviation, expect
    /// errors of about `r * 6e-8` standard deviations, compared with about 1e-7 of the norm. At `r = 10` that does not show, at
    /// `r = 1e4` three digits are left, and at `r = 1e7` none. (A mean that comes from the old bias costs nothing, since it
    /// cancels in float64.)
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::Gpu;
    /// use wgpu_norm::nn::{BatchNormLayer, BatchNormOptions, LayerBefore};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let norm = BatchNormLayer::new_blocking(&gpu, BatchNormOptions::new(2).eps(0.0))?;
    /// gpu.queue().write_buffer(norm.running_mean().unwrap(), 0, bytemuck::cast_slice(&[1.0f32, 0.0]));
    /// gpu.queue().write_buffer(norm.running_var().unwrap(), 0, bytemuck::cast_slice(&[4.0f32, 1.0]));
    /// let linear = LayerBefore::linear(&[2, 3], &[2.0, 4.0, 6.0, 5.0, 5.0, 5.0]).bias(&[3.0, 0.5]);
    /// let folded = norm.fold_into_blocking(&linear)?;
    /// assert_eq!(folded.weight, [1.0, 2.0, 3.0, 5.0, 5.0, 5.0]);
    /// assert_eq!(folded.bias, [1.0, 0.5]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Layer`] if this layer keeps no running statistics, or if the layer before has another number of output channels.
    /// [`BindError::Length`] if the length of its weight or bias does not match its shape. [`Error::Run`] if the device is out
    /// of memory or lost.
    pub async fn fold_into(&self, before: &LayerBefore<'_>) -> Result<Folded, Error> {
        let layer = "BatchNorm";
        let Some(running) = self.running_statistics().await? else {
            return Err(LayerError::Untracked { layer }.into());
        };
        before.check(layer, running.mean.len())?;
        let ParameterValues { weight: scale, bias: shift } = self.parameters().await?;
        let wide = |values: Option<&[f32]>, channel: usize, default: f64| {
            values.and_then(|values| values.get(channel)).map_or(default, |&value| f64::from(value))
        };
        let eps = f64::from(self.options().epsilon());
        let mut factors = Vec::new();
        let mut folded = Folded { weight: Vec::with_capacity(before.weight.len()), bias: Vec::new() };
        for (channel, (&mean, &var)) in running.mean.iter().zip(&running.var).enumerate() {
            let factor = wide(scale.as_deref(), channel, 1.0) / (f64::from(var) + eps).sqrt();
            let centred = wide(before.bias, channel, 0.0) - f64::from(mean);
            folded.bias.push((centred * factor + wide(shift.as_deref(), channel, 0.0)) as f32);
            factors.push(factor);
        }
        let elements = before.weight.iter().enumerate();
        folded.weight.extend(elements.map(|(i, &weight)| (f64::from(weight) * factors[before.channel(i)]) as f32));
        Ok(folded)
    }

    /// [`BatchNormLayer::fold_into`], blocking.
    ///
    /// # Errors
    ///
    /// As [`BatchNormLayer::fold_into`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn fold_into_blocking(&self, before: &LayerBefore<'_>) -> Result<Folded, Error> {
        pollster::block_on(self.fold_into(before))
    }
}
