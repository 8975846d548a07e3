//! What the passes of every plan are made by.

use super::window::{self, Layout};
use super::{
    By, Capabilities, Grid, Pass, Placed, Summed, Team, Traversal, Tuning, Turns, Window, Work, columns, rows,
};
use crate::block::Block;
use crate::element::Element;
use crate::epilogue::Activation;
use crate::error::SpecError;
use crate::gpu::shader::{Affine, Halves, Hold, Keep, Kernel, Modulating, Spread, Statistics, Width};
use crate::mapping::Mapping;
use crate::problem::Problem;
use crate::strides::Span;
use crate::tensors::{Role, owned_by_words};

/// As many as every software adapter has in a subgroup, or fewer.
pub(super) const MOST_TOGETHER: u64 = 8;

/// Makes the passes of one schedule.
#[derive(Clone, Copy)]
pub(super) struct Planner<'a> {
    pub(super) problem: &'a Problem,
    pub(super) mapping: Mapping,
    pub(super) capabilities: &'a Capabilities,
    pub(super) tuning: Tuning,
    /// The widest loads the alignment of the tensors allows.
    pub(super) width: Width,
}

impl Planner<'_> {
    pub(super) fn traversal(&self) -> Traversal {
        Traversal::of(&self.mapping, self.capabilities, self.width, self.tuning)
    }

    pub(super) fn grid(&self, workgroups: u64) -> Result<Grid, SpecError> {
        Grid::new(self.problem.norm, workgroups, self.capabilities)
    }

    /// A pass over `count` tiles that lie in no tensor of the size of `x`.
    pub(super) fn small(&self, kernel: Kernel, team: Team, work: Work, count: u64) -> Result<Pass, SpecError> {
        let grid = self.grid(count.div_ceil(u64::from(team.workgroup_size / team.lanes)))?;
        let elements = Span { first: 0, length: 0 };
        let window = Window { grid, first: 0, count, elements, parameters: None, first_record: 0 };
        Ok(Pass { width: Width::Scalar, ..self.pass(kernel, team, Work { tiles: count, ..work }, vec![window]) })
    }

    pub(super) fn pass(&self, kernel: Kernel, team: Team, work: Work, windows: Vec<Window>) -> Pass {
        Pass {
            kernel,
            width: self.width,
            hold: Hold::None,
            affine: Affine::Constant,
            statistics: Statistics::Stored,
            keep: Keep::Statistics,
            halves: Halves::of_storage(self.problem.storage),
            without: &[],
            in_place_of: &[],
            team,
            turns: Turns { span: 1, together: 1, whole: false, by_words: false },
            mapping: self.mapping,
            follows: true,
            summed: Summed::Group,
            modulation: match self.problem.modulation {
                Some(_) => Modulating::Apart(Spread::Numbers),
                None => Modulating::None,
            },
            statistics_by: By::Column,
            placed: self.placed(kernel, &work),
            work,
            windows,
        }
    }

    /// How a kernel finds where elements lie.
    fn placed(&self, kernel: Kernel, work: &Work) -> Placed {
        let placement = &self.problem.placement;
        let unit = match kernel {
            kernel if kernel.by_columns() => work.pitch,
            kernel if kernel.by_rows() => self.mapping.block.s,
            _ => u64::MAX,
        };
        match unit {
            _ if placement.is_contiguous() => Placed::Next,
            unit if placement.piece.is_multiple_of(unit) => Placed::ByPiece,
            _ => Placed::ByElement,
        }
    }

    /// The windows of a pass by rows.
    pub(super) fn windows(&self, layout: &Layout, tiling: &rows::Tiling) -> Result<Vec<Window>, SpecError> {
        let mut windows =
            window::cut(self.problem.norm, layout, self.capabilities, |tiles| self.grid(tiling.workgroups(tiles)))?;
        // Parameters that fit a binding are bound whole.
        let whole = self.problem.parameters() <= window::most_elements(self.capabilities);
        if whole || self.mapping.index.s_div != 1 || self.mapping.index.r_mul > 0 {
            windows.iter_mut().for_each(|window| window.parameters = None);
        }
        Ok(windows)
    }

    /// The windows of runs of `parts` tiles each whose neighbours share a word: those of even and of odd number, in dispatches of their own.
    fn every_other(&self, windows: Vec<Window>, parts: u64, tiling: &rows::Tiling) -> Result<Vec<Window>, SpecError> {
        self.check_pieces(false)?;
        let of = |window: Window, run: u64, runs: u64| {
            let (first, count) = (window.first + run * parts, runs * parts);
            Ok(Window { grid: self.grid(tiling.workgroups(count))?, first, count, ..window })
        };
        // Tiles of a part of a run may begin with the element before it.
        let wider = |Span { first, length }: Span| Span { first: first - 1, length: length + 1 };
        let each = windows.into_iter().flat_map(|window| match window.count / parts {
            0 if window.first.is_multiple_of(parts) => vec![Ok(window)],
            0 => {
                let (elements, parameters) = (wider(window.elements), window.parameters.map(wider));
                vec![Ok(Window { elements, parameters, ..window })]
            }
            1 => vec![Ok(window)],
            runs => vec![of(window, 0, runs.div_ceil(2)), of(window, 1, runs / 2)],
        });
        each.collect()
    }

    /// Quads of a row may not straddle two runs of `S`, nor two weights.
    pub(super) fn width_of_rows(&self) -> Width {
        let s_div = self.mapping.index.s_div;
        let s = self.mapping.block.s;
        let aligned = s.is_multiple_of(4) && (s_div == 1 || s_div >= s || s_div.is_multiple_of(4));
        if aligned { self.width } else { Width::Scalar }
    }

    pub(super) fn affine_of_rows(&self) -> Affine {
        match self.mapping.index.s_div {
            1 => Affine::Element,
            s_div if s_div >= self.mapping.block.s => Affine::Constant,
            _ => Affine::Divided,
        }
    }

    /// Packs that a lane of a software adapter takes at once, at most, and lanes that share weights. llvmpipe unrolls no loop that is long
    /// by its instructions, and one over arrays that it leaves as it is takes twice the time.
    pub(super) fn most_together(&self, kernel: Kernel) -> u64 {
        let curved = self.problem.activation.is_some_and(|of| of != Activation::Relu);
        match kernel {
            Kernel::StatsRows | Kernel::StatsColumns => MOST_TOGETHER,
            _ if curved && kernel.goes_back() => 2,
            _ if curved || self.problem.storage.x == Element::F16 => 4,
            _ if self.problem.activation.is_some() && kernel.goes_back() => 4,
            _ => MOST_TOGETHER,
        }
    }

    pub(super) fn fused(&self, kernel: Kernel) -> Result<Pass, SpecError> {
        let block = &self.problem.block;
        let width = self.width_of_rows();
        let tiling = rows::Tiling::new(
            block.s,
            block.groups(),
            width,
            kernel.tensors_held(),
            self.most_together(kernel),
            self.capabilities,
            self.tuning,
        );
        let by_words = self.splits_words(width);
        let tiling = if by_words { tiling.by_words() } else { tiling };
        let work = Work { tiles: block.groups(), tiles_per_run: 1, tile_length: block.s, ..tiling.work() };
        let windows =
            self.windows(&Layout { units: block.groups(), length: block.s, parts: 1, tile: block.s }, &tiling)?;
        let windows = if by_words { self.every_other(windows, 1, &tiling)? } else { windows };
        let turns = tiling.turns(width, !by_words);
        let affine = self.affine_of_rows();
        let pass = Pass { width, hold: tiling.hold(), affine, turns, ..self.pass(kernel, tiling.team, work, windows) };
        // Lanes side by side have groups of other b and k, whose weights must be the same; by words they go along side by side where all rows
        // begin at the same half of one.
        let apart = by_words && !self.problem.placement.is_contiguous();
        let same = self.problem.affine && self.mapping.has_same_parameters();
        Ok(match tiling.sharing(self.capabilities).filter(|_| affine == Affine::Element && same && !apart) {
            Some((team, together)) => Pass { affine: Affine::Shared, team, turns: Turns { together, ..turns }, ..pass },
            None if affine == Affine::Divided && !by_words && tiling.steps(width, self.mapping.index.s_div) => {
                Pass { affine: Affine::Stepped, ..pass }
            }
            None => pass,
        })
    }

    pub(super) fn rows(&self, kernel: Kernel) -> Result<Pass, SpecError> {
        let block = &self.mapping.block;
        let width = self.width_of_rows();
        let by_words = kernel.stores_rows() && self.splits_words(width);
        // By words there may be an element before the first.
        let (tile_length, parts) = rows::tiles(block.s + u64::from(by_words), self.capabilities);
        let tiles = block.groups() * block.r * parts;
        let tiling = rows::Tiling::new(
            tile_length,
            tiles,
            width,
            kernel.tensors_held(),
            self.most_together(kernel),
            self.capabilities,
            self.tuning,
        );
        let tiling = if by_words { tiling.by_words() } else { tiling };
        let tiling = if kernel == Kernel::StatsRows { tiling } else { tiling.holding_nothing() };
        let work = Work { tiles, tiles_per_run: parts, tile_length, ..tiling.work() };
        let layout = Layout { units: block.groups() * block.r, length: block.s, parts, tile: tile_length };
        let windows = self.windows(&layout, &tiling)?;
        let windows = if by_words { self.every_other(windows, parts, &tiling)? } else { windows };
        let pass = self.pass(kernel, tiling.team, work, windows);
        let even = !by_words && parts * tile_length == block.s;
        Ok(Pass { width, hold: tiling.hold(), turns: tiling.turns(width, even), ..pass })
    }

    /// The sums of runs side by side, whose statistics go along them, a few of one row of the mapping at a time.
    pub(super) fn runs_beside(&self) -> Result<Pass, SpecError> {
        let Block { b, r, k, s } = self.mapping.block;
        let width = self.width_of_rows();
        let (tile_length, parts) = rows::tiles(s, self.capabilities);
        let beside =
            rows::most_beside(self.capabilities).min(k).min(window::most_elements(self.capabilities) / s).max(1);
        let bundles = k.div_ceil(beside);
        let tiles = b * r * bundles * parts;
        let tiling = rows::Tiling::new(tile_length, tiles, width, 1, MOST_TOGETHER, self.capabilities, self.tuning)
            .holding_nothing();
        let layout = Layout { units: b * r, length: k * s, parts: bundles, tile: beside * s };
        let mut windows = window::cut(self.problem.norm, &layout, self.capabilities, |bundles| {
            self.grid(tiling.workgroups(bundles * parts))
        })?;
        // The kernel counts tiles, of which there are `parts` to a bundle of runs.
        for window in &mut windows {
            (window.first, window.count, window.parameters) = (window.first * parts, window.count * parts, None);
        }
        let work = Work { tiles, tiles_per_run: parts, tile_length, beside, ..tiling.work() };
        let turns = Turns { together: 1, ..tiling.turns(width, parts * tile_length == s) };
        let pass = self.pass(Kernel::SumsBeside, tiling.team, work, windows);
        Ok(Pass { width, turns, ..pass })
    }

    /// Whether passes of this width would write elements of 16 bits one by one, which share words with those of other lanes. Forward
    /// that is of `y`, and of `x + residual`.
    pub(super) fn splits_words(&self, width: Width) -> bool {
        width == Width::Scalar && owned_by_words(self.problem).is_some()
    }

    /// Whether it takes a pass over pairs for each to have whole words: by rows only where a row is in several pieces.
    pub(super) fn takes_pairs(&self, traversal: Traversal, width: Width) -> bool {
        let owned = owned_by_words(self.problem).filter(|_| width == Width::Scalar);
        let in_pieces = |owned| !self.problem.placement.own_piece(owned).is_multiple_of(self.mapping.block.s);
        owned.is_some_and(|owned| traversal == Traversal::Columns || in_pieces(owned))
    }

    /// Refuses strides by which two lanes would write one word. `cut` is whether windows may begin anywhere in a piece.
    fn check_pieces(&self, cut: bool) -> Result<(), SpecError> {
        let Some(owned) = owned_by_words(self.problem) else { return Ok(()) };
        let placement = &self.problem.placement;
        let must = if placement.shares_words(owned, true) {
            "such that runs of 16-bit elements do not touch, or all begin at even elements"
        } else if cut && placement.own_piece(owned) < self.problem.block.elements() {
            "multiples of four where 16-bit elements are written and the tensor is larger than a binding"
        } else {
            return Ok(());
        };
        Err(placement.refused(self.problem.norm, owned, &self.problem.shape, must))
    }

    /// Two neighbours a lane, a word of what is written.
    pub(super) fn pairs(&self, kernel: Kernel, statistics: Statistics) -> Result<Pass, SpecError> {
        let elements = self.problem.block.elements();
        let most = window::most_elements(self.capabilities) / 2 * 2;
        let team = Team::apart(self.capabilities.workgroup_size(if self.capabilities.software { 8 } else { 256 }, 1));
        let layout = Layout { units: 1, length: elements, parts: elements.div_ceil(most.max(2)), tile: most.max(2) };
        let placement = &self.problem.placement;
        let mut windows = window::cut(self.problem.norm, &layout, self.capabilities, |_| self.grid(0))?;
        let owned = owned_by_words(self.problem).unwrap_or(Role::Y);
        self.check_pieces(windows.len() > 1)?;
        let pieces = elements / placement.own_piece(owned);
        for window in &mut windows {
            let Span { first, length } = window.elements;
            // The first word of a piece may have one of its elements.
            (window.first, window.count) = (first / 2, (length / pieces / 2 + 1) * pieces);
            (window.grid, window.parameters) =
                (self.grid(window.count.div_ceil(u64::from(team.workgroup_size)))?, None);
        }
        let work = Work { tile_length: most.min(elements), rows: elements, ..Work::default() };
        Ok(Pass { width: Width::Scalar, statistics, ..self.pass(kernel, team, work, windows) })
    }

    pub(super) fn columns(&self, kernel: Kernel) -> Result<Pass, SpecError> {
        let tiling = if kernel == Kernel::FusedColumns {
            self.whole_columns(&self.mapping.block)
        } else if kernel.takes_whole_columns() {
            self.cached_columns()
        } else {
            let together = self.most_together(kernel);
            columns::Tiling::new(kernel, &self.mapping, self.capabilities, self.width, together, self.tuning)
        };
        self.columns_by(kernel, &tiling)
    }

    pub(super) fn whole_columns(&self, block: &Block) -> columns::Tiling {
        columns::Tiling::fused(block, self.capabilities, self.width, self.most_together(Kernel::FusedColumns))
    }

    pub(super) fn cached_columns(&self) -> columns::Tiling {
        columns::Tiling::cached(&self.problem.block, self.capabilities, self.width)
    }

    /// Of sums, with each row for itself.
    pub(super) fn unfolded(&self, block: &Block, most_rows: u64) -> columns::Tiling {
        let together = self.most_together(Kernel::SumsColumns);
        columns::Tiling::unfolded(block, self.capabilities, self.width, together, self.tuning, most_rows)
    }

    pub(super) fn columns_by(&self, kernel: Kernel, tiling: &columns::Tiling) -> Result<Pass, SpecError> {
        let block = &self.mapping.block;
        let workgroups = tiling.workgroups(block);
        let rows = tiling.row_lanes * tiling.rows_per_lane;
        let tall = Layout {
            units: block.b,
            length: tiling.rows * tiling.pitch,
            parts: tiling.rows.div_ceil(rows),
            tile: rows * tiling.pitch,
        };
        let across = tiling.column_blocks;
        let mut windows = window::cut(self.problem.norm, &tall, self.capabilities, |tiles| self.grid(tiles * across))?;
        // The kernel counts workgroups, of which there are `across` to a tile.
        for window in &mut windows {
            (window.first, window.count) = (window.first * across, window.count * across);
            window.parameters = None;
        }
        let work = Work {
            tiles: workgroups,
            tile_length: tiling.rows_per_lane,
            column_lanes: tiling.column_lanes,
            row_lanes: tiling.row_lanes,
            column_blocks: tiling.column_blocks,
            row_tiles: tiling.row_tiles,
            rows: tiling.rows,
            pitch: tiling.pitch,
            ..Work::default()
        };
        let pass = self.pass(kernel, Team::apart(tiling.workgroup_size), work, windows);
        Ok(Pass { width: tiling.width, hold: tiling.hold(kernel), ..pass })
    }
}
