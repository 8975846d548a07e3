//! The layer: one of `wgpu_norm::nn` that, where it is a batch norm, goes by the batches of all ranks.

use std::fmt;
use std::rc::Rc;

use wgpu_norm::nn::{self, AnyLayer, BatchNormOptions, GradOutput, Layer, LayerOptions};
use wgpu_norm::{Adapted, Backward, BatchNorm, Bound, LayerError, Merged, Moments, Norm, Operands, View, wgpu};

use crate::error::{Call, Error};
use crate::ranks::Ranks;

/// A batch norm layer by the statistics of all ranks.
pub type SyncBatchNormLayer = SyncLayer<BatchNormOptions>;

/// A layer that, where it is a batch norm by the statistics of its batch, goes by those of the batches of all ranks. A layer of
/// another kind, or a batch norm in eval mode, runs as it does by itself.
///
/// All ranks make it with the same options, and call it in the same order. Unlike the layer inside, it submits by itself: what
/// computes `x` must have been submitted before.
pub struct SyncLayer<K> {
    layer: Layer<K>,
    ranks: Ranks,
    summed: bool,
    /// The same in all that it saves, and in nothing of another's.
    own: Rc<()>,
}

/// A forward pass, for the way back: as [`nn::Saved`].
#[derive(Debug, Clone)]
pub struct Saved(Kept);

#[derive(Debug, Clone)]
enum Kept {
    /// Of a layer by itself.
    Alone(nn::Saved),
    Together {
        of: Rc<()>,
        norm: Adapted<BatchNorm>,
        x: (wgpu::Buffer, u64),
        overwritten: bool,
        statistics: wgpu::Buffer,
    },
}

/// What errors call it.
const NAME: &str = "SyncBatchNorm";

/// Makes all layers of a network go by the batches of all `ranks` where they are batch norms: as PyTorch's
/// `convert_sync_batchnorm`. What they have learned stays.
pub fn convert(layers: impl IntoIterator<Item = AnyLayer>, ranks: &Ranks) -> Vec<SyncLayer<Box<dyn LayerOptions>>> {
    layers.into_iter().map(|layer| SyncLayer::new(layer, ranks)).collect()
}

impl<K: LayerOptions> SyncLayer<K> {
    /// `layer`, by the statistics of all `ranks`.
    #[must_use]
    pub fn new(layer: Layer<K>, ranks: &Ranks) -> Self {
        Self { layer, ranks: ranks.clone(), summed: false, own: Rc::default() }
    }

    /// Backward passes add the sums over all ranks to the gradients of weight and bias, each added up in float64 in the order of the
    /// ranks: the same bits on all. By default they add those of this rank's part, as in PyTorch.
    #[must_use]
    pub fn summed_gradients(mut self) -> Self {
        self.summed = true;
        self
    }

    /// The layer inside, with its parameters, gradients and running statistics. Its own passes know of no other ranks.
    #[must_use]
    pub fn layer(&self) -> &Layer<K> {
        &self.layer
    }

    /// The layer inside, to switch it between training and eval mode, or to freeze it.
    pub fn layer_mut(&mut self) -> &mut Layer<K> {
        &mut self.layer
    }

    /// The layer, by itself again.
    #[must_use]
    pub fn into_layer(self) -> Layer<K> {
        self.layer
    }

