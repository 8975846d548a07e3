//! Which shader a pass needs, by the tensors there are.

use super::{Expected, Operands};
use crate::element::Element;
use crate::gpu::context::PipelineKey;
use crate::gpu::plan::{Capabilities, Pass, Plan, Schedule, Summed};
use crate::gpu::shader::{
    Access, Before, Choice, Constants, Kernel, Modulating, Spread, Statistics, TensorBinding, Variant,
};
use crate::problem::{Centering, Problem, Source};
use crate::tensors::{Role, cell_bytes};

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

    /// Whether its first elements can be read four at a time.
    fn starts_with_quad(self, problem: &Problem, role: Role) -> bool {
        match self {
            Self::Now(operands) => {
                operands.get(role).is_none_or(|view| view.offset.is_multiple_of(4 * cell_bytes(problem, role)))
            }
            Self::Later(_) => true,
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
    /// and what follows the norm does in any case; gradients of scale and shift are summed up where one is wanted.
    pub(super) fn passes(self) -> impl Iterator<Item = &'a Pass> {
        self.schedule.passes.iter().filter(move |pass| match (pass.kernel, pass.statistics) {
            (Kernel::CountBatch, _) => self.has(Role::Batches),
            _ if pass.summed == Summed::Branch => self.has(Role::GradGate) || self.has(Role::GradEmbedding),
            (_, Statistics::None) => {
                let Problem { activation, skip, .. } = self.problem;
                let follows = [Role::Bias, Role::Scale, Role::Shift].into_iter().any(|role| self.has(role));
                follows || activation.is_some() || *skip
            }
            _ if pass.summed == Summed::Modulation => self.has(Role::GradScale) || self.has(Role::GradShift),
            _ => true,
        })
    }

    fn has(self, role: Role) -> bool {
        self.given.has(self.problem, role)
    }

    fn all_tensors(self, pass: &Pass) -> Vec<(Role, bool)> {
        pass.tensors(self.before(pass))
    }

    /// The tensors a pass binds, as its shader must declare them.
    pub(super) fn tensors(self, pass: &Pass) -> Vec<TensorBinding> {
        let within = self.within(pass);
        let apart = |tensor: &TensorBinding| within.iter().all(|&(of, _)| of != tensor.role);
        self.each_bound(pass).into_iter().filter(apart).collect()
    }

    /// Tensors that lie within the binding of another in their buffer: those that are read where the device has too few for each to have its
    /// own, and gradients of a modulation always, as their rows may take turns.
    pub(super) fn within(self, pass: &Pass) -> Vec<(Role, Role)> {
        let bound = self.each_bound(pass);
        let few = bound.len() > self.capabilities.max_storage_buffers as usize;
        let has = |role: Role, access: Access| bound.contains(&TensorBinding { role, access });
        let Choice { modulation, before, .. } = self.choice(pass);
        let alike = matches!((modulation, before), (Modulating::Apart(one), Before::Gate(other)) if one == other);
        let modulating = [Role::Scale, Role::Shift, Role::Gate, Role::Embedding];
        let sets = [
            (&[Role::Weight, Role::Bias][..], Access::Read),
            (&modulating[..if alike { 4 } else { 2 }], Access::Read),
            (&modulating[2..], Access::Read),
            (&[Role::GradScale, Role::GradShift], Access::ReadWrite),
            (&[Role::GradGate, Role::GradEmbedding], Access::ReadWrite),
        ];
        let mut within: Vec<(Role, Role)> = Vec::new();
        for (set, access) in sets.into_iter().filter(|&(_, access)| few || access == Access::ReadWrite) {
            for (number, &of) in set.iter().enumerate() {
                let leads = |&by: &Role| has(by, access) && within.iter().all(|&(other, _)| other != by);
                let free = within.iter().all(|&(other, _)| other != of);
                let by = set[..number].iter().copied().filter(leads).find(|&by| self.given.share_a_buffer(of, by));
                within.extend(by.filter(|_| free && has(of, access)).map(|by| (of, by)));
            }
        }
        within
    }

    fn each_bound(self, pass: &Pass) -> Vec<TensorBinding> {
        let all = self.all_tensors(pass);
        let back = self.problem.gradients().is_some() && self.problem.activation.is_none();
        let present = |role: Role| match role {
            Role::Partials | Role::PartialSums | Role::GroupSums => true,
            // On the way back only slopes go by them, and gradients of scale by the bias.
            Role::Shift if back => false,
            // Sums speak of it, and leave it to the pass that writes the gradient of x.
            Role::GradSkip if all.iter().all(|&(other, _)| other != Role::GradInput) => false,
            Role::Bias if back && pass.summed != Summed::Modulation => false,
            Role::RowSums => self.schedule.row_sums > 0,
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

    fn choice(self, pass: &Pass) -> Choice {
        let choice = pass.choice(self.before(pass));
        let Some(modulated) = self.problem.modulation.as_ref().filter(|_| choice.modulation != Modulating::None) else {
            return choice;
        };
        let modulation = match self.spread(pass, [Role::Scale, Role::Shift]) {
            None => Modulating::None,
            Some((quads, _)) if pass.folds_modulation(self.problem, modulated, quads) => Modulating::Folded,
            Some((_, spread)) => Modulating::Apart(spread),
        };
        Choice { modulation, ..choice }
    }

    /// What comes before the norm; going back, what `dx` goes on to.
    fn before(self, pass: &Pass) -> Before {
        let back = self.problem.gradients().is_some();
        if back && !pass.kernel.goes_back() {
            return Before::Nothing;
        }
        match self.spread(pass, [Role::Gate, Role::Embedding]) {
            Some((_, spread)) if !back || self.has(Role::GradBranch) => Before::Gate(spread),
            _ if self.has(Role::Residual) => Before::Residual,
            _ => Before::Nothing,
        }
    }

    /// How the numbers that a pack has of these are loaded, if they are given, and whether rows of them begin at multiples of four.
    fn spread(self, pass: &Pass, roles: [Role; 2]) -> Option<(bool, Spread)> {
        let modulated = self.problem.modulation.as_ref()?;
        let given = roles.into_iter().filter(|&role| self.has(role));
        let aligned: Vec<bool> = given.map(|role| self.given.starts_with_quad(self.problem, role)).collect();
        let rows = !modulated.has_gaps() || modulated.pitch.is_multiple_of(4);
        let quads = rows && !aligned.contains(&false);
        let packs = quads && pass.loads_modulation_by_packs(modulated);
        (!aligned.is_empty()).then_some((quads, if packs { Spread::Packs } else { Spread::Numbers }))
    }

    pub(super) fn key(self, pass: &Pass) -> PipelineKey {
        let all = self.all_tensors(pass);
        let overwritten = all.iter().filter_map(|&(role, _)| Some((role, self.read_through(&all, role)?)));
        PipelineKey {
            variant: Variant {
                choice: self.choice(pass),
                tensors: self.tensors(pass),
                within: self.within(pass),
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
                by_words: pass.turns.by_words,
                same_parameters: pass.mapping.has_same_parameters(),
                neighbours: pass.work.inner_count != 1,
                through_statistics: self.problem.source != Source::Running,
                activation: self.problem.activation.filter(|_| pass.follows).map_or(0, |activation| activation as u32),
                adds_skip: self.problem.skip && pass.follows,
                modulated_by: self.problem.modulation.as_ref().map_or(0, |it| pass.modulated_by(it)),
                modulation_constant: self.problem.modulation.as_ref().is_some_and(|it| it.inner == 1),
                summed: pass.summed as u32,
                statistics_by: pass.statistics_by as u32,
                weights_by: pass.weights_by() as u32,
                beside: pass.work.beside as u32,
                bfloat: self.problem.storage.short() == Some(Element::Bf16),
                // It means nothing elsewhere, where all take one pipeline.
                exact_pack: self.capabilities.exact_pack && self.problem.storage.short() == Some(Element::F16),
                // What only adds a bias finds the weight applied.
                round_before_weight: self.problem.rounds_before_weight() && pass.statistics != Statistics::None,
                placed_by: pass.placed as u32,
                segmented: !self.problem.segments.is_empty(),
            },
        }
    }
}
