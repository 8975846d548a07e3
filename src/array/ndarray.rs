//! `ndarray` views in any memory order, over the slices.

use std::borrow::Cow;

use ::ndarray::{ArrayD, ArrayViewD, IxDyn};

use super::{BindError, Error, Gpu, Gradients, Inputs, Norm, Outputs, Problem, Role, shape};
use crate::backward::Backward;

impl Gpu {
    /// Runs `norm` on `ndarray` views. They may have any memory order; their shapes must be those of
    /// [`Operands`](crate::Operands).
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::ndarray::array;
    /// use wgpu_norm::{Gpu, Inputs, LayerNorm};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let x = array![[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]].into_dyn();
    /// let out = gpu.run_array_blocking(&LayerNorm::new(x.shape(), &[2])?, Inputs::new(x.view()).with_mean())?;
    /// assert_eq!(out.mean.unwrap(), array![[[1.5], [3.5]], [[5.5], [7.5]]].into_dyn());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Gpu::run`], and [`BindError::Shape`] if an array has the wrong shape.
    pub async fn run_array(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<ArrayViewD<'_, f32>>,
    ) -> Result<Outputs<ArrayD<f32>>, Error> {
        let problem = norm.lower()?;
        inputs.check_presence(&problem)?;
        let flat = inputs.flat(&problem)?;
        let out = self.run(norm, inputs.slices(&flat)).await?;
        Ok(out.arrayed(&problem)?)
    }

    /// [`Gpu::run_array`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_array`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_array_blocking(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<ArrayViewD<'_, f32>>,
    ) -> Result<Outputs<ArrayD<f32>>, Error> {
        pollster::block_on(self.run_array(norm, inputs))
    }
}

impl Gpu {
    /// [`Gpu::run_backward`] on `ndarray` views. They may have any memory order; their shapes must be those of
    /// [`Operands`](crate::Operands).
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_backward`], and [`BindError::Shape`] if an array has the wrong shape.
    pub async fn run_backward_array(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ArrayViewD<'_, f32>>,
    ) -> Result<Gradients<ArrayD<f32>>, Error> {
        let problem = norm.lower()?.backward(wanted)?;
        inputs.check_presence_backward(&problem)?;
        let flat = inputs.flat(&problem)?;
        let out = self.run_backward(norm, wanted, inputs.slices(&flat)).await?;
        Ok(out.arrayed(&problem)?)
    }

    /// [`Gpu::run_backward_array`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_backward_array`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_backward_array_blocking(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ArrayViewD<'_, f32>>,
    ) -> Result<Gradients<ArrayD<f32>>, Error> {
        pollster::block_on(self.run_backward_array(norm, wanted, inputs))
    }
}

impl Outputs<Vec<f32>> {
    /// In the shapes that they have.
    pub(super) fn arrayed(self, problem: &Problem) -> Result<Outputs<ArrayD<f32>>, BindError> {
        let arrayed = |role: Role, values: Option<Vec<f32>>| values.map(|v| arrayed(problem, role, v)).transpose();
        Ok(Outputs {
            y: self::arrayed(problem, Role::Y, self.y)?,
            mean: arrayed(Role::Mean, self.mean)?,
            rstd: arrayed(Role::Rstd, self.rstd)?,
            running_mean: arrayed(Role::RunningMean, self.running_mean)?,
            running_var: arrayed(Role::RunningVar, self.running_var)?,
            num_batches_tracked: self.num_batches_tracked,
            residual_out: arrayed(Role::ResidualOut, self.residual_out)?,
            statistics: arrayed(Role::Stats, self.statistics)?,
        })
    }
}

impl Gradients<Vec<f32>> {
    /// In the shapes that they have.
    pub(super) fn arrayed(self, problem: &Problem) -> Result<Gradients<ArrayD<f32>>, BindError> {
        let arrayed = |role: Role, values: Option<Vec<f32>>| values.map(|v| arrayed(problem, role, v)).transpose();
        Ok(Gradients {
            input: arrayed(Role::GradInput, self.input)?,
            weight: arrayed(Role::GradWeight, self.weight)?,
            bias: arrayed(Role::GradBias, self.bias)?,
        })
    }
}

/// Row-major copies of what is not, by role.
pub(super) type Flat<'a> = [Option<Cow<'a, [f32]>>; Role::GIVEN];

impl<'a> Inputs<ArrayViewD<'a, f32>> {
    pub(super) fn flat<'b>(&'b self, problem: &Problem) -> Result<Flat<'b>, BindError> {
        let mut flat = Flat::default();
        for role in Role::given() {
            if let Some(view) = self.get(role) {
                let must = shape(problem, role);
                if view.shape() != must {
                    let (given, must) = (view.shape().to_vec(), must.to_vec());
                    return Err(BindError::Shape { tensor: role.name(), shape: given, must });
                }
                flat[role as usize] = Some(match view.as_slice() {
                    Some(slice) => Cow::Borrowed(slice),
                    None => Cow::Owned(view.iter().copied().collect()),
                });
            }
        }
        Ok(flat)
    }

    pub(super) fn slices<'b>(&self, flat: &'b Flat<'_>) -> Inputs<&'b [f32]> {
        Inputs { given: std::array::from_fn(|slot| flat[slot].as_deref()), batches: self.batches, asked: self.asked }
    }
}

/// Results have as many elements as their shape; were it not so, that would be said, not hidden.
fn arrayed(problem: &Problem, role: Role, values: Vec<f32>) -> Result<ArrayD<f32>, BindError> {
    let must = shape(problem, role);
    let length = values.len();
    ArrayD::from_shape_vec(IxDyn(must), values).map_err(|_| BindError::Length {
        tensor: role.name(),
        length,
        must: super::count(must),
        shape: must.to_vec(),
    })
}
