//! A group's statistics on the host: what its elements are normalized by, and what running statistics take of them. The one place
//! where moments of parts are merged and become statistics without a shader.

use crate::error::{BindError, Error};
use crate::moments::{Moments, OF_LARGE, OF_SMALL, SCALE_1, Spread, power_of_two, split};
use crate::norm::Norm;
use crate::problem::{Average, Problem, Scaling, Source, VarianceEstimator, count};
use crate::tensors::{Role, shape};

/// What a group is normalized by: `((x * scale - shift) - delta) * factor`.
#[derive(Debug, Clone, Copy, PartialEq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Statistics {
    pub(crate) count: f64,
    pub(crate) scale: f32,
    pub(crate) shift: f32,
    pub(crate) delta: f32,
    pub(crate) factor: f32,
}

impl Statistics {
    /// As they are saved.
    pub(crate) fn packed(self) -> [f32; 4] {
        let of_count = [OF_SMALL, OF_LARGE].iter().find(|scale| scale.of_values as f32 == self.scale);
        let count = self.count * of_count.map_or(1.0, |scale| scale.of_count);
        [count as f32, self.shift, self.delta, self.factor]
    }
}

/// What centred elements are divided by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Divisor {
    pub(crate) scaling: Scaling,
    pub(crate) eps: f64,
    /// The mean square below which values are taken at a larger scale.
    pub(crate) least: f64,
}

impl Divisor {
    pub(crate) fn new(problem: &Problem) -> Self {
        Self { scaling: problem.scaling, eps: problem.eps.into(), least: problem.least_square().into() }
    }

    /// What elements are multiplied by.
    #[inline]
    pub(crate) fn rstd(&self, spread: Spread) -> f64 {
        let inverse = |length: f64| {
            // A length of 0 belongs to zeros, which stay so. NaN stays NaN.
            let divisor = if length < self.eps { self.eps } else { length };
            if divisor == 0.0 { 0.0 } else { 1.0 / divisor }
        };
        match self.scaling {
            Scaling::Variance => 1.0 / (spread.sum / spread.count + self.eps).sqrt(),
            Scaling::Deviation => 1.0 / ((spread.sum / spread.count).sqrt() + self.eps),
            Scaling::L2 => inverse(spread.sum.sqrt()),
            Scaling::L1 => inverse(spread.sum),
        }
    }

    /// Sums below `least` times the count are small, so that their scale is another, as are large ones, whose roots may be no
    /// normal f32.
    #[inline]
    pub(crate) fn statistics(&self, spread: Spread) -> Statistics {
        let Spread { count, mean, sum } = spread;
        let scale = if sum > power_of_two(100) {
            OF_LARGE
        } else if sum < count * self.least && mean.abs() < 1.0 {
            OF_SMALL
        } else {
            SCALE_1
        };
        let (shift, delta) = split(mean * scale.of_values);
        let factor = (self.rstd(spread) / scale.of_values) as f32;
        Statistics { count, scale: scale.of_values as f32, shift, delta, factor }
    }
}

/// How running statistics take a batch in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    keep: f64,
    take: f64,
    /// What the count is less in the divisor of the variance.
    less: f64,
}

impl Update {
    /// None for a norm that keeps no running statistics. `batches` is how many they include.
    pub(crate) fn new(problem: &Problem, batches: Option<u32>) -> Option<Self> {
        let Source::Tracked(tracking) = problem.source else { return None };
        let (keep, take) = match tracking.momentum.0 {
            Average::Exponential { keep, take, .. } => (f64::from(keep), f64::from(take)),
            Average::Cumulative => {
                let take = 1.0 / (f64::from(batches.unwrap_or(0)) + 1.0);
                (1.0 - take, take)
            }
        };
        let less = if tracking.estimator == VarianceEstimator::Unbiased { 1.0 } else { 0.0 };
        Some(Self { keep, take, less })
    }

    /// Of one channel; that of nothing stays.
    pub(crate) fn apply(self, spread: Spread, mean: &mut f32, var: &mut f32) {
        if spread.count == 0.0 {
            return;
        }
        let Self { keep, take, less } = self;
        // One value has no unbiased variance: it is taken as it is.
        let variance = spread.sum / (spread.count - less).max(1.0);
        *mean = (keep * f64::from(*mean) + take * spread.mean) as f32;
        *var = (keep * f64::from(*var) + take * variance) as f32;
    }
}

/// Each group's values in all parts, of which there are as many as there are moments for.
pub(crate) fn merged(moments: &[Moments], groups: usize) -> impl Iterator<Item = Spread> {
    (0..groups).map(move |group| {
        let parts = moments.iter().skip(group).step_by(groups).map(|&part| Spread::from(part));
        parts.fold(Spread::default(), Spread::merge)
    })
}

