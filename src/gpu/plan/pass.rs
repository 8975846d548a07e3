//! One pass: a kernel, how its lanes share the work, and over what.

use std::fmt;

use super::Window;
use crate::block::{AffineIndex, Block};
use crate::gpu::shader::{
    Affine, Before, Choice, Halves, Hold, Keep, Kernel, Modulating, Reduction, Statistics, Width,
};
use crate::mapping::Mapping;
use crate::modulation::{Modulated, by_modulation};
use crate::problem::Problem;
use crate::strides::Span;
use crate::tensors::Role;

/// One step of a plan: a dispatch; several if a tensor is larger than a storage binding; two, by words, if its rows share words of two
/// 16-bit elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    pub(crate) kernel: Kernel,
    pub(crate) width: Width,
    pub(crate) hold: Hold,
    pub(crate) affine: Affine,
    pub(crate) statistics: Statistics,
    pub(crate) keep: Keep,
    pub(crate) halves: Halves,
    /// Tensors that it does without, though its kernel speaks of them.
    pub(crate) without: &'static [Role],
    /// Tensors of the user in the place of some that its kernel speaks of, `(of the kernel, of the user)`.
    pub(crate) in_place_of: &'static [(Role, Role)],
    pub(crate) team: Team,
    pub(crate) turns: Turns,
    pub(crate) mapping: Mapping,
    /// Whether it applies what follows the norm, or goes back through that.
    pub(crate) follows: bool,
    /// Sums of gradients: what they are for.
    pub(crate) summed: Summed,
    pub(crate) modulation: Modulating,
    pub(crate) statistics_by: By,
    pub(crate) placed: Placed,
    pub(crate) work: Work,
    pub(crate) windows: Vec<Window>,
}

/// Which elements of a tile by columns share statistics, or weight and bias: those of a column, those of a row, or none. Numbered as in
/// `shaders/shared/params.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum By {
    Column = 0,
    Row = 1,
    Element = 2,
}

/// What sums of gradients are for. Numbered as in `shaders/shared/params.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Summed {
    /// Groups: they are weighted.
    Group = 0,
    /// Weight and bias.
    Weight = 1,
    /// Scale and shift.
    Modulation = 2,
    /// Gate and embedding: sums over the gradient of what was normalized, as it is stored.
    Branch = 3,
}

/// How a pass finds where the elements of tensors with strides lie. Numbered as in `shaders/shared/strides.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Placed {
    /// One after the other: there are no strides.
    Next = 0,
    /// Each row that a lane takes lies in one piece, which it finds once.
    ByPiece = 1,
    /// Each load finds its own.
    ByElement = 2,
}

/// Scale and shift alone are also found for each pack: as in `shaders/shared/modulation.wgsl`.
const BY_PACK: u32 = 3;

/// In which order a lane takes its packs, as in `shaders/shared/params.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Turns {
    pub(crate) span: u32,
    pub(crate) together: u32,
    pub(crate) whole: bool,
    pub(crate) by_words: bool,
}

/// How the lanes of a workgroup work together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Team {
    pub(crate) workgroup_size: u32,
    /// Lanes that share a tile: a power of two.
    pub(crate) lanes: u32,
    pub(crate) reduction: Reduction,
}

