//! What follows a norm, and the gate before it.

use std::fmt;

use ndarray::ArrayD;

use super::Parameters;
use crate::epilogue::Activation;
use crate::modulation::Modulation;
use crate::norm::Norm;

/// What follows a norm in the same pass, in order: scale and shift of a shape, a skip, and an activation. Before it may be a gate of the shape
/// of the scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Following<'a> {
    pub modulated: Option<&'a [usize]>,
    /// Whether a modulation has a gate.
    pub gated: bool,
    /// What is added to the scale.
    pub offset: f32,
    pub skip: bool,
    pub activation: Option<Activation>,
}

impl Following<'_> {
    pub const NONE: Self = Self { modulated: None, gated: false, offset: 1.0, skip: false, activation: None };

    /// `norm` with it.
    pub fn after(self, mut norm: Box<dyn Norm>) -> Box<dyn Norm> {
        if let Some(shape) = self.modulated {
            norm = Box::new(norm.modulated(Modulation::new(shape).offset(self.offset)));
        }
        if self.skip {
            norm = Box::new(norm.plus_skip());
        }
        match self.activation {
            Some(activation) => Box::new(norm.then(activation)),
            None => norm,
        }
    }

    /// `parameters` with random ones for it, for `x` of this shape, as [`Parameters::random`] has them.
    pub fn beside(
        self,
        parameters: Parameters<ArrayD<f32>>,
        x: &[usize],
        mut normal: impl FnMut(&[usize], f32, f32) -> ArrayD<f32>,
    ) -> Parameters<ArrayD<f32>> {
        Parameters {
            scale: self.modulated.map(|shape| normal(shape, 0.0, 0.3)),
            shift: self.modulated.map(|shape| normal(shape, 0.0, 0.5)),
            skip: self.skip.then(|| normal(x, 0.0, 1.0)),
            // A product with it is exact.
            gate: self
                .modulated
                .filter(|_| self.gated)
                .map(|shape| normal(shape, 0.0, 1.0).mapv(|v| v.round().clamp(-1.0, 1.0).exp2())),
            ..parameters
        }
    }
}

/// `, modulated`, `, plus a skip, then ReLU`; nothing where nothing follows.
impl fmt::Display for Following<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.modulated.is_some() { ", modulated" } else { "" })?;
        f.write_str(if self.gated { " with a gate" } else { "" })?;
        f.write_str(if self.skip { ", plus a skip" } else { "" })?;
        match self.activation {
            Some(activation) => write!(f, ", then {activation}"),
            None => Ok(()),
        }
    }
}
