//! Forward and backward passes on slices and `ndarray` views.

use super::Layer;
use super::options::LayerOptions;
use crate::error::{BindError, Error};
use crate::gpu::bind::{Bound, Operands};
use crate::gpu::plan::Plan;
use crate::problem::count;

/// The caller's tensors come and go.
const USAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC);

impl<K: LayerOptions> Layer<K> {
    /// Runs the forward pass on a slice: takes `x` of this shape in row-major order, and returns `y`. In training mode it
    /// updates the running statistics.
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
    /// [`Error::Spec`] or [`Error::Layer`] if the layer does not accept this shape. [`Error::Bind`] if `x` has another length.
    /// [`Error::Run`] if the device is out of memory or lost.
    pub async fn run(&self, shape: &[usize], x: &[f32]) -> Result<Vec<f32>, Error> {
        let plan = self.forward_plan(shape)?;
        check_length("x", x, shape)?;
        let place = match self.upload("x", x, &plan).await? {
            Some(place) => place,
            None => return Ok(Vec::new()),
        };
        // The uploaded copy of x is ours to overwrite.
        let bound = self.bound_forward(shape, &plan, Operands::in_place(&place)).await?;
        self.once(bound, ("y", &place)).await
    }

    /// [`Layer::run`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(&self, shape: &[usize], x: &[f32]) -> Result<Vec<f32>, Error> {
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
    pub async fn run_backward(&self, shape: &[usize], grad_output: &[f32], x: &[f32]) -> Result<Vec<f32>, Error> {
        let plan = self.backward_plan(shape)?;
        check_length("grad_output", grad_output, shape)?;
        check_length("x", x, shape)?;
        let uploaded = (self.upload("grad_output", grad_output, &plan).await?, self.upload("x", x, &plan).await?);
        let (Some(place), Some(x)) = uploaded else { return Ok(Vec::new()) };
        let operands = Operands::backward(&place, &x).grad_input(&place);
        let operands = self.backward_operands(operands, self.own_statistics());
        let bound = self.gpu.context().bind_async(&plan, &operands).await?;
        self.once(bound, ("grad_input", &place)).await
    }

    /// [`Layer::run_backward`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_backward_blocking(&self, shape: &[usize], grad_output: &[f32], x: &[f32]) -> Result<Vec<f32>, Error> {
        pollster::block_on(self.run_backward(shape, grad_output, x))
    }

    /// A buffer of these values, unless there is nothing to do with them.
    async fn upload(&self, tensor: &'static str, values: &[f32], plan: &Plan) -> Result<Option<wgpu::Buffer>, Error> {
        if plan.passes().is_empty() {
            return Ok(None);
        }
        let bytes = bytemuck::cast_slice(values);
        self.gpu.buffer(tensor, bytes.len() as u64, USAGE, Some(bytes)).await.map(Some)
    }

    /// Runs what is bound to buffers that will not come again.
    async fn once(&self, bound: Bound, result: (&'static str, &wgpu::Buffer)) -> Result<Vec<f32>, Error> {
        let record = |encoder: &mut wgpu::CommandEncoder| {
            bound.record(&mut encoder.begin_compute_pass(&Default::default()));
        };
        Ok(self.gpu.submit(record, &[result]).await?.into_iter().next().unwrap_or_default())
    }
}

fn check_length(tensor: &'static str, values: &[f32], shape: &[usize]) -> Result<(), BindError> {
    let (length, must) = (values.len(), count(shape));
    if length as u64 == must {
        return Ok(());
    }
    Err(BindError::Length { tensor, length, must, shape: shape.to_vec() })
}

#[cfg(feature = "ndarray")]
mod ndarray {
    use std::borrow::Cow;

    use ::ndarray::{ArrayD, ArrayViewD, IxDyn};

    use super::{BindError, Error, Layer, LayerOptions};

    impl<K: LayerOptions> Layer<K> {
        /// [`Layer::run`] on an `ndarray` view with any memory order.
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
        pub async fn run_array(&self, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>, Error> {
            let y = self.run(x.shape(), &flat(&x)).await?;
            arrayed("y", x.shape(), y)
        }

        /// [`Layer::run_array`], blocking.
        ///
        /// # Errors
        ///
        /// As [`Layer::run`].
        #[cfg(not(target_arch = "wasm32"))]
        pub fn run_array_blocking(&self, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>, Error> {
            pollster::block_on(self.run_array(x))
        }

        /// [`Layer::run_backward`] on `ndarray` views of one shape, with any memory order.
        ///
        /// # Errors
        ///
        /// As [`Layer::run`], and [`BindError::Shape`] if `grad_output` has another shape than `x`.
        pub async fn run_backward_array(
            &self,
            grad_output: ArrayViewD<'_, f32>,
            x: ArrayViewD<'_, f32>,
        ) -> Result<ArrayD<f32>, Error> {
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
        pub fn run_backward_array_blocking(
            &self,
            grad_output: ArrayViewD<'_, f32>,
            x: ArrayViewD<'_, f32>,
        ) -> Result<ArrayD<f32>, Error> {
            pollster::block_on(self.run_backward_array(grad_output, x))
        }
    }

    fn flat<'a>(view: &'a ArrayViewD<'_, f32>) -> Cow<'a, [f32]> {
        match view.as_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(view.iter().copied().collect()),
        }
    }

    fn arrayed(tensor: &'static str, shape: &[usize], values: Vec<f32>) -> Result<ArrayD<f32>, Error> {
        let length = values.len();
        ArrayD::from_shape_vec(IxDyn(shape), values)
            .map_err(|_| BindError::Length { tensor, length, must: super::count(shape), shape: shape.to_vec() }.into())
    }
}
