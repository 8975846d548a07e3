//! A GPU where there is one, else the CPU.

use crate::array::{Gradients, Inputs, Outputs};
use crate::backward::Backward;
use crate::cpu::Cpu;
use crate::error::{Error, RunError};
use crate::gpu::Gpu;
use crate::norm::Norm;
use crate::values::Number;

/// A GPU where there is one, else the CPU, with the calls on slices and arrays that both have.
///
/// Software Vulkan is slower than the CPU by itself. It is used only where `WGPU_ADAPTER_NAME` asks for it, or where a [`Gpu`] is
/// made an engine.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Engine, Inputs, LayerNorm};
///
/// let engine = Engine::new_blocking()?;
/// println!("on {}: {}", engine.describe(), engine.reason());
/// let out = engine.run_blocking(&LayerNorm::new(&[1, 2], &[2])?, Inputs::new(&[1.0, 3.0][..]))?;
/// assert!((out.y[1] - 1.0).abs() < 1e-5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Engine {
    on: On,
    reason: String,
}

#[derive(Debug, Clone)]
enum On {
    Gpu(Box<Gpu>),
    Cpu(Cpu),
}

/// Runs the same on either; what a GPU does is waited for.
macro_rules! on_either {
    ($engine:expr, $call:ident($($arg:expr),*)) => {
        match &$engine.on {
            On::Gpu(gpu) => gpu.$call($($arg),*).await,
            On::Cpu(cpu) => cpu.$call($($arg),*),
        }
    };
}

impl Engine {
    /// A hardware GPU if there is one, as [`Gpu::new`] chooses it, else the CPU. [`Engine::reason`] says why.
    ///
    /// # Errors
    ///
    /// [`RunError`] if `WGPU_ADAPTER_NAME` names an adapter that there is not.
    pub async fn new() -> Result<Self, Error> {
        let by_name = std::env::var("WGPU_ADAPTER_NAME").is_ok_and(|name| !name.is_empty());
        let adapters = Gpu::adapters().await;
        let chosen = adapters.iter().find(|adapter| adapter.chosen);
        let engine = match chosen {
            Some(adapter) if adapter.info.device_type == wgpu::DeviceType::Cpu && !by_name => {
                let name = &adapter.info.name;
                Self::on_cpu(format!("the best adapter, {name}, is software"))
            }
            // What a driver would be good for is no matter here.
            None if adapters.is_empty() && !by_name => Self::on_cpu("no GPU adapter was found".to_owned()),
            _ => match Gpu::new().await {
                Ok(gpu) => {
                    let reason = if by_name { "WGPU_ADAPTER_NAME names it" } else { "it is the best adapter" };
                    Self { on: On::Gpu(Box::new(gpu)), reason: reason.to_owned() }
                }
                Err(Error::Run(error @ (RunError::NoAdapter { .. } | RunError::NoDevice { .. }))) if !by_name => {
                    Self::on_cpu(error.to_string())
                }
                Err(error) => return Err(error),
            },
        };
        log::info!("wgpu-norm runs on {}: {}", engine.describe(), engine.reason);
        Ok(engine)
    }

    /// [`Engine::new`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Engine::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new_blocking() -> Result<Self, Error> {
        pollster::block_on(Self::new())
    }

    fn on_cpu(reason: String) -> Self {
        Self { on: On::Cpu(Cpu::new()), reason }
    }

    /// Why it is this one.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The adapter, or the CPU, in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.on {
            On::Gpu(gpu) => gpu.describe(),
            On::Cpu(cpu) => cpu.describe(),
        }
    }

    /// The GPU, if it is one.
    #[must_use]
    pub fn gpu(&self) -> Option<&Gpu> {
        match &self.on {
            On::Gpu(gpu) => Some(gpu),
            On::Cpu(_) => None,
        }
    }

    /// The CPU, if it is that.
    #[must_use]
    pub fn cpu(&self) -> Option<&Cpu> {
        match &self.on {
            On::Gpu(_) => None,
            On::Cpu(cpu) => Some(cpu),
        }
    }

    /// Runs `norm` on slices in row-major order: as [`Gpu::run`].
    ///
    /// # Errors
    ///
    /// As [`Gpu::run`].
    pub async fn run<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<&[T]>,
    ) -> Result<Outputs<Vec<T>, Vec<f32>>, Error> {
        on_either!(self, run(norm, inputs))
    }

    /// Computes the gradients of `norm` on slices: as [`Gpu::run_backward`].
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_backward`].
    pub async fn run_backward<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<&[T]>,
    ) -> Result<Gradients<Vec<T>, Vec<f32>>, Error> {
        on_either!(self, run_backward(norm, wanted, inputs))
    }

    /// [`Engine::run`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<&[T]>,
    ) -> Result<Outputs<Vec<T>, Vec<f32>>, Error> {
        pollster::block_on(self.run(norm, inputs))
    }

    /// [`Engine::run_backward`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_backward`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_backward_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<&[T]>,
    ) -> Result<Gradients<Vec<T>, Vec<f32>>, Error> {
        pollster::block_on(self.run_backward(norm, wanted, inputs))
    }
}

#[cfg(feature = "ndarray")]
impl Engine {
    /// Runs `norm` on `ndarray` views: as [`Gpu::run_array`].
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_array`].
    pub async fn run_array<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<ndarray::ArrayViewD<'_, T>>,
    ) -> Result<Outputs<ndarray::ArrayD<T>, ndarray::ArrayD<f32>>, Error> {
        on_either!(self, run_array(norm, inputs))
    }

    /// Computes the gradients of `norm` on `ndarray` views: as [`Gpu::run_backward_array`].
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_backward_array`].
    pub async fn run_backward_array<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ndarray::ArrayViewD<'_, T>>,
    ) -> Result<Gradients<ndarray::ArrayD<T>, ndarray::ArrayD<f32>>, Error> {
        on_either!(self, run_backward_array(norm, wanted, inputs))
    }

    /// [`Engine::run_array`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_array`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_array_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        inputs: Inputs<ndarray::ArrayViewD<'_, T>>,
    ) -> Result<Outputs<ndarray::ArrayD<T>, ndarray::ArrayD<f32>>, Error> {
        pollster::block_on(self.run_array(norm, inputs))
    }

    /// [`Engine::run_backward_array`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::run_backward_array`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_backward_array_blocking<T: Number>(
        &self,
        norm: &dyn Norm,
        wanted: Backward,
        inputs: Inputs<ndarray::ArrayViewD<'_, T>>,
    ) -> Result<Gradients<ndarray::ArrayD<T>, ndarray::ArrayD<f32>>, Error> {
        pollster::block_on(self.run_backward_array(norm, wanted, inputs))
    }
}

impl From<Gpu> for Engine {
    fn from(gpu: Gpu) -> Self {
        Self { on: On::Gpu(Box::new(gpu)), reason: "it was asked for".to_owned() }
    }
}

impl From<Cpu> for Engine {
    fn from(cpu: Cpu) -> Self {
        Self { on: On::Cpu(cpu), reason: "it was asked for".to_owned() }
    }
}