/// The numbers a kernel is told, as in `shaders/shared/params.wgsl`. Those that it does not ask for are 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Work {
    /// All tiles of the pass. By columns a tile is that of a whole workgroup; of a merge it is a group or a parameter.
    pub(crate) tiles: u64,
    /// Rows: elements of a tile, the last of a run of `S` may have fewer. Columns: rows of a lane.
    pub(crate) tile_length: u64,
    /// Rows: tiles of one run of `S`.
    pub(crate) tiles_per_run: u64,
    /// Rows: packs of a tile that fall to one lane.
    pub(crate) items: u64,
    /// Rows for sums of parameters: teams of lanes, and rows that each takes one after the other.
    pub(crate) teams: u64,
    pub(crate) rounds: u64,
    /// Runs side by side that a tile is of, where they are several.
    pub(crate) beside: u64,
    /// Columns: lanes of a workgroup across the columns, and down the rows.
    pub(crate) column_lanes: u64,
    pub(crate) row_lanes: u64,
    /// Columns: workgroups across.
    pub(crate) column_blocks: u64,
    /// Columns: lanes down the rows of one `b`, over all workgroups. Each leaves a partial.
    pub(crate) row_tiles: u64,
    /// Columns: rows of one `b`, and columns of a row, both with neighbouring rows folded into one.
    pub(crate) rows: u64,
    pub(crate) pitch: u64,
    /// Merges: partials of one group or parameter, in runs of `inner_count`.
    pub(crate) partials: u64,
    pub(crate) inner_count: u64,
    /// Merges, in partials: within such a run, 0 where they are neighbours; from one run to the next, from one `b` to the next, and from one
    /// `k` to the next.
    pub(crate) inner_stride: u64,
    pub(crate) outer_stride: u64,
    pub(crate) b_stride: u64,
    pub(crate) k_stride: u64,
}

impl Pass {
    /// What it does: `fused_rows`, `stats_columns`, ... It is the name of a file of `shaders/kernels/`, after `backward_` for the
    /// backward ones that fuse or apply; `merge_parameters` is `merge_sums` into the gradients of weight and bias, `merge_modulation` into those of scale and shift,
    /// `merge_gate` into those of a gate and an embedding.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match (self.keep, self.summed) {
            (Keep::Parameters, Summed::Modulation) => "merge_modulation",
            (Keep::Parameters, Summed::Branch) => "merge_gate",
            (Keep::Parameters, _) => "merge_parameters",
            _ => self.kernel.name(),
        }
    }

    /// Number of workgroups that are dispatched.
    #[must_use]
    pub fn workgroups(&self) -> u64 {
        self.windows.iter().map(|window| window.grid.workgroups).sum()
    }

    /// Invocations per workgroup.
    #[must_use]
    pub fn workgroup_size(&self) -> u32 {
        self.team.workgroup_size
    }
}

impl Pass {
    /// Which of the elements that its lanes go over share weight and bias.
    pub(crate) fn weights_by(&self) -> By {
        let Mapping { block, index, .. } = self.mapping;
        match index.r_mul {
            0 => By::Column,
            _ if block.s == 1 && self.work.pitch == block.k => By::Row,
            _ => By::Element,
        }
    }

    /// How it finds scale and shift, as `modulated_by` in `shaders/shared/params.wgsl`.
    pub(crate) fn modulated_by(&self, modulated: &Modulated) -> u32 {
        // What it locates at once: pieces as those of strides.
        let unit = match self.kernel {
            Kernel::SumsBeside => None,
            kernel if kernel.by_columns() => Some(self.work.pitch),
            kernel if kernel.by_rows() => Some(self.mapping.block.s),
            _ => None,
        };
        let lie_so = |unit: u64| modulated.is_constant(unit) || modulated.is_along(unit);
        match unit {
            Some(unit) if lie_so(unit) => Placed::ByPiece as u32,
            _ if lie_so(u64::from(self.width.elements())) => BY_PACK,
            _ => Placed::ByElement as u32,
        }
    }

    /// Whether scale and shift can be loaded with weight and bias, each lane's being those of one sample; `aligned` is whether rows of them
    /// begin at multiples of four.
    pub(crate) fn folds_modulation(&self, problem: &Problem, modulated: &Modulated, aligned: bool) -> bool {
        let Some(Mapping { block: Block { r, k, s, .. }, index, .. }) = by_modulation(problem) else { return false };
        let (sample, own) = (r * k * s, self.mapping.block);
        let one_sample = match self.kernel {
            Kernel::FusedRows | Kernel::ApplyRows => sample.is_multiple_of(own.s),
            Kernel::FusedColumns | Kernel::FusedTallColumns | Kernel::ApplyColumns => {
                sample.is_multiple_of(own.r * own.k * own.s)
            }
            Kernel::ApplyPairs => true,
            _ => false,
        };
        // Lanes that share weights have rows side by side.
        let shared = self.affine == Affine::Shared;
        let apart = !shared
            || (self.windows.len() == 1 && (sample / own.s.max(1)).is_multiple_of(u64::from(self.team.workgroup_size)));
        let in_one_row = !modulated.has_gaps() || modulated.line.is_multiple_of(k);
        let packs = shared || self.affine == Affine::Element;
        let aligned = !packs || self.width == Width::Scalar || (aligned && k.is_multiple_of(4));
        // What has no weight of its own finds no scale by it.
        let weighted = index == AffineIndex::PER_K && problem.parameters() == k;
        let each = modulated.numbers() == problem.block.elements() / sample * k;
        weighted && each && one_sample && apart && in_one_row && aligned
    }

