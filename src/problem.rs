//! What an engine is asked: a norm as a block, what to divide by, where statistics come from, and the task. `norm` makes it; it
//! knows no norm.

use crate::backward::Backward;
use crate::block::{AffineIndex, Block};
use crate::element::Storage;
use crate::epilogue::Activation;
use crate::error::SpecError;
use crate::modulation::Modulated;
use crate::strides::Placement;

/// Whether the mean is subtracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Centering {
    /// Mean and variance.
    Mean,
    /// The mean of squares alone.
    None,
}

/// What centred elements are divided by; the numbers are those of `shaders/shared/factor.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scaling {
    /// `sqrt(variance + eps)`, the mean square where nothing is subtracted.
    Variance = 0,
    /// `sqrt(variance) + eps`.
    Deviation = 1,
    /// `max(sqrt(sum of squares), eps)`.
    L2 = 2,
    /// `max(sum of magnitudes, eps)`.
    L1 = 3,
}

/// Where the statistics come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Source {
    /// From `x`.
    Batch,
    /// From `x`, and running statistics are updated.
    Tracked(Tracking),
    /// From the running statistics.
    Running,
}

/// How running statistics are updated: `keep * old + take * batch`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tracking {
    pub(crate) momentum: Momentum,
    pub(crate) estimator: VarianceEstimator,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// `x` becomes `y`.
    Forward,
    /// The moments of each group.
    Moments,
    /// `x` becomes `y`, by the moments of so many parts.
    FromMoments { parts: u64 },
    /// `x` becomes `y`, by statistics that are given.
    FromStatistics,
    /// Gradients.
    Backward(Backward),
    /// The two sums that the gradient of `x` needs of each group, and the gradients of weight and bias.
    BackwardSums(Backward),
    /// The gradient of `x`, by those sums of so many parts.
    FromSums { wanted: Backward, parts: u64 },
}

/// Everything the planner needs to know of a norm.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(crate) norm: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) parameter_shape: Vec<usize>,
    pub(crate) statistics_shape: Vec<usize>,
    /// That of the statistics as they are saved, four numbers each.
    pub(crate) record_shape: Vec<usize>,
    /// Those of the moments, and of the sums, that the caller keeps.
    pub(crate) moments_shape: Vec<usize>,
    pub(crate) sums_shape: Vec<usize>,
    pub(crate) task: Task,
    pub(crate) block: Block,
    pub(crate) index: AffineIndex,
    pub(crate) centering: Centering,
    pub(crate) scaling: Scaling,
    /// Whether it can have weight and bias.
    pub(crate) affine: bool,
    pub(crate) source: Source,
    /// What follows weight and bias.
    pub(crate) activation: Option<Activation>,
    /// What comes between the two.
    pub(crate) modulation: Option<Modulated>,
    /// Whether a tensor of the size of `x` is added before the activation.
    pub(crate) skip: bool,
    pub(crate) storage: Storage,
    pub(crate) placement: Placement,
    /// The least of all, where segments have their own.
    pub(crate) eps: f32,
    /// None unless heads differ in weight and `eps`.
    pub(crate) segments: Vec<Segment>,
    pub(crate) weight_offset: f32,
    pub(crate) rounding: Rounding,
}

/// Heads, side by side along `b` modulo the period of the weights, that share one weight and have an `eps` of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    pub(crate) heads: u64,
    pub(crate) eps: f32,
}

impl Segment {
    /// As many as a shader tells apart.
    pub(crate) const MOST: usize = 4;
}

/// How running statistics are updated from each batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Momentum(pub(crate) Average);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Average {
    Exponential { given: f32, keep: f32, take: f32 },
    Cumulative,
}

impl Momentum {
    /// PyTorch's momentum, the share of the new batch: `running = (1 - momentum) * running + momentum * batch`. Must be in 0
    /// to 1, which is checked when planning.
    #[must_use]
    pub fn exponential(momentum: f32) -> Self {
        // In f64, so that the two parts of 0.1 are the nearest f32 to 0.9 and 0.1.
        Self(Average::Exponential { given: momentum, keep: (1.0 - f64::from(momentum)) as f32, take: momentum })
    }

    /// ONNX's momentum, the share of the old value: `running = momentum * running + (1 - momentum) * batch`. Must be in 0 to
    /// 1, which is checked when planning.
    #[must_use]
    pub fn onnx(momentum: f32) -> Self {
        Self(Average::Exponential { given: momentum, keep: momentum, take: (1.0 - f64::from(momentum)) as f32 })
    }

