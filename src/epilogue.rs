//! What follows a norm, in the same pass.

use std::fmt;

/// A function of each element that follows a norm, after weight and bias: [`Norm::then`](crate::Norm::then).
///
/// NaN stays NaN, and positive infinity stays so. Of negative infinity, which is a zero times an infinity, all but ReLU make NaN, as in
/// PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Activation {
    /// `max(y, 0)`. Its slope at 0 is 0, as in PyTorch.
    Relu = 1,
    /// `y * sigmoid(y)`, also called swish.
    Silu = 2,
    /// `y * P(Y <= y)` of a normal `Y`: `y / 2 * (1 + erf(y / sqrt(2)))`.
    Gelu = 3,
    /// The approximation of GELU by tanh: `y / 2 * (1 + tanh(sqrt(2 / pi) * (y + 0.044715 * y^3)))`.
    GeluTanh = 4,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Relu, Self::Silu, Self::Gelu, Self::GeluTanh];
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relu => "ReLU",
            Self::Silu => "SiLU",
            Self::Gelu => "GELU",
            Self::GeluTanh => "GELU by tanh",
        })
    }
}

/// Numbers that Rust and shaders share, each by its name.
macro_rules! coefficients {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        // Two are almost numbers that Rust has: all stand here as they are fitted, in f32.
        $($(#[$doc])* #[allow(clippy::approx_constant)] pub(crate) const $name: f32 = $value;)*
        /// All of them, for shaders.
        pub(crate) const COEFFICIENTS: &[(&str, f32)] = &[$((stringify!($name), $name)),*];
    };
}

coefficients! {
    LOG2_E = 1.442_695;
    /// Of 2^f for |f| <= 1/2, from f on: off by 1e-7 of it.
    EXP2_1 = 0.693_147;
    EXP2_2 = 0.240_222_42;
    EXP2_3 = 0.055_507_336;
    EXP2_4 = 0.009_671_513;
    EXP2_5 = 0.001_326_472_7;
    /// Of the normal distribution: Abramowitz and Stegun, 26.2.17, off by 7.5e-8.
    NORMAL_DENSITY = 0.398_942_3;
    NORMAL_T = 0.231_641_9;
    NORMAL_1 = 0.319_381_53;
    NORMAL_2 = -0.356_563_78;
    NORMAL_3 = 1.781_477_9;
    NORMAL_4 = -1.821_256;
    NORMAL_5 = 1.330_274_5;
    /// `1 + tanh(u)` is twice the sigmoid of `2 * u`: sqrt(8 / pi), and 0.044715 of it.
    TANH_1 = 1.595_769;
    TANH_3 = 0.071_354_814;
}
