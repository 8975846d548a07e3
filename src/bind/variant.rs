//! Which shader a pass needs, by the tensors there are.

use super::{Expected, Operands};
use crate::context::PipelineKey;
use crate::element::Element;
use crate::norm::{Centering, Problem};
use crate::plan::{Capabilities, Pass, Schedule, Window};
use crate::shader::{Access, Constants, Kernel, Known, Role, TensorBinding, Variant, Width, bind_words};

/// The tensors there are, or will be.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    Now(&'a Operands<'a>),
    Later(Expected),
}

impl Given<'_> {
    fn has(self, problem: &Problem, role: Role) -> bool {
        match self {
            Self::Now(operands) => operands.get(role).is_some(),
            Self::Later(expected) => expected.has(problem, role),
        }
    }

    fn is_in_place(self) -> bool {
        match self {
            Self::Now(operands) => operands.is_in_place(),
            Self::Later(expected) => expected.is_in_place(),
        }
    }

    fn share_a_buffer(self, one: Role, other: Role) -> bool {
        let Self::Now(operands) = self else { return false };
        match (operands.get(one), operands.get(other)) {
            (Some(one), Some(other)) => one.buffer == other.buffer,
            _ => false,
        }
    }
}

/// A problem and its tensors.
#[derive(Clone, Copy)]
pub(super) struct Chooser<'a> {
    pub(super) problem: &'a Problem,
    pub(super) capabilities: &'a Capabilities,
    pub(super) given: Given<'a>,
}

impl<'a> Chooser<'a> {
    /// The passes to run: batches are counted only where there is a count, a bias is added where there is one.
    pub(super) fn passes(self, schedule: &'a Schedule) -> impl Iterator<Item = &'a Pass> {
        schedule.passes.iter().filter(move |pass| match (pass.kernel, pass.known) {
            (Kernel::CountBatch, _) => self.given.has(self.problem, Role::Batches),
            (_, Known::Nothing) => self.given.has(self.problem, Role::Bias),
            _ => true,
        })
    }

    /// The tensors a pass binds, as its shader must declare them.
    pub(super) fn tensors(self, pass: &Pass) -> Vec<TensorBinding> {
        let roles = pass.kernel.roles(pass.known);
        let present = |role: Role| match role {
            Role::Partials | Role::Stats => true,
            Role::X if pass.width == Width::Ragged && !self.has_quads_of_x(pass) => true,
            Role::X => !(self.given.is_in_place() && roles.contains(&(Role::Y, true))),
            // The merge reads it for the cumulative average alone.
            Role::Batches if pass.kernel == Kernel::Merge => {
                self.problem.averages_all() && self.given.has(self.problem, role)
            }
            _ => self.given.has(self.problem, role),
        };
        let written = |role: Role| {
            roles.iter().any(|&(other, written)| written && (other == role || self.given.share_a_buffer(role, other)))
        };
        let mut tensors: Vec<TensorBinding> = roles
            .iter()
            .filter(|&&(role, _)| present(role))
            .map(|&(role, _)| TensorBinding {
                role,
                access: if written(role) { Access::ReadWrite } else { Access::Read },
                words: false,
            })
            .collect();
        if pass.width == Width::Ragged {
            let most = self.capabilities.max_storage_buffers as usize;
            bind_words(&mut tensors, pass.affine, !self.has_quads_of_x(pass), self.has_quads_of_weights(), most);
        }
        tensors
    }

    /// Whether `x` can be read by quads: those that its last elements are in must lie in its buffer as a whole.
    fn has_quads_of_x(self, pass: &Pass) -> bool {
        let size = Element::F32.size();
        let (offset, end) = match self.given {
            Given::Now(operands) => match operands.get(Role::X) {
                Some(x) => (x.offset, x.buffer.size()),
                None => return false,
            },
            Given::Later(_) => (0, self.problem.block.elements() * size),
        };
        let last = |window: &Window| offset + (window.elements.first + window.elements.length) * size;
        pass.windows.iter().all(|window| last(window).next_multiple_of(4 * size) <= end)
    }

    /// Whether weight and bias of every fourth element of a row start a quad.
    fn has_quads_of_weights(self) -> bool {
        let aligned = match self.given {
            Given::Now(operands) => [Role::Weight, Role::Bias]
                .iter()
                .all(|&role| operands.get(role).is_none_or(|view| view.is_quad_aligned())),
            Given::Later(_) => true,
        };
        let (index, k) = (&self.problem.index, self.problem.block.k);
        aligned && index.b_mul.is_multiple_of(4) && (k == 1 || index.k_mul.is_multiple_of(4))
    }

    pub(super) fn key(self, pass: &Pass) -> PipelineKey {
        PipelineKey {
            variant: Variant {
                kernel: pass.kernel,
                width: pass.width,
                hold: pass.hold,
                affine: pass.affine,
                known: pass.known,
                track: pass.track,
                reduction: pass.team.reduction,
                together: pass.turns.together,
                tensors: self.tensors(pass),
            },
            constants: Constants {
                workgroup_size: pass.team.workgroup_size,
                lanes: pass.team.lanes,
                across_subgroups: pass.team.across_subgroups,
                subtract_mean: self.problem.centering == Centering::Mean,
                scaling: self.problem.scaling as u32,
                hide_subtractions: self.capabilities.reassociates,
                span: pass.turns.span,
                whole: pass.turns.whole,
            },
        }
    }
}
