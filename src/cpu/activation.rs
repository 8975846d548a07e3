//! Activations of one element, in plain arithmetic that compilers vectorize: as `shaders/shared/epilogue.wgsl`.

use crate::epilogue::{
    EXP2_1, EXP2_2, EXP2_3, EXP2_4, EXP2_5, LOG2_E, NORMAL_1, NORMAL_2, NORMAL_3, NORMAL_4, NORMAL_5, NORMAL_DENSITY,
    NORMAL_T, TANH_1, TANH_3,
};

/// An activation, known when loops over elements are compiled.
pub(super) trait Function {
    fn value(y: f32) -> f32;

    /// `dy` times the slope at `y`; of ReLU `dy` or 0.
    fn gradient(dy: f32, y: f32) -> f32;
}

pub(super) struct Relu;
pub(super) struct Silu;
pub(super) struct Gelu;
pub(super) struct GeluTanh;

impl Function for Relu {
    #[inline(always)]
    fn value(y: f32) -> f32 {
        if y < 0.0 { 0.0 } else { y }
    }

    #[inline(always)]
    fn gradient(dy: f32, y: f32) -> f32 {
        if y <= 0.0 { 0.0 } else { dy }
    }
}

impl Function for Silu {
    #[inline(always)]
    fn value(y: f32) -> f32 {
        y / (1.0 + exponential(-y))
    }

    #[inline(always)]
    fn gradient(dy: f32, y: f32) -> f32 {
        let share = sigmoid(y);
        dy * (share + y * (share * (1.0 - share)))
    }
}

impl Function for Gelu {
    #[inline(always)]
    fn value(y: f32) -> f32 {
        let (_, below) = normal_at(y);
        y * below
    }

    #[inline(always)]
    fn gradient(dy: f32, y: f32) -> f32 {
        let (density, below) = normal_at(y);
        dy * (below + y * density)
    }
}

impl Function for GeluTanh {
    #[inline(always)]
    fn value(y: f32) -> f32 {
        y / (1.0 + exponential(-y * (TANH_1 + TANH_3 * y * y)))
    }

    #[inline(always)]
    fn gradient(dy: f32, y: f32) -> f32 {
        let share = sigmoid(y * (TANH_1 + TANH_3 * y * y));
        // Where the square would be no f32, the share is 0 or 1 long since.
        let near = clamp(y, -16.0, 16.0);
        dy * (share + y * (share * (1.0 - share) * (TANH_1 + 3.0 * TANH_3 * near * near)))
    }
}

/// Of NaN either end: one instruction each.
#[inline(always)]
fn clamp(v: f32, least: f32, most: f32) -> f32 {
    let v = if v > least { v } else { least };
    if v < most { v } else { most }
}

/// 0 and infinity from 2^-127 and 2^128 on. Of NaN it is any number.
#[inline(always)]
fn exponential(v: f32) -> f32 {
    // The last bits of a sum with it are the nearest integer.
    const INTEGERS: f32 = 12_582_912.0;
    let power = clamp(v * LOG2_E, -127.0, 128.0);
    let whole = power + INTEGERS;
    let f = power - (whole - INTEGERS);
    let rest = 1.0 + f * (EXP2_1 + f * (EXP2_2 + f * (EXP2_3 + f * (EXP2_4 + f * EXP2_5))));
    rest * f32::from_bits(whole.to_bits().wrapping_add(127) << 23)
}

#[inline(always)]
fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + exponential(-v))
}

/// The density of the normal distribution, and its share below.
#[inline(always)]
fn normal_at(v: f32) -> (f32, f32) {
    let t = 1.0 / (1.0 + NORMAL_T * v.abs());
    let density = NORMAL_DENSITY * exponential(v * v * -0.5);
    let beyond = density * (t * (NORMAL_1 + t * (NORMAL_2 + t * (NORMAL_3 + t * (NORMAL_4 + t * NORMAL_5)))));
    (density, if v < 0.0 { beyond } else { 1.0 - beyond })
}
