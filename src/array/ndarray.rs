//! `ndarray` views in any memory order, over the slices.

use std::marker::PhantomData;

use ::ndarray::{ArrayD, ArrayViewD, IxDyn};
use half::{bf16, f16};

use super::given::sealed;
use super::{
    BindError, Element, Error, Gpu, Gradients, Inputs, Norm, Number, Outputs, Problem, Role, Tensor, Values, shape,
};
use crate::backward::Backward;
use crate::values::Held;

impl Gpu {
    /// Runs `norm` on `ndarray` views. They may have any memory order; their shapes must be those of
    /// [`Operands`](crate::Operands).
    ///
    /// A view that is row-major and contiguous is uploaded as it is. Any other, such as a slice of rows or a transpose, is first copied
    /// to row-major order, element by element. Where that copy counts, give [`Gpu::run`] the slice that the view is of, and the norm its
    /// [strides](crate::Strides).
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
    /// As [`Gpu::run`], and [`BindError::Shape`] if an array has the wrong shape. [`BindError::Unexpected`] if the norm has
    /// [strides](Norm::with_strides), as an array has its own.
    pub async fn run_array<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<ArrayViewD<'_, T>>,
    ) -> Result<Outputs<ArrayD<T>, ArrayD<f32>>, Error> {
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
    pub fn run_array_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<ArrayViewD<'_, T>>,
    ) -> Result<Outputs<ArrayD<T>, ArrayD<f32>>, Error> {
        pollster::block_on(self.run_array(norm, inputs))
    }
}

impl Gpu {
    /// [`Gpu::run_backward`] on `ndarray` views, as [`Gpu::run_array`] takes them.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_backward`], and [`BindError::Shape`] if an array has the wrong shape. [`BindError::Unexpected`] if the norm has strides.
    pub async fn run_backward_array<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ArrayViewD<'_, T>>,
    ) -> Result<Gradients<ArrayD<T>, ArrayD<f32>>, Error> {
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
    pub fn run_backward_array_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ArrayViewD<'_, T>>,
    ) -> Result<Gradients<ArrayD<T>, ArrayD<f32>>, Error> {
        pollster::block_on(self.run_backward_array(norm, wanted, inputs))
    }
}

impl<T: Number> Outputs<Vec<T>, Vec<f32>> {
    /// In the shapes that they have.
    pub(super) fn arrayed(self, problem: &Problem) -> Result<Outputs<ArrayD<T>, ArrayD<f32>>, BindError> {
        let arrayed = |role: Role, values: Option<Vec<f32>>| values.map(|v| arrayed(problem, role, v)).transpose();
        Ok(Outputs {
            y: self::arrayed(problem, Role::Y, self.y)?,
            mean: arrayed(Role::Mean, self.mean)?,
            rstd: arrayed(Role::Rstd, self.rstd)?,
            running_mean: arrayed(Role::RunningMean, self.running_mean)?,
            running_var: arrayed(Role::RunningVar, self.running_var)?,
            num_batches_tracked: self.num_batches_tracked,
            residual_out: self.residual_out.map(|v| self::arrayed(problem, Role::ResidualOut, v)).transpose()?,
            statistics: arrayed(Role::Stats, self.statistics)?,
        })
    }
}

impl<T: Number> Gradients<Vec<T>, Vec<f32>> {
    /// In the shapes that they have.
    pub(super) fn arrayed(self, problem: &Problem) -> Result<Gradients<ArrayD<T>, ArrayD<f32>>, BindError> {
        let arrayed = |role: Role, values: Option<Vec<f32>>| values.map(|v| arrayed(problem, role, v)).transpose();
        Ok(Gradients {
            input: self.input.map(|v| self::arrayed(problem, Role::GradInput, v)).transpose()?,
            weight: arrayed(Role::GradWeight, self.weight)?,
            bias: arrayed(Role::GradBias, self.bias)?,
            scale: arrayed(Role::GradScale, self.scale)?,
            shift: arrayed(Role::GradShift, self.shift)?,
            skip: self.skip.map(|v| self::arrayed(problem, Role::GradSkip, v)).transpose()?,
            gate: arrayed(Role::GradGate, self.gate)?,
            embedding: arrayed(Role::GradEmbedding, self.embedding)?,
            branch: self.branch.map(|v| self::arrayed(problem, Role::GradBranch, v)).transpose()?,
        })
    }
}

