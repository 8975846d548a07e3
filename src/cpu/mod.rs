//! Norms on the CPU: the same specifications and the same results, without a device.
//!
//! [`Cpu`] runs them on slices, and with the feature `ndarray` on views. A [`Plan`] runs on slices that the caller has, as often as
//! needed, and allocates nothing as large as a tensor, but for copies of tensors with strides that do not go a few slabs at a time, and for the
//! gradient of what was normalized where that of a gate's branch is wanted in 16 bits.
//!
//! ```
//! # fn main() -> Result<(), wgpu_norm::Error> {
//! use wgpu_norm::cpu::{Cpu, Operands};
//! use wgpu_norm::LayerNorm;
//!
//! let plan = Cpu::new().plan(&LayerNorm::new(&[2, 3], &[3])?)?;
//! let x = [1.0, 2.0, 3.0, 7.0, 7.0, 7.0];
//! let mut y = [0.0; 6];
//! plan.run(Operands::new(&x, &mut y).weight(&[1.0, 1.0, 1.0]))?;
//! assert!((y[2] - 1.2247).abs() < 1e-4);
//! assert_eq!(y[3..], [0.0, 0.0, 0.0]);
//! # Ok(())
//! # }
//! ```
//!
//! Work is shared out over the pool of [rayon](https://docs.rs/rayon) that the caller is in, or else over its global one. A caller
//! that is in none has to wake the pool, some 50 µs at a time, so that tensors of less than about a megabyte are left to its own
//! thread: who calls often does so inside of [`rayon::scope`] or `ThreadPool::install`. There is one thread on wasm32.
//!
//! The bits of a result depend on neither the number of threads, nor on other groups, nor on the instructions that a processor has.

mod activation;
mod backward;
mod columns;
mod epilogue;
mod forward;
mod gather;
mod layout;
mod modulation;
mod operands;
mod parallel;
mod simd;
mod sink;
mod statistics;
mod values;

use std::sync::Arc;

pub use operands::Operands;

use crate::backward::Backward;
use crate::element::Element;
use crate::error::{BindError, SpecError};
use crate::norm::Norm;
use crate::problem::{Problem, Task};
pub use crate::values::Slice;
use layout::Layout;
use parallel::Scratch;
use simd::Level;

/// The CPU as an engine.
///
/// It is cheap to clone. Clones share the memory for what is found on the way, such as partial sums, which is kept from one call
/// to the next.
#[derive(Debug, Clone)]
pub struct Cpu {
    level: Level,
    scratch: Arc<Scratch>,
}

/// A norm to be run on the CPU, any number of times.
#[derive(Debug, Clone)]
pub struct Plan {
    cpu: Cpu,
    problem: Problem,
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

impl Cpu {
    /// The CPU, with the widest instructions that it has and that this library uses.
    #[must_use]
    pub fn new() -> Self {
        Self { level: Level::detect(), scratch: Arc::default() }
    }

    /// The CPU, with no other instructions than those that the program was compiled for. The results are the same, bit for bit.
    #[must_use]
    pub fn baseline() -> Self {
        Self { level: Level::baseline(), scratch: Arc::default() }
    }

    /// The CPU in one line: `CPU, AVX2, 2 threads`.
    #[must_use]
    pub fn describe(&self) -> String {
        let threads = parallel::threads();
        format!("CPU, {}, {threads} thread{}", self.level.name(), if threads == 1 { "" } else { "s" })
    }

