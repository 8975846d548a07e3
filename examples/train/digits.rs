//! The handwritten digits of `assets/digits.npy`, and draws of numbers.

use std::error::Error;

pub const PIXELS: usize = 64;
pub const CLASSES: usize = 10;

/// Images in 0 to 1, row after row, and what they show.
#[derive(Default)]
pub struct Digits {
    pub pixels: Vec<f32>,
    pub labels: Vec<f32>,
}

impl Digits {
    /// All of them, in a fixed order without meaning: the last `held_out` apart.
    pub fn load(held_out: usize) -> Result<[Self; 2], Box<dyn Error>> {
        let bytes: Vec<u8> = npyz::NpyFile::new(&include_bytes!("../../assets/digits.npy")[..])?.into_vec()?;
        let mut rows: Vec<_> = bytes.chunks_exact(PIXELS + 1).collect();
        Draws::new(0).shuffle(&mut rows);
        let (known, unseen) = rows.split_at(rows.len().saturating_sub(held_out));
        Ok([known, unseen].map(|rows| {
            let pixels = rows.iter().flat_map(|row| row[..PIXELS].iter().map(|&pixel| f32::from(pixel) / 16.0));
            Self { pixels: pixels.collect(), labels: rows.iter().map(|row| f32::from(row[PIXELS])).collect() }
        }))
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The images at these places.
    pub fn select(&self, places: &[usize]) -> Self {
        Self {
            pixels: places.iter().flat_map(|&at| self.pixels[at * PIXELS..][..PIXELS].iter().copied()).collect(),
            labels: places.iter().map(|&at| self.labels[at]).collect(),
        }
    }
}

/// Random numbers that are the same on every run (SplitMix64).
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In 0 to 1, and not 1.
    fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Box and Muller's.
    pub fn normal(&mut self) -> f32 {
        let (one, other) = (1.0 - self.uniform(), self.uniform());
        ((-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()) as f32
    }

    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, (self.uniform() * (last + 1) as f64) as usize);
        }
    }
}
