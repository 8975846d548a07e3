//! Forward and backward passes on slices and `ndarray` views.

use super::Layer;
use super::options::LayerOptions;
use crate::array::check_elements;
use crate::error::{BindError, Error};
use crate::gpu::bind::{Bound, Operands};
use crate::problem::{Problem, count};
use crate::tensors::{Role, bytes, element, shape};
use crate::values::{Number, Values};

/// The caller's tensors come and go.
const USAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC);

impl<K: LayerOptions> Layer<K> {
    /// Runs the forward pass on a slice: takes `x` of this shape in row-major order, and returns `y` of the same type. In training
    /// mode it updates the running statistics.
    ///
    /// The slice is of the type that the layer stores, or of f32, which is then rounded on its way to the device.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::Gpu;
    /// use wgpu_norm::nn::{BatchNormLayer, BatchNormOptions};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let mut norm = BatchNormLayer::new_blocking(&gpu, BatchNormOptions::new(2))?;
    /// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    /// norm.run_blocking(&[2, 2, 2], &x)?;
    /// // 0.9 * 0 + 0.1 * 4, 0.9 * 0 + 0.1 * 5
    /// assert_eq!(norm.running_statistics_blocking()?.unwrap().mean, [0.4, 0.5]);
    ///
    /// norm.eval();
    /// let y = norm.run_blocking(&[1, 2], &[0.4, 0.5])?;
    /// assert_eq!(y, [0.0, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] or [`Error::Layer`] if the layer does not accept this shape. [`Error::Bind`] if `x` has another length or type.
    /// [`Error::Run`] if the device is out of memory or lost.
    pub async fn run<T: Number>(&self, shape: &[usize], x: &[T]) -> Result<Vec<T>, Error> {
        let plan = self.forward_plan(shape)?;
        let problem = &plan.problem;
        check(problem, [(Role::X, x)], Role::Y)?;
        if plan.passes().is_empty() {
            return Ok(Vec::new());
        }
        let x = self.upload(problem, Role::X, x).await?;
        // The uploaded copy of x is ours to overwrite.
        let y = if element(problem, Role::Y) == element(problem, Role::X) {
            x.clone()
        } else {
            self.gpu.buffer(Role::Y.name(), bytes(problem, Role::Y).next_multiple_of(4), USAGE, None).await?
        };
        let bound = self.bound_forward(shape, &plan, Operands::new(&x, &y)).await?;
        self.once(problem, bound, Role::Y, &y).await
    }

    /// [`Layer::run`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking<T: Number>(&self, shape: &[usize], x: &[T]) -> Result<Vec<T>, Error> {
        pollster::block_on(self.run(shape, x))
    }

    /// Runs the backward pass on slices: returns the gradient of `x`, and adds to the gradients of weight and bias, which
    /// [`Layer::gradients`] reads. In training mode it recomputes the statistics from this `x`.
    ///
    /// ```
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::Gpu;
    /// use wgpu_norm::nn::{LayerNormLayer, LayerNormOptions};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let norm = LayerNormLayer::new_blocking(&gpu, LayerNormOptions::new(&[2]))?;
    /// let (x, dy) = ([1.0, 3.0], [0.5, 0.25]);
    /// norm.run_backward_blocking(&[1, 2], &dy, &x)?;
    /// norm.run_backward_blocking(&[1, 2], &dy, &x)?;
    /// assert_eq!(norm.gradients_blocking()?.bias.unwrap(), [1.0, 0.5]);
    /// norm.zero_grad_blocking()?;
    /// assert_eq!(norm.gradients_blocking()?.bias.unwrap(), [0.0, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Layer::run`].
    pub async fn run_backward<T: Number>(&self, shape: &[usize], grad_output: &[T], x: &[T]) -> Result<Vec<T>, Error> {
        let plan = self.backward_plan(shape)?;
        let problem = &plan.problem;
        check(problem, [(Role::GradOutput, grad_output), (Role::X, x)], Role::GradInput)?;
        if plan.passes().is_empty() {
            return Ok(Vec::new());
        }
        let place = self.upload(problem, Role::GradOutput, grad_output).await?;
        let x = self.upload(problem, Role::X, x).await?;
        let operands = Operands::backward(&place, &x).grad_input(&place);
        let operands = self.backward_operands(operands, self.own_statistics());
        let bound = self.gpu.context().bind_async(&plan, &operands).await?;
        self.once(problem, bound, Role::GradInput, &place).await
    }

    /// [`Layer::run_backward`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_backward_blocking<T: Number>(
        &self,
        shape: &[usize],
        grad_output: &[T],
        x: &[T],
    ) -> Result<Vec<T>, Error> {
        pollster::block_on(self.run_backward(shape, grad_output, x))
    }

    /// A buffer of these elements, as they are stored.
    async fn upload<T: Number>(&self, problem: &Problem, role: Role, values: &[T]) -> Result<wgpu::Buffer, Error> {
        let stored = Values::new(values).stored_as(element(problem, role));
        let size = bytes(problem, role).next_multiple_of(4);
        self.gpu.buffer(role.name(), size, USAGE, Some(stored.values().bytes)).await
    }

    /// Runs what is bound to buffers that will not come again.
    async fn once<T: Number>(
        &self,
        problem: &Problem,
        bound: Bound,
        role: Role,
        result: &wgpu::Buffer,
    ) -> Result<Vec<T>, Error> {
        let record = |encoder: &mut wgpu::CommandEncoder| {
            bound.record(&mut encoder.begin_compute_pass(&Default::default()));
        };
        let length = count(shape(problem, role)) as usize;
        match self.gpu.send(record, &[(role.name(), result)]).await?.pop() {
            Some(readback) => self.gpu.fetch_numbers(readback, element(problem, role), length).await,
            None => Ok(Vec::new()),
        }
    }
}