    /// The average of all batches so far, with equal weights: PyTorch's `momentum=None`. Requires `num_batches_tracked`.
    #[must_use]
    pub fn cumulative() -> Self {
        Self(Average::Cumulative)
    }
}

impl From<f32> for Momentum {
    /// [`Momentum::exponential`].
    fn from(momentum: f32) -> Self {
        Self::exponential(momentum)
    }
}

/// When results of 16 bits are rounded, of norms over the last axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Rounding {
    /// Once, at the end: the order of Gemma's layers, and of PyTorch's.
    #[default]
    AtEnd,
    /// The normalized values are rounded to the type of `x` before they are multiplied by the weight, and the result once more: the order
    /// of Llama's `RMSNorm`. `x` must be of 16 bits, which is checked when planning. Backward passes are those of the function without
    /// any rounding, whatever this says.
    BeforeWeight,
}

/// Which variance of the batch updates the running variance. The normalization itself always uses the biased one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VarianceEstimator {
    /// Divided by `n`: the population variance, as in ONNX.
    #[default]
    Biased,
    /// Divided by `n - 1`: the sample variance, as in PyTorch. With one value per channel the result is 0.
    Unbiased,
}

impl Problem {
    /// The mean square below which squares that vanish would show, so that statistics are taken again at a larger scale; 0 where
    /// `eps` makes up for it.
    pub(crate) fn least_square(&self) -> f32 {
        let eps = if self.scaling == Scaling::Variance { self.eps } else { self.eps * self.eps };
        if eps < f32::powi(2.0, -78) { f32::powi(2.0, -102) } else { 0.0 }
    }

    /// Refuses a rounding to a type that there is not, or that kernels do not have.
    pub(crate) fn checked(self) -> Result<Self, SpecError> {
        if self.rounding == Rounding::BeforeWeight {
            let norm = self.norm;
            if self.storage.short().is_none() {
                return Err(SpecError::Rounding { norm, must: "at the end where x is f32, which is not rounded to" });
            }
            if self.block.r != 1 || self.block.k != 1 {
                return Err(SpecError::Rounding { norm, must: "at the end, unless the norm is over the last axes" });
            }
        }
        Ok(self)
    }

    /// Whether normalized values are rounded before their weight.
    pub(crate) fn rounds_before_weight(&self) -> bool {
        self.rounding == Rounding::BeforeWeight && self.gradients().is_none()
    }

    /// Elements of weight, and of bias.
    pub(crate) fn parameters(&self) -> u64 {
        if self.affine { count(&self.parameter_shape) } else { 0 }
    }

    /// The gradients of this norm, `wanted` of them.
    pub(crate) fn backward(self, wanted: Backward) -> Result<Self, SpecError> {
        let norm = self.norm;
        if self.scaling != Scaling::Variance {
            return Err(SpecError::NoBackward { norm });
        }
        // A norm without parameters has no gradients of them, and batch norm's statistics are given in eval mode.
        let parameters = self.affine;
        let modulation = wanted.modulation && self.modulation.is_some();
        let wanted =
            Backward { weight: wanted.weight && parameters, bias: wanted.bias && parameters, modulation, ..wanted };
        if self.source == Source::Running && wanted.saved {
            return Err(SpecError::SavedRunning { norm });
        }
        if wanted.goes_before() {
            let refused = |must| Err(SpecError::Gate { norm, must });
            match &self.modulation {
                None => return refused("of a norm that Norm::modulated made"),
                Some(_) if !wanted.input => return refused("planned with that of x, which they go by"),
                Some(modulated) if modulated.by_number().is_none() => return refused("of at most 2^22 numbers"),
                Some(_) => {}
            }
        }
        if !wanted.input && !wanted.parameters() && !modulation {
            return Err(SpecError::NoGradients { norm });
        }
        Ok(Self { task: Task::Backward(wanted), ..self })
    }

    /// This problem for gradients that overwrite what later passes would still read; none if the usual plan will do.
    pub(crate) fn overwriting(&self, overwrites: bool) -> Option<Self> {
        let wanted = self
            .gradients()
            .filter(|wanted| overwrites && (wanted.parameters() || wanted.modulation) && !wanted.saved)?;
        Some(Self { task: Task::Backward(Backward { overwrites: true, ..wanted }), ..self.clone() })
    }

