//! The calls on slices and arrays, on the CPU.

use super::backward::planned;
use super::transfer::Fetched;
use super::{Gradients, Inputs, Outputs, Role};
use crate::backward::Backward;
use crate::cpu::{Cpu, Operands, Plan, Values, ValuesMut};
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
    /// Runs on what was checked: what is stored in 16 bits goes there, and comes back in f32.
    pub(super) fn dispatch(&self, inputs: &Inputs<&[f32]>, results: &[Role]) -> Result<Fetched, BindError> {
        let problem = self.problem();
        let mut batches = inputs.batches;
        let mut fetched = Fetched::start(problem, inputs, results);
        let stored = inputs.stored(problem);
        let mut operands = inputs.operands(problem, &stored);
        let mut short = [const { Vec::<u16>::new() }; Role::GIVEN];
        for ((role, result), bits) in fetched.iter_mut().zip(&mut short) {
            operands = match element(problem, role) {
                Element::F32 => operands.write(role, result),
                element => {
                    *bits = vec![0; result.len()];
                    operands.write_values(role, ValuesMut::of_bits(element, bits))
                }
            };
        }
        if let Some(batches) = &mut batches {
            operands = operands.num_batches_tracked(batches);
        }
        self.run(operands)?;
        for ((role, result), bits) in fetched.iter_mut().zip(&short) {
            if element(problem, role) != Element::F32 {
                *result = element(problem, role).values_of(bytemuck::cast_slice(bits));
            }
        }
        fetched.count(batches);
        Ok(fetched)
    }
}

impl<'a> Inputs<&'a [f32]> {
    /// The bits of what is given of tensors that are stored in 16 bits.
    fn stored(&self, problem: &Problem) -> [Option<Vec<u16>>; Role::GIVEN] {
        let mut all: [Option<Vec<u16>>; Role::GIVEN] = Default::default();
        for (role, bits) in Role::given().zip(&mut all).filter(|&(role, _)| element(problem, role) != Element::F32) {
            let bytes = self.get(role).map(|given| element(problem, role).bytes_of(given));
            *bits = bytes.map(|bytes| bytemuck::pod_collect_to_vec(&bytes));
        }
        all
    }

    /// What is given, to be read.
    fn operands<'b>(&self, problem: &Problem, stored: &'b [Option<Vec<u16>>; Role::GIVEN]) -> Operands<'b>
    where
        'a: 'b,
    {
        Role::given().zip(stored).fold(Operands::default(), |operands, (role, bits)| match (bits, self.get(role)) {
            (Some(bits), _) => operands.read_values(role, Values::of_bits(element(problem, role), bits)),
            (None, Some(given)) => operands.read(role, *given),
            (None, None) => operands,
        })
    }
}
