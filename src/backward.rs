//! Which gradients a backward pass computes.

/// Which gradients [`Context::plan_backward`](crate::Context::plan_backward) computes, and where it takes the statistics
/// from.
///
/// The default is the gradients of `x`, `weight` and `bias`, and of the scale and the shift of a [`Modulation`](crate::Modulation), with the
/// statistics recomputed from `x`.
///
/// With `g = dy * weight`, and means over a group:
///
/// - `dx = rstd * (g - mean(g) - xhat * mean(g * xhat))`. RMS norm has no `mean(g)`. In eval mode, `dx = rstd * g`.
/// - `dweight` is the sum of `dy * xhat` over all elements that share the weight.
/// - `dbias` is the sum of `dy` over all elements that share the bias.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Backward, Gpu, Inputs, LayerNorm};
///
/// let gpu = Gpu::new_blocking()?;
/// let (x, dy) = ([1.0, 2.0, 3.0, 5.0, 5.0, 8.0], [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
/// let norm = LayerNorm::new(&[2, 3], &[3])?;
/// let gradients = gpu.run_backward_blocking(&norm, Backward::new(), Inputs::new(&x[..]).grad_output(&dy))?;
/// assert_eq!(gradients.bias.unwrap(), [1.0, 1.0, 1.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backward {
    pub(crate) input: bool,
    pub(crate) weight: bool,
    pub(crate) bias: bool,
    pub(crate) saved: bool,
    pub(crate) accumulate: bool,
    /// Those of scale and shift, where a modulation follows.
    pub(crate) modulation: bool,
    pub(crate) gate: bool,
    pub(crate) embedding: bool,
    /// Whether the gradient of `x` overwrites that of `y`: known when binding.
    pub(crate) overwrites: bool,
}

impl Default for Backward {
    fn default() -> Self {
        Self {
            input: true,
            weight: true,
            bias: true,
            saved: false,
            accumulate: false,
            modulation: true,
            gate: false,
            embedding: false,
            overwrites: false,
        }
    }
}

impl Backward {
    /// The gradients of `x`, `weight` and `bias`, and of scale and shift, with the statistics recomputed from `x`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out the gradient of `x`: for the first layer of a network.
    #[must_use]
    pub fn without_input(mut self) -> Self {
        self.input = false;
        self
    }

    /// Leaves out the gradient of `weight`.
    #[must_use]
    pub fn without_weight(mut self) -> Self {
        self.weight = false;
        self
    }

    /// Leaves out the gradient of `bias`.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Leaves out the gradients of scale and shift of a [`Modulation`](crate::Modulation).
    #[must_use]
    pub fn without_modulation(mut self) -> Self {
        self.modulation = false;
        self
    }

    /// The gradients of a [`gate`](crate::Operands::gate) and of the branch that it multiplies as well. Forward, the norm was of
    /// `z = residual + gate * branch`; here `x` is `z`, and `branch` is what `x` was then:
    ///
    /// - `grad_branch = gate * dz`, rounded once, where `dz` is `grad_input`, which is the gradient of the residual, too.
    /// - `grad_gate` is the sum of `dz * branch` over all elements that share the gate, of `dz` as it is stored.
    #[must_use]
    pub fn with_gate(mut self) -> Self {
        self.gate = true;
        self
    }

    /// The gradient of an [`embedding`](crate::Operands::embedding) as well: the sum of `grad_input`, as it is stored, over all elements that
    /// share a number of it.
    #[must_use]
    pub fn with_embedding(mut self) -> Self {
        self.embedding = true;
        self
    }

    /// Reads the statistics that the forward pass wrote to [`Operands::statistics`](crate::Operands::statistics), instead of
    /// recomputing them. This saves one read of `x` if groups do not fit a workgroup. In eval mode it is an error: there, the
    /// running statistics are used.
    #[must_use]
    pub fn saved_statistics(mut self) -> Self {
        self.saved = true;
        self
    }

    /// Adds the gradients of `weight` and `bias`, and of scale, shift, gate and embedding, to what their buffers contain, to accumulate over micro-batches. (To add to
    /// the gradient of `x`, give its buffer as [`Operands::grad_residual`](crate::Operands::grad_residual) as well.)
    #[must_use]
    pub fn accumulate(mut self) -> Self {
        self.accumulate = true;
        self
    }

    /// Whether it goes back to what a gate multiplied, or an embedding was added to.
    pub(crate) fn goes_before(self) -> bool {
        self.gate || self.embedding
    }

    /// Whether weight or bias has a gradient to be computed.
    pub(crate) fn parameters(self) -> bool {
        self.weight || self.bias
    }
}