    /// Runs the forward pass: reads `x` of this shape and writes `y`, which may be `x` if no backward pass follows. In training mode it
    /// updates the running statistics, to the same bits on all ranks, unless the batch is empty on all.
    ///
    /// It waits for this rank's device once, and for the other ranks.
    ///
    /// # Errors
    ///
    /// [`Error::Norm`] as [`Layer::forward`]. [`Error::Ranks`] if ranks do not come, or come with other channels.
    pub fn forward<'a>(&self, shape: &[usize], x: impl Into<View<'a>>, y: impl Into<View<'a>>) -> Result<Saved, Error> {
        let (layer, gpu, x, y) = (&self.layer, self.layer.gpu(), x.into(), y.into());
        let Some(norm) = layer.batch_norm(shape)? else {
            let bound = layer.bind_forward_blocking(shape, x, y)?;
            let mut saved = None;
            gpu.submit_blocking(|encoder| saved = Some(bound.record(&mut begin(encoder))), &[])?;
            return match saved {
                Some(saved) => Ok(Saved(Kept::Alone(saved))),
                None => Err(LayerError::NotSubmitted { layer: NAME }.into()),
            };
        };
        let context = gpu.context();
        let moments = gpu.upload_blocking("moments", &vec![0.0; 4 * channels(&norm)])?;
        let bound = context.bind(&context.plan_moments(&norm)?, &Operands::of(x).moments(&moments))?;
        let mut sources = vec![("moments", &moments)];
        let running = layer.running_mean().zip(layer.running_var()).zip(layer.num_batches_tracked());
        if let Some(((mean, var), batches)) = running {
            sources.extend([("running_mean", mean), ("running_var", var), ("num_batches_tracked", batches)]);
        }
        let mut found = gpu.submit_blocking(record(&bound), &sources)?.into_iter();
        let mut next = || found.next().unwrap_or_default();
        let all = self.ranks.gather_for(Call::Forward, bytemuck::cast_slice::<f32, Moments>(&next()))?;
        let merged = Merged::new(&norm, &all)?;
        if let Some(((mean, var), batches)) = running.filter(|_| !merged.is_empty()) {
            let (mut new_mean, mut new_var) = (next(), next());
            let mut count = next().first().map_or(0, |count| count.to_bits());
            merged.track(&mut new_mean, &mut new_var, Some(&mut count))?;
            gpu.queue().write_buffer(mean, 0, bytemuck::cast_slice(&new_mean));
            gpu.queue().write_buffer(var, 0, bytemuck::cast_slice(&new_var));
            gpu.queue().write_buffer(batches, 0, bytemuck::bytes_of(&count));
        }
        let statistics = gpu.upload_blocking("statistics", merged.statistics())?;
        let mut operands = Operands::new(x, y).statistics(&statistics);
        if let Some(weight) = layer.weight() {
            operands = operands.weight(weight);
        }
        if let Some(bias) = layer.bias() {
            operands = operands.bias(bias);
        }
        let bound = context.bind(&context.plan_from_statistics(&norm)?, &operands)?;
        gpu.submit_blocking(record(&bound), &[])?;
        let overwritten = x.buffer() == y.buffer() && x.offset() == y.offset();
        let x = (x.buffer().clone(), x.offset());
        Ok(Saved(Kept::Together { of: self.own.clone(), norm, x, overwritten, statistics }))
    }

    /// Runs the backward pass of the forward pass that returned `saved`: writes the gradient of `x` if that is wanted, and adds to the
    /// gradients of weight and bias. The content of `x` must not have changed.
    ///
    /// It waits for this rank's device once, and for the other ranks.
    ///
    /// # Errors
    ///
    /// [`Error::Norm`] as [`Layer::backward`]. [`Error::Ranks`] if ranks do not come, or come with other channels.
    pub fn backward(&self, saved: &Saved, gradients: GradOutput<'_>) -> Result<(), Error> {
        let (layer, gpu) = (&self.layer, self.layer.gpu());
        let (norm, x, statistics) = match &saved.0 {
            Kept::Alone(saved) => {
                let mut recorded = Ok(());
                let record = |encoder: &mut wgpu::CommandEncoder| {
                    recorded = layer.backward(&mut begin(encoder), saved, gradients);
                };
                gpu.submit_blocking(record, &[])?;
                return Ok(recorded?);
            }
            Kept::Together { of, .. } if !Rc::ptr_eq(of, &self.own) => {
                return Err(LayerError::Foreign { layer: NAME }.into());
            }
            Kept::Together { overwritten: true, .. } => return Err(LayerError::Overwritten { layer: NAME }.into()),
            Kept::Together { norm, x: (x, offset), statistics, .. } => (norm, View::new(x, *offset), statistics),
        };
        let (context, channels) = (gpu.context(), channels(norm));
        let mut operands = Operands::backward(gradients.grad_output, x).statistics(statistics);
        if let Some(weight) = layer.weight() {
            operands = operands.weight(weight);
        }
        if let Some(bias) = layer.bias().filter(|_| layer.activation().is_some()) {
            operands = operands.bias(bias);
        }
        let back = operands;

        // Those that are learned, and where this rank's own go: to what is there, or apart if they are summed first.
        let learned = |gradient| if layer.is_frozen() { None } else { gradient };
        let of_layer = [learned(layer.grad_weight()), learned(layer.grad_bias())];
        let apart = || gpu.upload_blocking("gradient", &vec![0.0; channels]);
        let mut of_rank = Vec::new();
        for gradient in of_layer {
            of_rank.push(match gradient {
                Some(_) if self.summed => Some(apart()?),
                gradient => gradient.cloned(),
            });
        }
        let mut wanted = if self.summed { Backward::new() } else { Backward::new().accumulate() };
        match &of_rank[0] {
            Some(gradient) => operands = operands.grad_weight(gradient),
            None => wanted = wanted.without_weight(),
        }
        match &of_rank[1] {
            Some(gradient) => operands = operands.grad_bias(gradient),
            None => wanted = wanted.without_bias(),
        }
        let sums = gpu.upload_blocking("sums", &vec![0.0; 2 * channels])?;
        let bound = context.bind(&context.plan_backward_sums(norm, wanted)?, &operands.sums(&sums))?;

        // The sums, and this rank's gradients with those that are there, if they are summed.
        let summed: Vec<_> =
            of_layer.into_iter().flatten().zip(of_rank.iter().flatten()).filter(|_| self.summed).collect();
        let mut sources = vec![("sums", &sums)];
        sources.extend(summed.iter().map(|(_, own)| ("gradient", *own)));
        sources.extend(summed.iter().map(|(old, _)| ("gradient", *old)));
        let mut found = gpu.submit_blocking(record(&bound), &sources)?;
        let old = found.split_off(1 + summed.len());
        let together: Vec<f64> = self.ranks.sum_for(Call::Backward, &found.concat())?;
        let (of_groups, of_parameters) = together.split_at(2 * channels);
        for (((gradient, _), old), sum) in summed.iter().zip(old).zip(of_parameters.chunks(channels.max(1))) {
            let new: Vec<f32> = old.iter().zip(sum).map(|(old, sum)| (f64::from(*old) + sum) as f32).collect();
            gpu.queue().write_buffer(gradient, 0, bytemuck::cast_slice(&new));
        }
        let Some(grad_input) = gradients.grad_input else { return Ok(()) };
        let of_groups: Vec<f32> = of_groups.iter().map(|&sum| sum as f32).collect();
        gpu.queue().write_buffer(&sums, 0, bytemuck::cast_slice(&of_groups));
        let plan = context.plan_backward_from_sums(norm, 1)?;
        let bound = context.bind(&plan, &back.sums(&sums).grad_input(grad_input))?;
        gpu.submit_blocking(record(&bound), &[])?;
        Ok(())
    }
}

impl<K: LayerOptions> fmt::Debug for SyncLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncLayer({:?}, {:?})", self.layer, self.ranks)
    }
}

fn channels(norm: &dyn Norm) -> usize {
    norm.parameter_shape().iter().product()
}

fn begin(encoder: &mut wgpu::CommandEncoder) -> wgpu::ComputePass<'_> {
    encoder.begin_compute_pass(&Default::default())
}

fn record(bound: &Bound) -> impl FnOnce(&mut wgpu::CommandEncoder) {
    |encoder| bound.record(&mut begin(encoder))
}