/// The statistics of a whole batch, merged on the host from the [`Moments`] of its parts.
///
/// All is computed in float64 and in the order of the parts. So whoever merges the same parts has the same bits, whatever devices
/// the parts were on; [`cpu::Plan`](crate::cpu::Plan)s from moments have them as well. A GPU that merges parts by itself
/// ([`Context::plan_from_moments`](crate::Context::plan_from_moments)) may round otherwise.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{BatchNorm, Merged, Moments};
///
/// // Two channels, in two parts of which one is empty.
/// let part = [Moments::of(&[1.0, 3.0]), Moments::of(&[5.0, 5.0])];
/// let merged = Merged::new(&BatchNorm::channels_last(&[2, 2])?, &[part, [Moments::default(); 2]].concat())?;
/// let (mut mean, mut var, mut batches) = ([0.0; 2], [1.0; 2], 0);
/// merged.track(&mut mean, &mut var, Some(&mut batches))?;
/// assert_eq!((mean, var, batches), ([0.2, 0.5], [1.0, 0.9], 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Merged {
    problem: Problem,
    groups: Vec<Spread>,
    statistics: Vec<f32>,
}

impl Merged {
    /// Merges the `moments` of all parts, which lie one part after the other, one for each group of `norm`. Only the options of the
    /// norm and its number of groups matter: that of any part will do.
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] if a parameter of the norm is outside its range, if it is in eval mode, or if there is no part.
    /// [`BindError::Length`] if the last part is not whole.
    pub fn new(norm: &dyn Norm, moments: &[Moments]) -> Result<Self, Error> {
        let problem = norm.lower()?.moments()?;
        let groups = count(&problem.statistics_shape) as usize;
        let parts = moments.len().div_ceil(groups.max(1));
        if parts * groups != moments.len() || parts == 0 && groups > 0 {
            // Refuses no parts, and too many.
            let Problem { moments_shape, .. } = problem.by_moments(parts)?;
            let (tensor, length, must) = ("moments", 4 * moments.len(), count(&moments_shape));
            return Err(BindError::Length { tensor, length, must, shape: moments_shape }.into());
        }
        let divisor = Divisor::new(&problem);
        let groups: Vec<Spread> = merged(moments, groups).collect();
        let statistics = groups.iter().flat_map(|&spread| divisor.statistics(spread).packed()).collect();
        Ok(Self { problem, groups, statistics })
    }

    /// Whether there was no value in any part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.iter().all(|spread| spread.count == 0.0)
    }

    /// Four numbers for each group, as [`Operands::statistics`](crate::Operands::statistics) takes them: for
    /// [`Context::plan_from_statistics`](crate::Context::plan_from_statistics) and the way back.
    #[must_use]
    pub fn statistics(&self) -> &[f32] {
        &self.statistics
    }

    /// Updates running statistics as the norm says, and counts the batch. Those of an empty batch stay as they are.
    ///
    /// # Errors
    ///
    /// [`BindError`] if the norm keeps no running statistics, if there is another number of channels than it has, or if there is no
    /// number of batches, which the cumulative average needs.
    pub fn track(
        &self,
        running_mean: &mut [f32],
        running_var: &mut [f32],
        num_batches_tracked: Option<&mut u32>,
    ) -> Result<(), BindError> {
        let problem = &self.problem;
        let norm = problem.norm;
        let Some(update) = Update::new(problem, num_batches_tracked.as_deref().copied()) else {
            let why = "only BatchNorm, unless made without_tracking(), keeps running statistics";
            return Err(BindError::Unexpected { norm, tensor: Role::RunningMean.name(), why });
        };
        for (role, length) in [(Role::RunningMean, running_mean.len()), (Role::RunningVar, running_var.len())] {
            let (tensor, shape) = (role.name(), shape(problem, role));
            if length != self.groups.len() {
                return Err(BindError::Length { tensor, length, must: count(shape), shape: shape.to_vec() });
            }
        }
        if problem.averages_all() && num_batches_tracked.is_none() {
            let why = "the cumulative average needs it";
            return Err(BindError::Missing { norm, tensor: Role::Batches.name(), why });
        }
        for ((&spread, mean), var) in self.groups.iter().zip(running_mean).zip(running_var) {
            update.apply(spread, mean, var);
        }
        if let Some(batches) = num_batches_tracked.filter(|_| !self.is_empty()) {
            *batches = batches.saturating_add(1);
        }
        Ok(())
    }
}
