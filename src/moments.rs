//! Statistics that can be merged: what batch norm over several devices, or over a batch cut into several, is made of.

/// The number, mean and sum of squared deviations of some values; what
/// [`Context::plan_moments`](crate::Context::plan_moments) writes for each group, 16 bytes each.
///
/// The mean is `shift + delta`: one f32 would be off by 0.03 at a mean of 1e6. (Of RMS and L2 norm, which subtract no mean,
/// `m2` is the sum of squares, of L1 norm that of magnitudes, and `shift` and `delta` are 0.)
///
/// Chan, Golub and LeVeque, *Updating Formulae and a Pairwise Algorithm for Computing Sample Variances*, 1979.
///
/// ```
/// use wgpu_norm::Moments;
///
/// let (one, other) = (Moments::of(&[1.0, 2.0, 3.0]), Moments::of(&[10.0]));
/// let both = one.merge(other).unwrap();
/// assert_eq!((both.count, both.mean(), both.variance()), (4, 4.0, 12.5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Moments {
    /// How many values.
    pub count: u32,
    /// A number near the mean.
    pub shift: f32,
    /// The mean less `shift`.
    pub delta: f32,
    /// The sum of squared deviations from the mean.
    pub m2: f32,
}

impl Moments {
    /// Those of some values, in float64 and by two passes; no more than 2^32 - 1 of them.
    #[must_use]
    pub fn of(values: &[f32]) -> Self {
        let Ok(count) = u32::try_from(values.len()) else { return Self { m2: f32::NAN, ..Self::default() } };
        if count == 0 {
            return Self::default();
        }
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / f64::from(count);
        let m2 = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
        Self::new(count, mean, m2)
    }

    fn new(count: u32, mean: f64, m2: f64) -> Self {
        let shift = mean as f32;
        // An infinite mean is kept whole in the shift.
        let delta = if shift.is_finite() { (mean - f64::from(shift)) as f32 } else { 0.0 };
        Self { count, shift, delta, m2: m2 as f32 }
    }

    /// The mean; 0 of no values.
    #[must_use]
    pub fn mean(self) -> f64 {
        f64::from(self.shift) + f64::from(self.delta)
    }

    /// The population variance; NaN of no values.
    #[must_use]
    pub fn variance(self) -> f64 {
        f64::from(self.m2) / f64::from(self.count)
    }

    /// Those of all values of both, computed in float64; none if they are more than 2^32 - 1.
    #[must_use]
    pub fn merge(self, other: Self) -> Option<Self> {
        let count = self.count.checked_add(other.count)?;
        if self.count == 0 || other.count == 0 {
            return Some(if self.count == 0 { other } else { self });
        }
        let apart = other.mean() - self.mean();
        let part = f64::from(other.count) / f64::from(count);
        let m2 = f64::from(self.m2) + f64::from(other.m2) + apart * apart * (f64::from(self.count) * part);
        Some(Self::new(count, self.mean() + apart * part, m2))
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
            let merged = Moments::of(&values[..cut]).merge(Moments::of(&values[cut..])).unwrap();
            assert_eq!(merged.count, whole.count);
            assert!((merged.mean() - whole.mean()).abs() < 1e-7, "{merged:?} {whole:?}");
            assert!((merged.variance() / whole.variance() - 1.0).abs() < 1e-6, "{merged:?} {whole:?}");
        }
    }

    #[test]
    fn too_many_values_are_no_wrong_number() {
        let many = Moments { count: u32::MAX, ..Moments::default() };
        assert_eq!(many.merge(Moments::of(&[1.0])), None);
        assert_eq!(many.merge(Moments::default()), Some(many));
        assert!(Moments::default().variance().is_nan());
    }
}
