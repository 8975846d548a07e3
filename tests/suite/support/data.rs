//! Numbers for tests.

use wgpu_norm::ndarray::{ArrayD, IxDyn};

/// Numbers that are the same on every run.
pub struct Data(u64);

impl Data {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// In 0 to 1 (xorshift*).
    pub fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }

    /// Near enough to normal: the sum of four uniforms.
    pub fn normal(&mut self, shape: &[usize], mean: f32, std: f32) -> ArrayD<f32> {
        ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            let sum: f64 = (0..4).map(|_| self.uniform() - 0.5).sum();
            (f64::from(mean) + f64::from(std) * sum * 3f64.sqrt()) as f32
        })
    }
}
