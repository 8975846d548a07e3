//! The uniform that every pass is given: the fields of `Params` in `shaders/shared/params.wgsl`, which say their meaning.

use std::sync::LazyLock;

use crate::block::Block;
use crate::gpu::plan::{Pass, Window};
use crate::modulation::{Modulated, by_modulation};
use crate::problem::{Average, Problem, Segment, Source, Tracking, VarianceEstimator};
use crate::tensors::{Role, owned_by_words};

/// Where each field comes from, in order.
static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| names().filter_map(Field::of).collect());

enum Field {
    /// Where a tensor begins.
    Start(Role),
    /// Its steps from one run of pieces to the next, and from one piece to the next.
    Outer(Role),
    Inner(Role),
    Number(Number),
}

/// A number of a field.
type Number = fn(&Told<'_>) -> u32;

/// What a pass is told of.
struct Told<'a> {
    problem: &'a Problem,
    pass: &'a Pass,
    window: &'a Window,
    odd: bool,
}

impl Field {
    fn of(name: &str) -> Option<Self> {
        let role = |suffix: &str| {
            let of = name.strip_suffix(suffix)?;
            Role::all().find(|role| role.shader_name() == of)
        };
        let start = role("_start").map(Self::Start);
        let step = || role("_outer").map(Self::Outer).or_else(|| role("_inner").map(Self::Inner));
        if let Some(field) = start.or_else(step) {
            return Some(field);
        }
        NUMBERS.iter().find(|(number, _)| *number == name).map(|&(_, number)| Self::Number(number))
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    let text = include_str!("../../../shaders/shared/params.wgsl");
    let fields = text.split(['{', '}']).nth(1).unwrap_or_default().lines();
    fields.filter_map(|line| line.trim().split_once(": ")).map(|(name, _)| name).filter(|name| !name.starts_with("//"))
}

/// Bytes of the uniform.
pub(super) fn size() -> u64 {
    FIELDS.len() as u64 * 4
}

/// The uniform of a window of a pass. `odd` is whether 16-bit elements that are written begin in the middle of a word, `start` is where a tensor begins relative to its binding, in elements, modulo 2^32.
pub(super) fn words(
    problem: &Problem,
    pass: &Pass,
    window: &Window,
    odd: bool,
    start: impl Fn(Role) -> u32,
) -> Vec<u32> {
    let told = Told { problem, pass, window, odd };
    let word = |field: &Field| match *field {
        Field::Start(role) => start(role),
        Field::Outer(role) => narrow(problem.placement.steps(role)[0]),
        Field::Inner(role) => narrow(problem.placement.steps(role)[1]),
        Field::Number(number) => number(&told),
    };
    FIELDS.iter().map(word).collect()
}

/// Sizes that the planner keeps below 2^32; `s_div` alone may be "never", which any larger number is as well.
fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Told<'_> {
    fn tracking(&self) -> Option<Tracking> {
        match self.problem.source {
            Source::Tracked(tracking) => Some(tracking),
            _ => None,
        }
    }

    fn modulated(&self) -> Option<&Modulated> {
        self.problem.modulation.as_ref()
    }

    /// The tensor by what shares scale and shift.
    fn sample(&self) -> Option<Block> {
        by_modulation(self.problem).map(|mapping| mapping.block)
    }

    fn segment(&self, number: usize) -> Option<Segment> {
        self.problem.segments.get(number).copied()
    }

    /// The first head of a segment; none comes to one that there is not.
    fn segment_start(&self, number: usize) -> u32 {
        self.segment(number)
            .map_or(u32::MAX, |_| narrow(self.problem.segments[..number].iter().map(|segment| segment.heads).sum()))
    }

    /// The steps of what is owned by words, and how many of its elements are neighbours.
    fn own_steps(&self) -> [u64; 2] {
        owned_by_words(self.problem).map_or([0; 2], |role| self.problem.placement.steps(role))
    }

    fn own_piece(&self) -> u64 {
        owned_by_words(self.problem).map_or(1, |role| self.problem.placement.own_piece(role))
    }

    /// Of the old running statistics, and of the batch's.
    fn shares(&self) -> [f32; 2] {
        match self.tracking().map(|tracking| tracking.momentum.0) {
            Some(Average::Exponential { keep, take, .. }) => [keep, take],
            _ => [0.0; 2],
        }
    }
}

