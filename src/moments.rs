//! Statistics that can be merged: for batch norm over several devices, or over a batch in several parts.

/// The count, mean and sum of squared deviations of some values. Moments of disjoint parts can be merged into those of the
/// whole.
///
/// [`Context::plan_moments`](crate::Context::plan_moments) writes one for each group. For norms that subtract no mean, the
/// mean is 0, and [`Moments::sum`] is the sum of squares (RMS, L2) or of absolute values (L1).
///
/// The layout is four `f32`, in this order:
///
/// - The count, exact up to 2^24 and rounded beyond. It also encodes the *scale*, a power of two that multiplies the values
///   so that their squares fit an `f32`. At scale 1 it is the count itself. At scale 2^96, for small values, it is the count
///   times 2^64. At scale 2^-84, for large values, it is the count times 2^-64.
/// - `shift`, a number near the mean of the scaled values.
/// - `delta`, that mean minus `shift`. A mean stored as one `f32` would be off by up to 0.03 at a mean of 1e6.
/// - The sum of squared deviations of the scaled values.
///
/// Chan, Golub and LeVeque, *Updating Formulae and a Pairwise Algorithm for Computing Sample Variances*, 1979.
///
/// ```
/// use wgpu_norm::Moments;
///
/// let (one, other) = (Moments::of(&[1.0, 2.0, 3.0]), Moments::of(&[10.0]));
/// let both = one.merge(other);
/// assert_eq!((both.count(), both.mean(), both.variance()), (4.0, 4.0, 12.5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Moments {
    tagged_count: f32,
    shift: f32,
    delta: f32,
    m2: f32,
}

/// What values are taken times, and what then their count is; as in `shaders/shared/record.wgsl`.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) of_values: f64,
    pub(crate) of_count: f64,
}

pub(crate) const SCALE_1: Scale = Scale { of_values: 1.0, of_count: 1.0 };
pub(crate) const OF_SMALL: Scale = Scale { of_values: power_of_two(96), of_count: power_of_two(64) };
pub(crate) const OF_LARGE: Scale = Scale { of_values: power_of_two(-84), of_count: power_of_two(-64) };

pub(crate) const fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// Moments in float64, in which no f32 has a square that overflows or vanishes.
#[derive(Debug, Clone, Copy, PartialEq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Spread {
    pub(crate) count: f64,
    pub(crate) mean: f64,
    /// Of squared deviations, or what else a norm adds up.
    pub(crate) sum: f64,
}

impl Spread {
    /// Of values one by one, in two passes.
    pub(crate) fn of(values: impl Iterator<Item = f32> + Clone) -> Self {
        let count = values.clone().count() as f64;
        if count == 0.0 {
            return Self::default();
        }
        let mean = values.clone().map(f64::from).sum::<f64>() / count;
        let sum = values.map(|v| (f64::from(v) - mean).powi(2)).sum();
        Self { count, mean, sum }
    }

    /// Of the values of both together.
    pub(crate) fn merge(self, other: Self) -> Self {
        if self.count == 0.0 || other.count == 0.0 {
            return if self.count == 0.0 { other } else { self };
        }
        let count = self.count + other.count;
        let apart = other.mean - self.mean;
        let part = other.count / count;
        let sum = self.sum + other.sum + apart * apart * (self.count * part);
        // An infinite mean stays that infinity rather than becoming inf - inf.
        let mean = if apart.is_finite() { self.mean + apart * part } else { self.mean + other.mean };
        Self { count, mean, sum }
    }
}

impl From<Moments> for Spread {
    fn from(moments: Moments) -> Self {
        Self { count: moments.count(), mean: moments.mean(), sum: moments.sum() }
    }
}

impl From<Spread> for Moments {
    fn from(Spread { count, mean, sum }: Spread) -> Self {
        let scale = if sum > f64::from(f32::MAX) {
            OF_LARGE
        } else if sum < count * power_of_two(-102) && mean.abs() < 1.0 {
            OF_SMALL
        } else {
            SCALE_1
        };
        let (shift, delta) = split(mean * scale.of_values);
        let m2 = (sum * scale.of_values * scale.of_values) as f32;
        Self { tagged_count: (count * scale.of_count) as f32, shift, delta, m2 }
    }
}