    /// Whether those of four elements are neighbours that can be loaded at once, if the first of each row can.
    pub(crate) fn loads_modulation_by_packs(&self, modulated: &Modulated) -> bool {
        self.width == Width::Quad && modulated.is_along(4)
    }

    /// What its dispatches bind of `x` and `y`, one after the other. By words two of them take turns at the same elements.
    pub(crate) fn parts(&self) -> Vec<Span> {
        let mut parts: Vec<_> = self.windows.iter().map(|window| window.elements).collect();
        parts.dedup();
        parts
    }

    /// What decides the files of its shader; `before` is what comes before the norm.
    pub(crate) fn choice(&self, before: Before) -> Choice {
        Choice {
            kernel: self.kernel,
            width: self.width,
            hold: self.hold,
            affine: self.affine,
            statistics: self.statistics,
            keep: self.keep,
            reduction: self.team.reduction,
            modulation: self.modulation,
            before: if self.without.contains(&Role::Residual) { Before::Nothing } else { before },
            together: self.turns.together,
            halves: self.halves,
        }
        .normal()
    }

    /// The tensors that it reads or writes where they are given, and whether it writes them.
    pub(crate) fn tensors(&self, before: Before) -> Vec<(Role, bool)> {
        let stand_in = |role: Role| self.in_place_of.iter().find(|&&(of, _)| of == role).map_or(role, |&(_, by)| by);
        let mut tensors: Vec<(Role, bool)> = Vec::new();
        for (role, written) in self.choice(before).roles().into_iter().filter(|(role, _)| !self.without.contains(role))
        {
            let role = stand_in(role);
            match tensors.iter_mut().find(|(there, _)| *there == role) {
                Some((_, also)) => *also |= written,
                None => tensors.push((role, written)),
            }
        }
        tensors
    }

    /// Bytes that it reads and writes of one element of `x` and `y`, and of their gradients.
    pub(crate) fn bytes_moved(&self) -> u64 {
        let moved = [Role::X, Role::Y, Role::GradOutput, Role::GradInput];
        let roles = self.choice(Before::Nothing).roles().into_iter().map(|(role, _)| role);
        let moved = roles.filter(|role| moved.contains(role) && !self.without.contains(role));
        moved.map(|role| if self.halves.of(role) { 2 } else { 4 }).sum()
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} x {} invocations", self.name(), self.workgroups(), self.workgroup_size())?;
        match self.kernel {
            Kernel::CountBatch => return write!(f, ", where num_batches_tracked is given"),
            kernel if kernel.by_columns() => {
                write!(f, ", {} across and {} down", self.work.column_lanes, self.work.row_lanes)?;
            }
            _ => write!(f, ", {} to a tile", self.team.lanes)?,
        }
        if self.team.reduction != Reduction::Alone {
            write!(f, ", by {}", self.team.reduction.name())?;
        }
        if self.bytes_moved() > 0 {
            write!(f, ", {}-wide", self.width.elements())?;
            f.write_str(match self.placed {
                Placed::Next => "",
                Placed::ByPiece => ", strides by row",
                Placed::ByElement => ", strides by element",
            })?;
        }
        if self.turns.by_words {
            f.write_str(", by words")?;
        }
        let parts = self.parts().len();
        if parts > 1 {
            write!(f, ", in {parts} windows")?;
        }
        Ok(())
    }
}

impl Team {
    /// Lanes that never exchange anything.
    pub(super) fn apart(workgroup_size: u32) -> Self {
        Self { workgroup_size, lanes: 1, reduction: Reduction::Alone }
    }
}
