//! The calls on slices and arrays, on the CPU.

use super::backward::planned;
use super::transfer::Fetched;
use super::{Gradients, Inputs, Outputs, Role};
use crate::backward::Backward;
use crate::cpu::{Cpu, Operands, Plan};
use crate::element::Element;
use crate::error::{BindError, Error};
use crate::norm::Norm;
use crate::problem::Problem;
use crate::tensors::element;

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
        Ok(plan.dispatch(&inputs, &inputs.results(problem))?.outputs())
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
        Ok(plan.dispatch(&inputs, &results)?.gradients())
    }

    /// [`Cpu::run`] on `ndarray` views. They may have any memory order; their shapes must be those of
    /// [`Operands`](crate::Operands).
    ///
    /// # Errors
    ///
    /// As [`Cpu::run`], and [`BindError::Shape`] if an array has the wrong shape.
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
    /// As [`Cpu::run_backward`], and [`BindError::Shape`] if an array has the wrong shape.
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

impl Plan {
    /// Runs on what was checked.
    pub(super) fn dispatch(&self, inputs: &Inputs<&[f32]>, results: &[Role]) -> Result<Fetched, BindError> {
        let mut batches = inputs.batches;
        let mut fetched = Fetched::start(self.problem(), inputs, results);
        let rounded = inputs.rounded(self.problem());
        let mut operands = inputs.operands(&rounded);
        for (role, result) in fetched.iter_mut() {
            operands = operands.write(role, result);
        }
        if let Some(batches) = &mut batches {
            operands = operands.num_batches_tracked(batches);
        }
        self.run_in_f32(operands)?;
        fetched.iter_mut().for_each(|(role, values)| round(self.problem(), role, values));
        fetched.count(batches);
        Ok(fetched)
    }
}

/// To what is stored of a tensor.
fn round(problem: &Problem, role: Role, values: &mut [f32]) {
    let element = element(problem, role);
    if element != Element::F32 {
        values.iter_mut().for_each(|v| *v = element.rounded(*v));
    }
}

impl<'a> Inputs<&'a [f32]> {
    /// What is given of tensors that are stored in 16 bits, rounded to what is stored.
    fn rounded(&self, problem: &Problem) -> [Option<Vec<f32>>; Role::GIVEN] {
        let mut all: [Option<Vec<f32>>; Role::GIVEN] = Default::default();
        for (role, values) in Role::given().zip(&mut all).filter(|&(role, _)| element(problem, role) != Element::F32) {
            *values = self.get(role).map(|given| given.to_vec());
            values.iter_mut().for_each(|values| round(problem, role, values));
        }
        all
    }

    /// What is given, to be read.
    fn operands<'b>(&self, rounded: &'b [Option<Vec<f32>>; Role::GIVEN]) -> Operands<'b>
    where
        'a: 'b,
    {
        let given = Role::given().zip(rounded).filter_map(|(role, rounded)| {
            let given: &'b [f32] = self.get(role)?;
            Some((role, rounded.as_deref().unwrap_or(given)))
        });
        given.fold(Operands::default(), |operands, (role, values)| operands.read(role, values))
    }
}
