//! Batch norm as a part of what comes before it.

use super::{BatchNormLayer, ParameterValues};
use crate::error::{Error, LayerError};

/// The weight and bias of a linear layer or convolution that normalizes as well.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Folded {
    /// As the one before, with the output channels along its first axis.
    pub weight: Vec<f32>,
    /// One for each output channel.
    pub bias: Vec<f32>,
}

impl BatchNormLayer {
    /// The linear layer or convolution before this norm, with the norm folded in, for inference: its output is what this layer
    /// in evaluation makes of the output of the one before.
    ///
    /// `weight` has the output channels along its first axis, as in PyTorch's `Linear` (`[out, in]`) and `Conv1d` to `3d`
    /// (`[out, in / groups, ...]`); `bias` has one value for each, or is left out. (A transposed convolution has them along
    /// its second axis and does not fold like this.) The parameters and running statistics are those that the layer has now.
    ///
    /// With `s = norm_weight / sqrt(running_var + eps)` the new weight is `weight * s` and the new bias
    /// `(bias - running_mean) * s + norm_bias`, computed in float64 and rounded to f32 once.
    ///
    /// What it costs: the norm takes the mean out before it scales, which keeps its digits; here the products of weight and
    /// input carry the mean, and the bias takes it out at the end. Where these products have a mean of `r` times their
    /// deviation, expect errors of about `r * 6e-8` deviations, from the rounding of the weights alone, where the norm has some
    /// 1e-7: at r = 10 nobody sees it, at r = 1e4 three digits are left, at r = 1e7 none. (A mean that comes from the bias before
    /// costs nothing: it cancels in float64, here.)
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::Gpu;
    /// use wgpu_norm::nn::{BatchNormLayer, BatchNormOptions};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let norm = BatchNormLayer::new_blocking(&gpu, BatchNormOptions::new(2).eps(0.0))?;
    /// gpu.queue().write_buffer(norm.running_mean().unwrap(), 0, bytemuck::cast_slice(&[1.0f32, 0.0]));
    /// gpu.queue().write_buffer(norm.running_var().unwrap(), 0, bytemuck::cast_slice(&[4.0f32, 1.0]));
    /// let folded = norm.fold_into_blocking(&[2.0, 4.0, 6.0, 5.0, 5.0, 5.0], Some(&[3.0, 0.5]))?;
    /// assert_eq!(folded.weight, [1.0, 2.0, 3.0, 5.0, 5.0, 5.0]);
    /// assert_eq!(folded.bias, [1.0, 0.5]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Layer`] if the layer keeps no running statistics or a length is none of its channels', [`Error::Run`] if the
    /// device has no room or is lost.
    pub async fn fold_into(&self, weight: &[f32], bias: Option<&[f32]>) -> Result<Folded, Error> {
        let layer = "BatchNorm";
        let Some(running) = self.running_statistics().await? else {
            return Err(LayerError::Untracked { layer }.into());
        };
        let channels = running.mean.len();
        let wrong = |tensor, length, must| Err(LayerError::Fold { layer, tensor, length, must }.into());
        if weight.is_empty() || !weight.len().is_multiple_of(channels) {
            return wrong("weight", weight.len(), format!("as many for each of {channels} output channels"));
        }
        if let Some(bias) = bias.filter(|bias| bias.len() != channels) {
            return wrong("bias", bias.len(), format!("{channels}, one for each output channel"));
        }
        let ParameterValues { weight: scale, bias: shift } = self.parameters().await?;
        let wide = |values: &Option<Vec<f32>>, channel: usize, default: f64| {
            values.as_ref().and_then(|values| values.get(channel)).map_or(default, |&value| f64::from(value))
        };
        let eps = f64::from(self.options().epsilon());
        let mut folded = Folded { weight: Vec::with_capacity(weight.len()), bias: Vec::with_capacity(channels) };
        let rows = weight.chunks_exact(weight.len() / channels);
        for (channel, ((row, &mean), &var)) in rows.zip(&running.mean).zip(&running.var).enumerate() {
            let factor = wide(&scale, channel, 1.0) / (f64::from(var) + eps).sqrt();
            let before = bias.and_then(|bias| bias.get(channel)).map_or(0.0, |&bias| f64::from(bias));
            folded.weight.extend(row.iter().map(|&weight| (f64::from(weight) * factor) as f32));
            folded.bias.push(((before - f64::from(mean)) * factor + wide(&shift, channel, 0.0)) as f32);
        }
        Ok(folded)
    }

    /// [`BatchNormLayer::fold_into`], blocking.
    ///
    /// # Errors
    ///
    /// As [`BatchNormLayer::fold_into`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn fold_into_blocking(&self, weight: &[f32], bias: Option<&[f32]>) -> Result<Folded, Error> {
        pollster::block_on(self.fold_into(weight, bias))
    }
}