/// A mean as two f32. An infinite one is kept whole in the first.
pub(crate) fn split(mean: f64) -> (f32, f32) {
    let shift = mean as f32;
    (shift, if shift.is_finite() { (mean - f64::from(shift)) as f32 } else { 0.0 })
}

impl Moments {
    /// The moments of `values`, computed in float64 in two passes.
    #[must_use]
    pub fn of(values: &[f32]) -> Self {
        if values.is_empty() { Self::default() } else { Spread::of(values.iter().copied()).into() }
    }

    fn scale(self) -> Scale {
        scale_of(self.tagged_count)
    }

    /// The number of values, to 24 bits.
    #[must_use]
    pub fn count(self) -> f64 {
        f64::from(self.tagged_count) / self.scale().of_count
    }

    /// The mean; 0 if there are no values.
    #[must_use]
    pub fn mean(self) -> f64 {
        (f64::from(self.shift) + f64::from(self.delta)) / self.scale().of_values
    }

    /// The sum of squared deviations from the mean.
    #[must_use]
    pub fn sum(self) -> f64 {
        f64::from(self.m2) / self.scale().of_values / self.scale().of_values
    }

    /// The population variance; NaN if there are no values.
    #[must_use]
    pub fn variance(self) -> f64 {
        self.sum() / self.count()
    }

    /// The moments of the values of both together, computed in float64.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if self.count() == 0.0 || other.count() == 0.0 {
            return if self.count() == 0.0 { other } else { self };
        }
        Spread::from(self).merge(other.into()).into()
    }
}

/// The scale that a count says.
pub(crate) fn scale_of(tagged_count: f32) -> Scale {
    match tagged_count {
        count if count > f32::powi(2.0, 62) => OF_SMALL,
        count if count > 0.0 && count < 0.5 => OF_LARGE,
        _ => SCALE_1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_from_zero_nothing_is_lost() {
        let values: Vec<f32> = (0..1000).map(|i| 1e6 + (i % 7) as f32 * 0.25).collect();
        let whole = Moments::of(&values);
        for cut in [0, 1, 3, 500, 999, 1000] {
            let merged = Moments::of(&values[..cut]).merge(Moments::of(&values[cut..]));
            assert_eq!(merged.count(), whole.count());
            assert!((merged.mean() - whole.mean()).abs() < 1e-7, "{merged:?} {whole:?}");
            assert!((merged.variance() / whole.variance() - 1.0).abs() < 1e-6, "{merged:?} {whole:?}");
        }
    }

    /// At any scale, and of parts of different ones.
    #[test]
    fn squares_may_be_no_f32() {
        for scale in [1e-36, 1e-25, 1.0, 1e25, 1e38] {
            let values = [1.0f32, 2.0, 3.0].map(|v| v * scale);
            let moments = Moments::of(&values);
            let scale = f64::from(scale);
            assert_eq!(moments.count(), 3.0);
            assert!((moments.mean() / (2.0 * scale) - 1.0).abs() < 1e-6, "{moments:?}");
            assert!((moments.variance() / (2.0 / 3.0 * scale * scale) - 1.0).abs() < 1e-6, "{moments:?}");
        }
        let both = Moments::of(&[1e30, -1e30]).merge(Moments::of(&[1e-30, 3e-30]));
        assert!((both.variance() / 5e59 - 1.0).abs() < 1e-6 && both.count() == 4.0, "{both:?}");
    }

    #[test]
    fn no_values_are_no_moments() {
        let many = Moments { tagged_count: 1e18, ..Moments::default() };
        assert_eq!(many.merge(Moments::default()), many);
        assert_eq!(many.count(), f64::from(1e18f32));
        assert!(Moments::default().variance().is_nan());
        assert_eq!((Moments::default().count(), Moments::default().mean()), (0.0, 0.0));
    }
}
