//! How to compute a norm: which kernels, over how many workgroups, with how much scratch. A plan is a pure function
//! of the block, the capabilities and the vector width; it touches no device.

mod backward;
mod capabilities;
mod columns;
mod forward;
mod grid;
mod merge;
mod parts;
mod pass;
mod planner;
mod rows;
mod schedule;
mod traversal;
mod tuning;
mod window;

pub use capabilities::Capabilities;
pub(crate) use grid::Grid;
pub use pass::Pass;
pub(crate) use pass::Summed;
use pass::{By, Placed, Team, Turns, Work};
use planner::Planner;
pub(crate) use schedule::Schedule;
use traversal::Traversal;
pub use tuning::Tuning;
pub(crate) use window::Window;

use std::fmt;

use crate::block::Block;
use crate::error::SpecError;
use crate::problem::Problem;
use crate::tensors::Cell;

/// How a norm runs on a device with given [`Capabilities`]: the kernels, their workgroups and their scratch memory.
///
/// [`Context::plan`](crate::Context::plan) makes one, and [`Context::bind`](crate::Context::bind) binds it to buffers. Its
/// `Display` prints the block, the reason for the choice, and one line per pass.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) problem: Problem,
    pub(crate) capabilities: Capabilities,
    pub(crate) tuning: Tuning,
    pub(crate) schedule: Schedule,
}

impl Plan {
    pub(crate) fn new(problem: Problem, capabilities: &Capabilities, tuning: Tuning) -> Result<Self, SpecError> {
        Self::aligned(problem, capabilities, tuning, true)
    }

    /// For tensors of which each starts at a multiple of four elements, or some do not.
    pub(crate) fn aligned(
        problem: Problem,
        capabilities: &Capabilities,
        tuning: Tuning,
        quads: bool,
    ) -> Result<Self, SpecError> {
        let schedule = Schedule::new(&problem, capabilities, tuning, quads)?;
        Ok(Self { problem, capabilities: capabilities.clone(), tuning, schedule })
    }

    /// The name of the norm.
    #[must_use]
    pub fn norm(&self) -> &'static str {
        self.problem.norm
    }

    /// The shape of `x` and `y`.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.problem.shape
    }

    /// The block that the norm was mapped to.
    #[must_use]
    pub fn block(&self) -> Block {
        self.problem.block
    }

    /// The passes, in order; none for an empty tensor. The pass `count_batch` runs only if `num_batches_tracked` is bound.
    #[must_use]
    pub fn passes(&self) -> &[Pass] {
        &self.schedule.passes
    }

    /// The reason for these passes, in a few words.
    #[must_use]
    pub fn why(&self) -> &'static str {
        self.schedule.why
    }

    /// Bytes of scratch memory that binding allocates, if all tensors start at multiples of 16 bytes. About as many otherwise.
    #[must_use]
    pub fn scratch_bytes(&self) -> u64 {
        (self.schedule.partials + self.schedule.statistics) * Cell::Record.bytes()
            + (self.schedule.partial_sums + self.schedule.row_sums + self.schedule.sums) * Cell::Pair.bytes()
    }

    /// Bytes that all passes together read and write of `x` and `y`, and of their gradients, for measuring bandwidth. A tensor that is read
    /// twice counts twice. Other tensors of that size are not included: residual, skip and branch, and their gradients.
    #[must_use]
    pub fn bytes_moved(&self) -> u64 {
        let elements = |pass: &Pass| pass.parts().iter().map(|part| part.length).sum::<u64>();
        self.schedule.passes.iter().map(|pass| elements(pass) * pass.bytes_moved()).sum()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Block { b, r, k, s } = self.problem.block;
        write!(f, "{} {:?}", self.norm(), self.shape())?;
        if let Some(element) = self.problem.storage.short() {
            write!(f, " of {element}")?;
        }
        let Problem { modulation, skip, activation, .. } = &self.problem;
        if let Some(modulation) = modulation {
            write!(f, ", modulated by {:?}", modulation.shape)?;
        }
        if *skip {
            write!(f, ", plus a skip")?;
        }
        if let Some(activation) = activation {
            write!(f, ", then {activation}")?;
        }
        let follows = modulation.is_some() || *skip || activation.is_some();
        write!(f, "{} as block [{b}, {r}, {k}, {s}]: {}", if follows { "," } else { "" }, self.why())?;
        for pass in self.passes() {
            write!(f, "\n  {pass}")?;
        }
        Ok(())
    }
}
