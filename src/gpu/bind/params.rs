//! The uniform that every pass is given.

use crate::gpu::plan::{Pass, Window};
use crate::mapping::Mapping;
use crate::problem::{Average, Problem, Source, VarianceEstimator};
use crate::tensors::Role;

/// Declares the struct once, with its fields' names and types for the test that compares them with the shaders'.
macro_rules! params {
    ($($field:ident: $ty:ty,)*) => {
        /// `Params` of `shaders/shared/params.wgsl`: same fields, same order.
        #[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        pub(super) struct Params {
            $(pub(super) $field: $ty,)*
        }

        #[cfg(test)]
        const FIELDS: &[(&str, &str)] = &[$((stringify!($field), stringify!($ty)),)*];
    };
}

params! {
    r_count: u32,
    k_count: u32,
    s_count: u32,
    b_mod: u32,
    b_mul: u32,
    k_mul: u32,
    s_div: u32,
    tiles: u32,
    first_tile: u32,
    grid_width: u32,
    tile_length: u32,
    tiles_per_run: u32,
    column_lanes: u32,
    row_lanes: u32,
    column_blocks: u32,
    row_tiles: u32,
    partials: u32,
    inner_count: u32,
    b_stride: u32,
    k_stride: u32,
    outer_stride: u32,
    items: u32,
    zero: u32,
    eps: f32,
    weight_offset: f32,
    keep: f32,
    take: f32,
    cumulative: u32,
    unbiased: u32,
    x_start: u32,
    y_start: u32,
    weight_start: u32,
    bias_start: u32,
    mean_start: u32,
    rstd_start: u32,
    running_mean_start: u32,
    running_var_start: u32,
    batches_start: u32,
    rows: u32,
    pitch: u32,
    residual_start: u32,
    residual_out_start: u32,
    stats_start: u32,
    grad_output_start: u32,
    grad_input_start: u32,
    grad_weight_start: u32,
    grad_bias_start: u32,
    grad_residual_start: u32,
    moments_start: u32,
    sums_start: u32,
    group_b: u32,
    group_rows: u32,
    group_k: u32,
    accumulate: u32,
    partials_start: u32,
    least_square: f32,
    teams: u32,
    rounds: u32,
    pad_0: u32,
    pad_1: u32,
}

/// Sizes that the planner keeps below 2^32; `s_div` alone may be "never", which any larger number is as well.
fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Params {
    /// `start` is where a tensor begins relative to its binding, in elements, modulo 2^32.
    pub(super) fn new(problem: &Problem, pass: &Pass, window: &Window, start: impl Fn(Role) -> u32) -> Self {
        let Mapping { block, index, groups } = &pass.mapping;
        let work = &pass.work;
        let mut params = Self {
            r_count: narrow(block.r),
            k_count: narrow(block.k),
            s_count: narrow(block.s),
            b_mod: narrow(index.b_mod),
            b_mul: narrow(index.b_mul),
            k_mul: narrow(index.k_mul),
            s_div: narrow(index.s_div),
            tiles: narrow(window.count),
            first_tile: narrow(window.first),
            grid_width: window.grid.width,
            tile_length: narrow(work.tile_length),
            tiles_per_run: narrow(work.tiles_per_run),
            column_lanes: narrow(work.column_lanes),
            row_lanes: narrow(work.row_lanes),
            column_blocks: narrow(work.column_blocks),
            row_tiles: narrow(work.row_tiles),
            partials: narrow(work.partials),
            inner_count: narrow(work.inner_count),
            b_stride: narrow(work.b_stride),
            k_stride: narrow(work.k_stride),
            outer_stride: narrow(work.outer_stride),
            items: narrow(work.items),
            rows: narrow(work.rows),
            pitch: narrow(work.pitch),
            eps: problem.eps,
            least_square: problem.least_square(),
            teams: narrow(work.teams),
            rounds: narrow(work.rounds),
            weight_offset: problem.weight_offset,
            x_start: start(Role::X),
            y_start: start(Role::Y),
            weight_start: start(Role::Weight),
            bias_start: start(Role::Bias),
            mean_start: start(Role::Mean),
            rstd_start: start(Role::Rstd),
            running_mean_start: start(Role::RunningMean),
            running_var_start: start(Role::RunningVar),
            batches_start: start(Role::Batches),
            residual_start: start(Role::Residual),
            residual_out_start: start(Role::ResidualOut),
            stats_start: start(Role::Stats),
            grad_output_start: start(Role::GradOutput),
            grad_input_start: start(Role::GradInput),
            grad_weight_start: start(Role::GradWeight),
            grad_bias_start: start(Role::GradBias),
            grad_residual_start: start(Role::GradResidual),
            moments_start: start(Role::Moments),
            sums_start: start(Role::Sums),
            partials_start: start(Role::Partials),
            group_b: narrow(groups.b_step),
            group_rows: narrow(groups.rows),
            group_k: narrow(groups.k_div),
            accumulate: u32::from(problem.gradients().is_some_and(|wanted| wanted.accumulate)),
            ..Self::default()
        };
        if let Source::Tracked(tracking) = problem.source {
            match tracking.momentum.0 {
                Average::Exponential { keep, take, .. } => (params.keep, params.take) = (keep, take),
                Average::Cumulative => params.cumulative = 1,
            }
            params.unbiased = u32::from(tracking.estimator == VarianceEstimator::Unbiased);
        }
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field out of place would shift every number after it.
    #[test]
    fn fields_are_those_of_the_shader() {
        let wgsl = include_str!("../../../shaders/shared/params.wgsl");
        let body = wgsl.split("struct Params {").nth(1).and_then(|rest| rest.split('}').next());
        let fields: Vec<(&str, &str)> = body
            .into_iter()
            .flat_map(str::lines)
            .filter_map(|line| line.trim().trim_end_matches(',').split_once(": "))
            .filter(|(name, _)| !name.starts_with("//"))
            .collect();
        assert_eq!(fields, FIELDS);
        assert_eq!(size_of::<Params>() % 16, 0);
    }
}