/// Refuses slices of another type than the layer stores, and of another length.
fn check<T: Number, const N: usize>(
    problem: &Problem,
    given: [(Role, &[T]); N],
    result: Role,
) -> Result<(), BindError> {
    let roles = given.iter().map(|&(role, _)| role).chain([result]);
    check_elements(problem, roles.map(|role| (role, T::ELEMENT)))?;
    for (role, values) in given {
        let (length, shape) = (values.len(), shape(problem, role));
        let must = count(shape);
        if length as u64 != must {
            return Err(BindError::Length { tensor: role.name(), length, must, shape: shape.to_vec() });
        }
    }
    Ok(())
}

#[cfg(feature = "ndarray")]
mod ndarray {
    use std::borrow::Cow;

    use ::ndarray::{ArrayD, ArrayViewD, IxDyn};

    use super::{BindError, Error, Layer, LayerOptions, Number};

    impl<K: LayerOptions> Layer<K> {
        /// [`Layer::run`] on an `ndarray` view with any memory order; one that is not row-major and contiguous is copied first.
        ///
        /// ```
        /// # fn main() -> Result<(), wgpu_norm::Error> {
        /// use wgpu_norm::Gpu;
        /// use wgpu_norm::ndarray::array;
        /// use wgpu_norm::nn::{InstanceNormLayer, InstanceNormOptions};
        ///
        /// let gpu = Gpu::new_blocking()?;
        /// let norm = InstanceNormLayer::new_blocking(&gpu, InstanceNormOptions::new(1))?;
        /// let y = norm.run_array_blocking(array![[[1.0], [3.0]]].into_dyn().view())?;
        /// assert!((y[[0, 1, 0]] - 1.0).abs() < 1e-4);
        /// # Ok(())
        /// # }
        /// ```
        ///
        /// # Errors
        ///
        /// As [`Layer::run`].
        pub async fn run_array<T: Number>(&self, x: ArrayViewD<'_, T>) -> Result<ArrayD<T>, Error> {
            let y = self.run(x.shape(), &flat(&x)).await?;
            arrayed("y", x.shape(), y)
        }

        /// [`Layer::run_array`], blocking.
        ///
        /// # Errors
        ///
        /// As [`Layer::run`].
        #[cfg(not(target_arch = "wasm32"))]
        pub fn run_array_blocking<T: Number>(&self, x: ArrayViewD<'_, T>) -> Result<ArrayD<T>, Error> {
            pollster::block_on(self.run_array(x))
        }

        /// [`Layer::run_backward`] on `ndarray` views of one shape, as [`Layer::run_array`] takes them.
        ///
        /// # Errors
        ///
        /// As [`Layer::run`], and [`BindError::Shape`] if `grad_output` has another shape than `x`.
        pub async fn run_backward_array<T: Number>(
            &self,
            grad_output: ArrayViewD<'_, T>,
            x: ArrayViewD<'_, T>,
        ) -> Result<ArrayD<T>, Error> {
            if grad_output.shape() != x.shape() {
                let (shape, must) = (grad_output.shape().to_vec(), x.shape().to_vec());
                return Err(BindError::Shape { tensor: "grad_output", shape, must }.into());
            }
            let dx = self.run_backward(x.shape(), &flat(&grad_output), &flat(&x)).await?;
            arrayed("grad_input", x.shape(), dx)
        }

        /// [`Layer::run_backward_array`], blocking.
        ///
        /// # Errors
        ///
        /// As [`Layer::run_backward_array`].
        #[cfg(not(target_arch = "wasm32"))]
        pub fn run_backward_array_blocking<T: Number>(
            &self,
            grad_output: ArrayViewD<'_, T>,
            x: ArrayViewD<'_, T>,
        ) -> Result<ArrayD<T>, Error> {
            pollster::block_on(self.run_backward_array(grad_output, x))
        }
    }

    fn flat<'a, T: Number>(view: &'a ArrayViewD<'_, T>) -> Cow<'a, [T]> {
        match view.as_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(view.iter().copied().collect()),
        }
    }

    fn arrayed<T>(tensor: &'static str, shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, Error> {
        let length = values.len();
        ArrayD::from_shape_vec(IxDyn(shape), values)
            .map_err(|_| BindError::Length { tensor, length, must: super::count(shape), shape: shape.to_vec() }.into())
    }
}