/// A view of elements of one type or another.
#[derive(Debug, Clone)]
pub enum AnyView<'a> {
    F32(ArrayViewD<'a, f32>),
    F16(ArrayViewD<'a, f16>),
    Bf16(ArrayViewD<'a, bf16>),
}

impl AnyView<'_> {
    /// Its shape, and its elements in row-major order.
    fn flat(&self) -> (&[usize], Held<'_>) {
        fn flat<'a, T: Number>(view: &'a ArrayViewD<'_, T>) -> (&'a [usize], Held<'a>) {
            let elements = match view.as_slice() {
                Some(slice) => Held::Given(Values::new(slice)),
                None => Held::Made(Box::new(view.iter().copied().collect::<Vec<T>>())),
            };
            (view.shape(), elements)
        }
        match self {
            Self::F32(view) => flat(view),
            Self::F16(view) => flat(view),
            Self::Bf16(view) => flat(view),
        }
    }
}

impl<'a, T: Number> Tensor for ArrayViewD<'a, T> {
    type F32 = ArrayViewD<'a, f32>;
}

impl<'a, T: Number> sealed::Tensor for ArrayViewD<'a, T> {
    type Any = AnyView<'a>;

    const ELEMENT: Element = T::ELEMENT;

    fn any(self) -> AnyView<'a> {
        T::any_view(self)
    }

    fn element(any: &AnyView<'a>) -> Element {
        match any {
            AnyView::F32(_) => Element::F32,
            AnyView::F16(_) => Element::F16,
            AnyView::Bf16(_) => Element::Bf16,
        }
    }
}

impl<'a, T: Number, P: Number> sealed::Parameter<ArrayViewD<'a, T>> for ArrayViewD<'a, P> {
    fn any(self) -> AnyView<'a> {
        P::any_view(self)
    }
}

/// Tensors in row-major order, by role.
pub(super) type Flat<'a> = [Option<Held<'a>>; Role::GIVEN];

impl<'a, T: Number> Inputs<ArrayViewD<'a, T>> {
    pub(super) fn flat<'b>(&'b self, problem: &Problem) -> Result<Flat<'b>, BindError> {
        if !problem.placement.is_contiguous() {
            let why = "an array says itself where its elements lie; a norm with strides takes slices, by `run` and `run_backward`";
            return Err(BindError::Unexpected { norm: problem.norm, tensor: "with_strides", why });
        }
        let mut flat = Flat::default();
        for role in Role::given() {
            if let Some(view) = self.get(role) {
                let (must, (shape, elements)) = (shape(problem, role), view.flat());
                if shape != must {
                    let (shape, must) = (shape.to_vec(), must.to_vec());
                    return Err(BindError::Shape { tensor: role.name(), shape, must });
                }
                flat[role as usize] = Some(elements);
            }
        }
        Ok(flat)
    }

    pub(super) fn slices<'b>(&self, flat: &'b Flat<'_>) -> Inputs<&'b [T]> {
        let values = |held: &'b Option<Held<'_>>| held.as_ref().map(Held::values);
        Inputs { given: flat.each_ref().map(values), batches: self.batches, asked: self.asked, of: PhantomData }
    }
}

/// Results have as many elements as their shape; were it not so, that would be said, not hidden.
fn arrayed<T>(problem: &Problem, role: Role, values: Vec<T>) -> Result<ArrayD<T>, BindError> {
    let must = shape(problem, role);
    let length = values.len();
    ArrayD::from_shape_vec(IxDyn(must), values).map_err(|_| BindError::Length {
        tensor: role.name(),
        length,
        must: super::count(must),
        shape: must.to_vec(),
    })
}