    /// What of a backward pass is wanted.
    pub(crate) fn gradients(&self) -> Option<Backward> {
        match self.task {
            Task::Forward | Task::Moments | Task::FromMoments { .. } | Task::FromStatistics => None,
            Task::Backward(wanted) | Task::BackwardSums(wanted) | Task::FromSums { wanted, .. } => Some(wanted),
        }
    }

    /// The moments of each group alone.
    pub(crate) fn moments(self) -> Result<Self, SpecError> {
        if self.source == Source::Running {
            return Err(SpecError::RunningMoments { norm: self.norm });
        }
        Ok(Self { task: Task::Moments, ..self })
    }

    /// This norm, from the moments of `parts` parts.
    pub(crate) fn by_moments(self, parts: usize) -> Result<Self, SpecError> {
        let Self { moments_shape, norm, .. } = self.clone().moments()?;
        let moments_shape = some_parts(norm, parts, &moments_shape)?;
        Ok(Self { task: Task::FromMoments { parts: parts as u64 }, moments_shape, ..self })
    }

    /// This norm, by statistics that are given.
    pub(crate) fn by_statistics(self) -> Result<Self, SpecError> {
        Ok(Self { task: Task::FromStatistics, ..self.moments()? })
    }

    /// The sums over its groups that the gradients of every part need.
    pub(crate) fn backward_sums(self, wanted: Backward) -> Result<Self, SpecError> {
        if wanted.goes_before() {
            let must = "left out of plans for parts of a batch, where grad_input comes later";
            return Err(SpecError::Gate { norm: self.norm, must });
        }
        let problem = self.moments()?.backward(Backward { input: true, saved: true, ..wanted })?;
        let wanted = problem.gradients().map_or(wanted, |wanted| Backward { input: false, ..wanted });
        Ok(Self { task: Task::BackwardSums(wanted), ..problem })
    }

    /// The gradient of `x`, from the sums of `parts` parts.
    pub(crate) fn by_sums(self, parts: usize) -> Result<Self, SpecError> {
        let wanted = Backward { input: true, weight: false, bias: false, saved: true, ..Backward::new() };
        let problem = self.moments()?.backward(wanted)?;
        let sums_shape = some_parts(problem.norm, parts, &problem.sums_shape)?;
        Ok(Self { task: Task::FromSums { wanted, parts: parts as u64 }, sums_shape, ..problem })
    }

    /// Whether gradients go by what the norm gives, and so by the bias: to the slope of an activation, or to the gradient of a scale.
    pub(crate) fn goes_by_bias(&self) -> bool {
        self.activation.is_some() || self.modulation.is_some()
    }

    /// Whether a backward pass gives the gradient of the skip, which is another than that of `y`.
    pub(crate) fn passes_skip(&self) -> bool {
        self.skip && self.activation.is_some() && self.gradients().is_some_and(|wanted| wanted.input)
    }

    /// Whether running statistics are the average of all batches so far.
    pub(crate) fn averages_all(&self) -> bool {
        matches!(self.source, Source::Tracked(tracking) if tracking.momentum.0 == Average::Cumulative)
    }
}

/// `parts` of this shape.
fn some_parts(norm: &'static str, parts: usize, shape: &[usize]) -> Result<Vec<usize>, SpecError> {
    let whole: Vec<usize> = std::iter::once(parts).chain(shape.iter().copied()).collect();
    if parts == 0 || check_shape(norm, &whole).is_err() {
        return Err(SpecError::Parts { norm, parts, limit: MAX_ELEMENTS });
    }
    Ok(whole)
}

/// The elements of a shape. Of one that [`check_shape`] did not accept, at most the largest count.
pub(crate) fn count(shape: &[usize]) -> u64 {
    shape.iter().fold(1, |elements, &n| elements.saturating_mul(n as u64))
}

/// Shaders address elements with u32, and lanes without work count a little past the last.
const MAX_ELEMENTS: u64 = 1 << 31;

/// Refuses scalars and shapes whose elements, or any product of whose axes, shaders cannot count.
pub(crate) fn check_shape(norm: &'static str, shape: &[usize]) -> Result<(), SpecError> {
    if shape.is_empty() {
        return Err(SpecError::ScalarInput { norm });
    }
    // Empty axes are left out: products of the others are formed too.
    let elements = shape.iter().filter(|&&n| n != 0).try_fold(1u64, |product, &n| product.checked_mul(n as u64));
    match elements {
        Some(n) if n <= MAX_ELEMENTS => Ok(()),
        _ => Err(SpecError::TooManyElements { norm, shape: shape.to_vec(), limit: MAX_ELEMENTS }),
    }
}
