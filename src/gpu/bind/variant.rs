//! Which shader a pass needs, by the tensors there are.

use super::{Expected, Operands};
use crate::gpu::context::PipelineKey;
use crate::gpu::plan::{Capabilities, Pass, Schedule};
use crate::gpu::shader::{Access, Constants, Kernel, Known, TensorBinding, Variant};
use crate::problem::{Centering, Problem};
use crate::tensors::Role;

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

    /// Whether they are exactly the same place.
    fn coincide(self, one: Role, other: Role) -> bool {
        match self {
            Self::Now(operands) => operands.coincide(one, other),
            Self::Later(expected) => expected.coincide(one, other),
        }
    }

    fn share_a_buffer(self, one: Role, other: Role) -> bool {
        match self {
            Self::Now(operands) => match (operands.get(one), operands.get(other)) {
                (Some(one), Some(other)) => one.buffer == other.buffer,
                _ => false,
            },
            Self::Later(expected) => expected.coincide(one, other) || expected.coincide(other, one),
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
            (Kernel::ApplyRows | Kernel::ApplyColumns, Known::Nothing) => self.given.has(self.problem, Role::Bias),
            _ => true,
        })
    }

    /// The tensors a pass binds, as its shader must declare them.
    pub(super) fn tensors(self, pass: &Pass) -> Vec<TensorBinding> {
        let roles = pass.kernel.roles(pass.known);
        let present = |role: Role| match role {
            Role::Partials | Role::PartialSums | Role::GroupSums => true,
            Role::Stats => self.has_statistics(pass),
            // The merge reads it for the cumulative average alone.
            Role::Batches if pass.kernel == Kernel::Merge => {
                self.problem.averages_all() && self.given.has(self.problem, role)
            }
            _ => self.given.has(self.problem, role) && self.read_through(pass, role).is_none(),
        };
        let written = |role: Role| {
            roles.iter().any(|&(other, written)| written && (other == role || self.given.share_a_buffer(role, other)))
        };
        roles
            .iter()
            .filter(|&&(role, _)| present(role))
            .map(|&(role, _)| TensorBinding {
                role,
                access: if written(role) { Access::ReadWrite } else { Access::Read },
            })
            .collect()
    }

    /// The tensor of this pass that exactly overwrites another, which is read through its binding.
    fn read_through(self, pass: &Pass, role: Role) -> Option<Role> {
        let written = pass.kernel.roles(pass.known).iter().filter(|&&(_, written)| written);
        let overwrites = |by: Role| by.may_overwrite().contains(&role) && self.given.coincide(by, role);
        written.map(|&(by, _)| by).find(|&by| self.given.has(self.problem, by) && overwrites(by))
    }

    /// Whether statistics are read, or left for a later pass or for the user.
    fn has_statistics(self, pass: &Pass) -> bool {
        match (pass.kernel, pass.known) {
            (Kernel::FusedRows | Kernel::FusedColumns, _) => self.given.has(self.problem, Role::Stats),
            (Kernel::BackwardFusedRows, Known::Nothing) => {
                self.problem.gradients().is_some_and(|wanted| wanted.parameters())
            }
            _ => true,
        }
    }

    pub(super) fn key(self, pass: &Pass) -> PipelineKey {
        let roles = pass.kernel.roles(pass.known).iter().filter(|(_, written)| !written);
        let overwritten = roles.filter_map(|&(role, _)| Some((role, self.read_through(pass, role)?))).collect();
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
                overwritten,
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
                same_parameters: pass.mapping.has_same_parameters(),
                through_statistics: pass.known != Known::Running,
                statistics_by: pass.statistics_by as u32,
            },
        }
    }
}
