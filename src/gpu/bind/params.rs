//! The uniform that every pass is given: the fields of `Params` in `shaders/shared/params.wgsl`, which say their meaning.

use std::sync::LazyLock;

use crate::gpu::plan::{Pass, Window};
use crate::mapping::Mapping;
use crate::problem::{Average, Problem, Source, VarianceEstimator};
use crate::tensors::Role;

/// Where each field comes from, in order.
static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| names().map(Field::of).collect());

enum Field {
    /// Where a tensor begins.
    Start(Role),
    Number(&'static str),
}

impl Field {
    fn of(name: &'static str) -> Self {
        let role = name.strip_suffix("_start").and_then(|of| Role::all().find(|role| role.shader_name() == of));
        role.map_or(Self::Number(name), Self::Start)
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

/// The uniform of a window of a pass. `start` is where a tensor begins relative to its binding, in elements, modulo 2^32.
pub(super) fn words(problem: &Problem, pass: &Pass, window: &Window, start: impl Fn(Role) -> u32) -> Vec<u32> {
    let number = |name: &str| number(problem, pass, window, name).unwrap_or_default();
    let word = |field: &Field| match *field {
        Field::Start(role) => start(role),
        Field::Number(name) => number(name),
    };
    FIELDS.iter().map(word).collect()
}

/// Sizes that the planner keeps below 2^32; `s_div` alone may be "never", which any larger number is as well.
fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn number(problem: &Problem, pass: &Pass, window: &Window, name: &str) -> Option<u32> {
    let Mapping { block, index, groups } = &pass.mapping;
    let work = &pass.work;
    let tracking = match problem.source {
        Source::Tracked(tracking) => Some(tracking),
        _ => None,
    };
    let average = tracking.map(|tracking| tracking.momentum.0);
    let (keep, take) = match average {
        Some(Average::Exponential { keep, take, .. }) => (keep, take),
        _ => (0.0, 0.0),
    };
    Some(match name {
        "r_count" => narrow(block.r),
        "k_count" => narrow(block.k),
        "s_count" => narrow(block.s),
        "b_mod" => narrow(index.b_mod),
        "b_mul" => narrow(index.b_mul),
        "k_mul" => narrow(index.k_mul),
        "s_div" => narrow(index.s_div),
        "group_b" => narrow(groups.b_step),
        "group_rows" => narrow(groups.rows),
        "group_k" => narrow(groups.k_div),
        "tiles" => narrow(window.count),
        "first_tile" => narrow(window.first),
        "grid_width" => window.grid.width,
        "tile_length" => narrow(work.tile_length),
        "tiles_per_run" => narrow(work.tiles_per_run),
        "items" => narrow(work.items),
        "teams" => narrow(work.teams),
        "rounds" => narrow(work.rounds),
        "column_lanes" => narrow(work.column_lanes),
        "row_lanes" => narrow(work.row_lanes),
        "column_blocks" => narrow(work.column_blocks),
        "row_tiles" => narrow(work.row_tiles),
        "rows" => narrow(work.rows),
        "pitch" => narrow(work.pitch),
        "partials" => narrow(work.partials),
        "inner_count" => narrow(work.inner_count),
        "outer_stride" => narrow(work.outer_stride),
        "b_stride" => narrow(work.b_stride),
        "k_stride" => narrow(work.k_stride),
        "eps" => problem.eps.to_bits(),
        "least_square" => problem.least_square().to_bits(),
        "weight_offset" => problem.weight_offset.to_bits(),
        "keep" => keep.to_bits(),
        "take" => take.to_bits(),
        "cumulative" => u32::from(average == Some(Average::Cumulative)),
        "unbiased" => u32::from(tracking.is_some_and(|tracking| tracking.estimator == VarianceEstimator::Unbiased)),
        "accumulate" => u32::from(problem.gradients().is_some_and(|wanted| wanted.accumulate)),
        "zero" | "pad_0" | "pad_1" => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::plan::{Capabilities, Plan, Tuning};
    use crate::norm::{LayerNorm, Norm};

    /// A field that nobody knows would always be 0.
    #[test]
    fn every_field_has_a_value() {
        let norm: Box<dyn Norm> = Box::new(LayerNorm::new(&[2, 3], &[3]).unwrap());
        let capabilities = Capabilities::from_limits(&wgpu::Limits::default());
        let plan = Plan::new(norm.lower().unwrap(), &capabilities, Tuning::Heuristic).unwrap();
        let pass = &plan.passes()[0];
        for name in names() {
            let known = matches!(Field::of(name), Field::Start(_));
            assert!(known || number(&plan.problem, pass, &pass.windows[0], name).is_some(), "{name}");
        }
        assert!(names().count() > 50 && size().is_multiple_of(16), "{}", size());
    }
}
