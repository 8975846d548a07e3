//! Random numbers that are the same on every run.

use ndarray::{ArrayD, IxDyn};

/// Seeded by the number it holds.
pub struct Numbers(u64);

impl Numbers {
    /// Of a seed that goes by the shape.
    pub fn of(shape: &[usize]) -> Self {
        Self(shape.iter().fold(1, |seed: u64, &length| seed.wrapping_mul(31).wrapping_add(length as u64)))
    }

    /// Near enough to normal: the sum of four uniforms.
    pub fn normal(&mut self, shape: &[usize], mean: f32, std: f32) -> ArrayD<f32> {
        ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            let sum: f64 = (0..4).map(|_| self.uniform() - 0.5).sum();
            (f64::from(mean) + f64::from(std) * sum * 3f64.sqrt()) as f32
        })
    }

    /// In 0 to 1 (splitmix64).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