/// The fields that say where no tensor begins.
const NUMBERS: &[(&str, Number)] = &[
    ("r_count", |t| narrow(t.pass.mapping.block.r)),
    ("k_count", |t| narrow(t.pass.mapping.block.k)),
    ("s_count", |t| narrow(t.pass.mapping.block.s)),
    ("b_mod", |t| narrow(t.pass.mapping.index.b_mod)),
    ("b_mul", |t| narrow(t.pass.mapping.index.b_mul)),
    ("r_mul", |t| narrow(t.pass.mapping.index.r_mul)),
    ("k_mul", |t| narrow(t.pass.mapping.index.k_mul)),
    ("s_div", |t| narrow(t.pass.mapping.index.s_div)),
    ("group_b_div", |t| narrow(t.pass.mapping.groups.b_div)),
    ("group_b", |t| narrow(t.pass.mapping.groups.b_step)),
    ("group_rows", |t| narrow(t.pass.mapping.groups.rows)),
    ("group_r", |t| narrow(t.pass.mapping.groups.r_step)),
    ("group_k", |t| narrow(t.pass.mapping.groups.k_div)),
    ("group_s", |t| narrow(t.pass.mapping.groups.s_step)),
    ("tiles", |t| narrow(t.window.count)),
    ("first_tile", |t| narrow(t.window.first)),
    ("grid_width", |t| t.window.grid.width),
    ("tile_length", |t| narrow(t.pass.work.tile_length)),
    ("tiles_per_run", |t| narrow(t.pass.work.tiles_per_run)),
    ("items", |t| narrow(t.pass.work.items)),
    ("teams", |t| narrow(t.pass.work.teams)),
    ("rounds", |t| narrow(t.pass.work.rounds)),
    ("column_lanes", |t| narrow(t.pass.work.column_lanes)),
    ("row_lanes", |t| narrow(t.pass.work.row_lanes)),
    ("column_blocks", |t| narrow(t.pass.work.column_blocks)),
    ("row_tiles", |t| narrow(t.pass.work.row_tiles)),
    ("rows", |t| narrow(t.pass.work.rows)),
    ("pitch", |t| narrow(t.pass.work.pitch)),
    ("partials", |t| narrow(t.pass.work.partials)),
    ("inner_count", |t| narrow(t.pass.work.inner_count)),
    ("inner_stride", |t| narrow(t.pass.work.inner_stride.max(1))),
    ("outer_stride", |t| narrow(t.pass.work.outer_stride)),
    ("b_stride", |t| narrow(t.pass.work.b_stride)),
    ("k_stride", |t| narrow(t.pass.work.k_stride)),
    ("eps", |t| t.segment(0).map_or(t.problem.eps, |segment| segment.eps).to_bits()),
    ("eps_1", |t| t.segment(1).map_or(0, |segment| segment.eps.to_bits())),
    ("eps_2", |t| t.segment(2).map_or(0, |segment| segment.eps.to_bits())),
    ("eps_3", |t| t.segment(3).map_or(0, |segment| segment.eps.to_bits())),
    ("segment_1", |t| t.segment_start(1)),
    ("segment_2", |t| t.segment_start(2)),
    ("segment_3", |t| t.segment_start(3)),
    ("heads", |t| narrow(t.problem.index.b_mod)),
    ("head_length", |t| narrow(t.problem.index.b_mul)),
    ("least_square", |t| t.problem.least_square().to_bits()),
    ("weight_offset", |t| t.problem.weight_offset.to_bits()),
    ("keep", |t| t.shares()[0].to_bits()),
    ("take", |t| t.shares()[1].to_bits()),
    ("cumulative", |t| u32::from(t.problem.averages_all())),
    ("unbiased", |t| u32::from(t.tracking().is_some_and(|it| it.estimator == VarianceEstimator::Unbiased))),
    ("accumulate", |t| u32::from(t.problem.gradients().is_some_and(|wanted| wanted.accumulate))),
    ("scale_offset", |t| t.modulated().map_or(0.0, |it| it.offset).to_bits()),
    ("modulation_run", |t| t.modulated().map_or(1, |it| narrow(it.shared * it.inner))),
    ("modulation_inner", |t| t.modulated().map_or(1, |it| narrow(it.inner))),
    ("modulation_line", |t| t.modulated().map_or(1, |it| narrow(it.line))),
    ("modulation_gap", |t| t.modulated().map_or(0, |it| narrow(it.pitch - it.line))),
    ("sample_elements", |t| t.sample().map_or(1, |Block { r, k, s, .. }| narrow(r * k * s))),
    ("sample_numbers", |t| t.sample().map_or(0, |block| narrow(block.k))),
    ("zero", |_| 0),
    ("unused", |_| 0),
    ("unused_too", |_| 0),
    ("odd", |t| u32::from(t.odd)),
    ("odd_outer", |t| t.own_steps()[0] as u32 % 2),
    ("odd_inner", |t| t.own_steps()[1] as u32 % 2),
    ("own_piece", |t| narrow(t.own_piece())),
    ("piece", |t| narrow(t.problem.placement.piece)),
    ("pieces", |t| narrow(t.problem.placement.pieces)),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that nobody knows would be left out, and shift every number after it.
    #[test]
    fn every_field_has_a_value() {
        for name in names() {
            assert!(Field::of(name).is_some(), "{name}");
        }
        assert!(FIELDS.len() > 50 && size().is_multiple_of(16), "{}", size());
    }
}
