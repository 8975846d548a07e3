//! The calls on slices and arrays, on the CPU.

use super::backward::planned;
use super::transfer::Fetched;
use super::{Gradients, Inputs, Number, Outputs, Role, Values};
use crate::backward::Backward;
use crate::cpu::{Cpu, Operands, Plan};
use crate::error::{BindError, Error};
use crate::norm::Norm;
use crate::tensors::element;
use crate::values::{Held, Made, ValuesMut};

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
    pub fn run<T: Number>(&self, norm: &dyn Norm, inputs: Inputs<&[T]>) -> Result<Outputs<Vec<T>, Vec<f32>>, Error> {
        let problem = norm.lower()?;
        inputs.check_presence(&problem)?;
        let results = inputs.results(&problem);
        let problem = inputs.stored(problem, &results)?;
        inputs.check_lengths(&problem)?;
        Ok(self.plan_of(problem)?.dispatch(&inputs, &results)?.outputs())
    }

    /// Computes the gradients of `norm` on slices in row-major order. `inputs` are the `x` and `weight` of the forward pass,
    /// and `grad_output`, the gradient of `y`.
    ///
    /// # Errors
    ///
    /// As [`Cpu::run`] and [`Cpu::plan_backward`].
    pub fn run_backward<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<&[T]>,
    ) -> Result<Gradients<Vec<T>, Vec<f32>>, Error> {
        let problem = norm.lower()?.backward(wanted)?;
        inputs.check_presence_backward(&problem)?;
        let results = planned(&problem);
        let problem = inputs.stored(problem, &results)?;
        inputs.check_lengths(&problem)?;
        Ok(self.plan_of(problem)?.dispatch(&inputs, &results)?.gradients())
    }

    /// [`Cpu::run`] on `ndarray` views. They may have any memory order; their shapes must be those of
    /// [`Operands`](crate::Operands).
    ///
    /// A view that is row-major and contiguous is read where it is. Any other is first copied to row-major order, element by element.
    /// Where that copy counts, give [`Cpu::run`], or a [`Plan`], the slice that the view is of, and the norm its [strides](crate::Strides).
    ///
    /// # Errors
    ///
    /// As [`Cpu::run`], and [`BindError::Shape`] if an array has the wrong shape. [`BindError::Unexpected`] if the norm has strides.
    #[cfg(feature = "ndarray")]
    pub fn run_array<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<ndarray::ArrayViewD<'_, T>>,
    ) -> Result<Outputs<ndarray::ArrayD<T>, ndarray::ArrayD<f32>>, Error> {
        let problem = norm.lower()?;
        inputs.check_presence(&problem)?;
        let flat = inputs.flat(&problem)?;
        Ok(self.run(norm, inputs.slices(&flat))?.arrayed(&problem)?)
    }

    /// [`Cpu::run_backward`] on `ndarray` views, as [`Cpu::run_array`] takes them.
    ///
    /// # Errors
    ///
    /// As [`Cpu::run_backward`], and [`BindError::Shape`] if an array has the wrong shape. [`BindError::Unexpected`] if the norm has strides.
    #[cfg(feature = "ndarray")]
    pub fn run_backward_array<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ndarray::ArrayViewD<'_, T>>,
    ) -> Result<Gradients<ndarray::ArrayD<T>, ndarray::ArrayD<f32>>, Error> {
        let problem = norm.lower()?.backward(wanted)?;
        inputs.check_presence_backward(&problem)?;
        let flat = inputs.flat(&problem)?;
        Ok(self.run_backward(norm, wanted, inputs.slices(&flat))?.arrayed(&problem)?)
    }
}

impl Plan {
    /// Runs on what was checked: what is stored as another type than it is given or wanted as goes there, and comes back.
    pub(super) fn dispatch<T: Number>(&self, inputs: &Inputs<&[T]>, results: &[Role]) -> Result<Fetched<T>, BindError> {
        let problem = self.problem();
        let mut batches = inputs.batches;
        let mut fetched = Fetched::start(problem, inputs, results);
        let held: Vec<(Role, Held<'_>)> = Role::given()
            .filter_map(|role| Some((role, inputs.get(role)?.stored_as(element(problem, role)))))
            .collect();
        let mut operands = Operands::default();
        for (role, held) in &held {
            operands = operands.read_values(*role, held.values());
        }
        for (role, result) in &mut fetched.others {
            operands = operands.write(*role, result);
        }
        // None where it is stored as it is wanted.
        let made = |(role, result): &(Role, Vec<T>)| match Values::new(result).stored_as(element(problem, *role)) {
            Held::Given(_) => None,
            Held::Made(made) => Some(made),
        };
        let mut stored: Vec<Option<Made>> = fetched.large.iter().map(made).collect();
        for ((role, result), stored) in fetched.large.iter_mut().zip(&mut stored) {
            let result = stored.as_mut().map_or_else(|| ValuesMut::new(result), |stored| stored.values_mut());
            operands = operands.write_values(*role, result);
        }
        if let Some(batches) = &mut batches {
            operands = operands.num_batches_tracked(batches);
        }
        self.run(operands)?;
        for ((_, result), stored) in fetched.large.iter_mut().zip(&stored) {
            if let Some(stored) = stored {
                *result = stored.values().numbers();
            }
        }
        // As a device has it: by its bits.
        fetched.others.extend(batches.map(|batches| (Role::Batches, vec![f32::from_bits(batches)])));
        Ok(fetched)
    }
}
