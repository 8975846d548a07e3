//! Which shader a pass needs, by the tensors there are.

use super::{Expected, Operands};
use crate::element::Element;
use crate::gpu::context::PipelineKey;
use crate::gpu::plan::{Capabilities, Pass, Plan, Schedule};
use crate::gpu::shader::{Access, Constants, Kernel, Statistics, TensorBinding, Variant};
use crate::problem::{Centering, Problem, Source};
use crate::tensors::Role;

/// The tensors there are, or will be.
#[derive(Clone, Copy)]
pub(super) enum Presence<'a> {
    Now(&'a Operands<'a>),
    Later(Expected),
}

impl Presence<'_> {
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
            Self::Later(expected) => expected.share_a_buffer(one, other),
        }
    }
}

/// A problem and its tensors.
#[derive(Clone, Copy)]
pub(super) struct Chooser<'a> {
    pub(super) problem: &'a Problem,
    pub(super) capabilities: &'a Capabilities,
    pub(super) schedule: &'a Schedule,
    pub(super) given: Presence<'a>,
}

impl<'a> Chooser<'a> {
    /// For a plan as it is, and tensors to come.
    pub(super) fn expecting(plan: &'a Plan, expected: Expected) -> Self {
        let Plan { problem, capabilities, schedule, .. } = plan;
        Self { problem, capabilities, schedule, given: Presence::Later(expected) }
    }

    /// The passes to run: batches are counted only where there is a count, a bias is added where there is one,
    /// and an activation follows in any case.
    pub(super) fn passes(self) -> impl Iterator<Item = &'a Pass> {
        self.schedule.passes.iter().filter(move |pass| match (pass.kernel, pass.statistics) {
            (Kernel::CountBatch, _) => self.has(Role::Batches),
            (_, Statistics::None) => self.has(Role::Bias) || pass.activation.is_some(),
            _ => true,
        })
    }

    fn has(self, role: Role) -> bool {
        self.given.has(self.problem, role)
    }

    fn all_tensors(self, pass: &Pass) -> Vec<(Role, bool)> {
        pass.tensors(self.has(Role::Residual))
    }

    /// The tensors a pass binds, as its shader must declare them.
    pub(super) fn tensors(self, pass: &Pass) -> Vec<TensorBinding> {
        let all = self.all_tensors(pass);
        let present = |role: Role| match role {
            Role::Partials | Role::PartialSums | Role::GroupSums => true,
            Role::Stats => self.schedule.statistics > 0 || self.has(role),
            // The merge reads it for the cumulative average alone.
            Role::Batches if pass.kernel == Kernel::Merge => self.problem.averages_all() && self.has(role),
            _ => self.has(role) && self.read_through(&all, role).is_none(),
        };
        let written = |role: Role| {
            all.iter().any(|&(other, written)| written && (other == role || self.given.share_a_buffer(role, other)))
        };
        all.iter()
            .filter(|&&(role, _)| present(role))
            .map(|&(role, _)| TensorBinding {
                role,
                access: if written(role) { Access::ReadWrite } else { Access::Read },
            })
            .collect()
    }

    /// Of all tensors of a pass the one that exactly overwrites `role`, which is read through its binding.
    fn read_through(self, all: &[(Role, bool)], role: Role) -> Option<Role> {
        let overwrites = |by: Role| by.may_overwrite().contains(&role) && self.given.coincide(by, role);
        let written = all.iter().filter(|&&(_, written)| written);
        written.map(|&(by, _)| by).find(|&by| self.has(by) && overwrites(by))
    }

    pub(super) fn key(self, pass: &Pass) -> PipelineKey {
        let all = self.all_tensors(pass);
        let overwritten = all.iter().filter_map(|&(role, _)| Some((role, self.read_through(&all, role)?)));
        PipelineKey {
            variant: Variant {
                choice: pass.choice(self.has(Role::Residual)),
                tensors: self.tensors(pass),
                through: pass.in_place_of.iter().copied().chain(overwritten).collect(),
            },
            constants: Constants {
                workgroup_size: pass.team.workgroup_size,
                lanes: pass.team.lanes,
                smallest_subgroup: self.capabilities.subgroup().unwrap_or(1),
                subtract_mean: self.problem.centering == Centering::Mean,
                scaling: self.problem.scaling as u32,
                hide_subtractions: self.capabilities.reassociates,
                span: pass.turns.span,
                whole: pass.turns.whole,
                same_parameters: pass.mapping.has_same_parameters(),
                neighbours: pass.work.inner_count != 1,
                through_statistics: self.problem.source != Source::Running,
                activation: pass.activation.map_or(0, |activation| activation as u32),
                weighted_sums: pass.weighted,
                statistics_by: pass.statistics_by as u32,
                weights_by: pass.weights_by() as u32,
                beside: pass.work.beside as u32,
                bfloat: self.problem.storage.short() == Some(Element::Bf16),
                // What only adds a bias finds the weight applied.
                round_before_weight: self.problem.rounds_before_weight() && pass.statistics != Statistics::None,
                placed_by: pass.placed as u32,
                segmented: !self.problem.segments.is_empty(),
            },
        }
    }
}