    /// Plans the forward pass of `norm`.
    ///
    /// # Errors
    ///
    /// [`SpecError`] if a parameter is outside its range.
    pub fn plan(&self, norm: &dyn Norm) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?)
    }

    /// Plans the backward pass of `norm`: the gradients that `wanted` selects.
    ///
    /// # Errors
    ///
    /// As [`Cpu::plan`]. Also if the norm has no backward pass (mean-variance and Lp norm), if no gradient is wanted, or if
    /// saved statistics are wanted in eval mode.
    pub fn plan_backward(&self, norm: &dyn Norm, wanted: Backward) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.backward(wanted)?)
    }

    /// Plans the [`Moments`](crate::Moments) of each group, for one part of a batch: as
    /// [`Context::plan_moments`](crate::Context::plan_moments). Moments of the CPU and of GPUs may be mixed.
    ///
    /// # Errors
    ///
    /// As [`Cpu::plan`], and for a norm in eval mode.
    pub fn plan_moments(&self, norm: &dyn Norm) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.moments()?)
    }

    /// Plans the forward pass of one part of a batch, from the moments of all `parts` parts: as
    /// [`Context::plan_from_moments`](crate::Context::plan_from_moments).
    ///
    /// # Errors
    ///
    /// As [`Cpu::plan`], for a norm in eval mode, and if `parts` is 0 or too large.
    pub fn plan_from_moments(&self, norm: &dyn Norm, parts: usize) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.by_moments(parts)?)
    }

    /// Plans the forward pass of one part of a batch, by the statistics of the whole: as
    /// [`Context::plan_from_statistics`](crate::Context::plan_from_statistics).
    ///
    /// # Errors
    ///
    /// As [`Cpu::plan`], and for a norm in eval mode.
    pub fn plan_from_statistics(&self, norm: &dyn Norm) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.by_statistics()?)
    }

    /// Plans the first half of the backward pass of one part of a batch: as
    /// [`Context::plan_backward_sums`](crate::Context::plan_backward_sums).
    ///
    /// # Errors
    ///
    /// As [`Cpu::plan_backward`], and for a norm in eval mode.
    pub fn plan_backward_sums(&self, norm: &dyn Norm, wanted: Backward) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.backward_sums(wanted)?)
    }

    /// Plans the second half of the backward pass of one part of a batch: as
    /// [`Context::plan_backward_from_sums`](crate::Context::plan_backward_from_sums).
    ///
    /// # Errors
    ///
    /// As [`Cpu::plan_backward`], for a norm in eval mode, and if `parts` is 0 or too large.
    pub fn plan_backward_from_sums(&self, norm: &dyn Norm, parts: usize) -> Result<Plan, SpecError> {
        self.plan_of(norm.lower()?.by_sums(parts)?)
    }

    pub(crate) fn plan_of(&self, problem: Problem) -> Result<Plan, SpecError> {
        Ok(Plan { cpu: self.clone(), problem: problem.checked()? })
    }

    /// Whether results go past the cache, where large tensors are of these types.
    fn streams(&self, layout: &Layout, tensors: &[Element]) -> bool {
        let bytes: u64 = tensors.iter().map(|element| element.size()).sum();
        layout.elements() as u64 * bytes >= STREAMED
    }
}

/// Bytes of large tensors from which on that was measured to be faster, on a processor with a large cache.
const STREAMED: u64 = 96 << 20;

impl Plan {
    /// Runs the plan. An empty tensor leaves running statistics as they are.
    ///
    /// # Errors
    ///
    /// [`BindError`] if a tensor is missing, has the wrong length or type, is not one that the plan takes, or is written but was given
    /// to be read.
    pub fn run(&self, operands: Operands<'_>) -> Result<(), BindError> {
        operands.check(&self.problem)?;
        if gather::is_needed(&self.problem) {
            gather::run(self, operands);
        } else {
            self.compute(operands);
        }
        Ok(())
    }

    /// On contiguous tensors.
    fn compute(&self, operands: Operands<'_>) {
        match self.problem.task {
            Task::Forward | Task::Moments | Task::FromMoments { .. } | Task::FromStatistics => {
                forward::run(&self.cpu, &self.problem, None, operands);
            }
            Task::Backward(wanted) | Task::BackwardSums(wanted) | Task::FromSums { wanted, .. } => {
                backward::run(&self.cpu, &self.problem, wanted, operands);
            }
        }
    }

    pub(crate) fn problem(&self) -> &Problem {
        &self.problem
    }
}
