//! The calls on slices and arrays, on the CPU.

use super::backward::planned;
use super::{Gradients, Inputs, Outputs, Problem, Role, shape};
use crate::backward::Backward;
use crate::cpu::{Cpu, Operands};
use crate::error::Error;
use crate::norm::Norm;
use crate::problem::{Source, count};

impl Cpu {
    /// Runs `norm` on slices in row-major order.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::{Cpu, Inputs, RmsNorm};
    ///
    /// let out = Cpu::new().run(&RmsNorm::new(&[1, 2], &[2])?, Inputs::new(&[3.0, 3.0][..]).weight(&[1.0, 2.0]))?;
    /// assert!((out.y[1] - 2.0).abs() < 1e-5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] if a parameter is outside its range. [`Error::Bind`] if a tensor is missing, has the wrong length, or is
    /// not one that the norm takes.
    pub fn run(&self, norm: &dyn Norm, inputs: Inputs<&[f32]>) -> Result<Outputs<Vec<f32>>, Error> {
        let plan = self.plan(norm)?;
        let problem = plan.problem();
        inputs.check_presence(problem)?;
        inputs.check_lengths(problem, |given| given.len())?;
        let tracked = matches!(problem.source, Source::Tracked(_));
        let new = |role: Role, wanted: bool| wanted.then(|| zeros(problem, role));
        let mut out = Outputs {
            y: zeros(problem, Role::Y),
            mean: new(Role::Mean, inputs.asks(Role::Mean)),
            rstd: new(Role::Rstd, inputs.asks(Role::Rstd)),
            running_mean: inputs.get(Role::RunningMean).filter(|_| tracked).map(|old| old.to_vec()),
            running_var: inputs.get(Role::RunningVar).filter(|_| tracked).map(|old| old.to_vec()),
            num_batches_tracked: inputs.batches,
            residual_out: new(Role::ResidualOut, inputs.asks(Role::ResidualOut)),
            statistics: new(Role::Stats, inputs.asks(Role::Stats)),
        };
        let mut operands = inputs.operands();
        let results = [
            (Role::Y, Some(&mut out.y)),
            (Role::Mean, out.mean.as_mut()),
            (Role::Rstd, out.rstd.as_mut()),
            (Role::RunningMean, out.running_mean.as_mut()),
            (Role::RunningVar, out.running_var.as_mut()),
            (Role::ResidualOut, out.residual_out.as_mut()),
            (Role::Stats, out.statistics.as_mut()),
        ];
        for (role, result) in results {
            if let Some(result) = result {
                operands = operands.write(role, result);
            }
        }
        if let Some(batches) = &mut out.num_batches_tracked {
            operands = operands.num_batches_tracked(batches);
        }
        plan.run(operands)?;
        Ok(out)
    }

    /// Computes the gradients of `norm` on slices in row-major order. `inputs` are the `x` and `weight` of the forward pass,
    /// and `grad_output`, the gradient of `y`.
    ///
    /// # Errors
    ///
    /// As [`Cpu::run`] and [`Cpu::plan_backward`].
    pub fn run_backward(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<&[f32]>,
    ) -> Result<Gradients<Vec<f32>>, Error> {
        let plan = self.plan_backward(norm, wanted)?;
        let problem = plan.problem();
        inputs.check_presence_backward(problem)?;
        inputs.check_lengths(problem, |given| given.len())?;
        let results = planned(problem);
        let new = |role: Role| {
            results.contains(&role).then(|| inputs.get(role).map_or_else(|| zeros(problem, role), |old| old.to_vec()))
        };
        let mut out =
            Gradients { input: new(Role::GradInput), weight: new(Role::GradWeight), bias: new(Role::GradBias) };
        let mut operands = inputs.operands();
        for (role, result) in
            [(Role::GradInput, &mut out.input), (Role::GradWeight, &mut out.weight), (Role::GradBias, &mut out.bias)]
        {
            if let Some(result) = result {
                operands = operands.write(role, result);
            }
        }
        plan.run(operands)?;
        Ok(out)
    }

    /// [`Cpu::run`] on `ndarray` views. They may have any memory order; their shapes must be those of
    /// [`Operands`](crate::Operands).
    ///
    /// # Errors
    ///
    /// As [`Cpu::run`], and [`BindError::Shape`](crate::BindError::Shape) if an array has the wrong shape.
    #[cfg(feature = "ndarray")]
    pub fn run_array(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<ndarray::ArrayViewD<'_, f32>>,
    ) -> Result<Outputs<ndarray::ArrayD<f32>>, Error> {
        let problem = norm.lower()?;
        inputs.check_presence(&problem)?;
        let flat = inputs.flat(&problem)?;
        Ok(self.run(norm, inputs.slices(&flat))?.arrayed(&problem)?)
    }

    /// [`Cpu::run_backward`] on `ndarray` views, as [`Cpu::run_array`] takes them.
    ///
    /// # Errors
    ///
    /// As [`Cpu::run_backward`], and [`BindError::Shape`](crate::BindError::Shape) if an array has the wrong shape.
    #[cfg(feature = "ndarray")]
    pub fn run_backward_array(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ndarray::ArrayViewD<'_, f32>>,
    ) -> Result<Gradients<ndarray::ArrayD<f32>>, Error> {
        let problem = norm.lower()?.backward(wanted)?;
        inputs.check_presence_backward(&problem)?;
        let flat = inputs.flat(&problem)?;
        Ok(self.run_backward(norm, wanted, inputs.slices(&flat))?.arrayed(&problem)?)
    }
}

fn zeros(problem: &Problem, role: Role) -> Vec<f32> {
    vec![0.0; count(shape(problem, role)) as usize]
}

impl<'a> Inputs<&'a [f32]> {
    /// What is given, to be read.
    fn operands(&self) -> Operands<'a> {
        let given = Role::given().filter_map(|role| Some((role, *self.get(role)?)));
        given.fold(Operands::default(), |operands, (role, values)| operands.read(role, values))
    }
}
