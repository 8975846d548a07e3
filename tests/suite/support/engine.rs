//! What runs a norm on arrays: a GPU planned for in some way, or the CPU.

use wgpu_norm::ndarray::{ArrayD, ArrayViewD};
use wgpu_norm::{Backward, Cpu, Engine, Error, Gpu, Gradients, Inputs, Norm, Outputs};

pub trait Runs {
    fn forward(&self, norm: &dyn Norm, inputs: Inputs<ArrayViewD<'_, f32>>) -> Result<Outputs<ArrayD<f32>>, Error>;

    fn backward(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ArrayViewD<'_, f32>>,
    ) -> Result<Gradients<ArrayD<f32>>, Error>;

    /// How it does it, for those who read of a failure.
    fn plan(&self, norm: &dyn Norm, wanted: Option<Backward>) -> String;
}

impl Runs for Gpu {
    fn forward(&self, norm: &dyn Norm, inputs: Inputs<ArrayViewD<'_, f32>>) -> Result<Outputs<ArrayD<f32>>, Error> {
        self.run_array_blocking(norm, inputs)
    }

    fn backward(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ArrayViewD<'_, f32>>,
    ) -> Result<Gradients<ArrayD<f32>>, Error> {
        self.run_backward_array_blocking(norm, wanted, inputs)
    }

    fn plan(&self, norm: &dyn Norm, wanted: Option<Backward>) -> String {
        let context = self.context();
        let plan = wanted.map_or_else(|| context.plan(norm), |wanted| context.plan_backward(norm, wanted));
        plan.unwrap().to_string()
    }
}

impl Runs for Cpu {
    fn forward(&self, norm: &dyn Norm, inputs: Inputs<ArrayViewD<'_, f32>>) -> Result<Outputs<ArrayD<f32>>, Error> {
        self.run_array(norm, inputs)
    }

    fn backward(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ArrayViewD<'_, f32>>,
    ) -> Result<Gradients<ArrayD<f32>>, Error> {
        self.run_backward_array(norm, wanted, inputs)
    }

    fn plan(&self, _: &dyn Norm, _: Option<Backward>) -> String {
        self.describe()
    }
}

impl Runs for Engine {
    fn forward(&self, norm: &dyn Norm, inputs: Inputs<ArrayViewD<'_, f32>>) -> Result<Outputs<ArrayD<f32>>, Error> {
        self.run_array_blocking(norm, inputs)
    }

    fn backward(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ArrayViewD<'_, f32>>,
    ) -> Result<Gradients<ArrayD<f32>>, Error> {
        self.run_backward_array_blocking(norm, wanted, inputs)
    }

    fn plan(&self, norm: &dyn Norm, wanted: Option<Backward>) -> String {
        self.gpu().map_or_else(|| self.describe(), |gpu| Runs::plan(gpu, norm, wanted))
    }
}
