//! Normalization: slab by slab where slabs are small, so that each is read from memory once, else the statistics of all first.

use std::ops::Range;

use super::Cpu;
use super::columns::{Columns, center_of, wide};
use super::epilogue::{AS_IT_IS, Epilogue, NO_FLOOR};
use super::gather::{Apart, Part};
use super::layout::{Affine, BATCH, Layout, Shape};
use super::modulation::{Added, Modulation, gate};
use super::operands::Operands;
use super::parallel::{Cut, Memory, Units, each};
use super::simd::{
    Center, Centers, Level, Sums, normalize_columns, normalize_columns_of_row, normalize_row, normalize_rows,
    normalize_run, normalize_runs,
};
use super::sink::{Flow, Piece, Sink, Strips};
use super::statistics::Rules;
use super::values::{Input, PIECE, Reader, Values, ValuesMut};
use crate::element::Element;
use crate::moments::{Moments, Spread};
use crate::problem::{Problem, Source, Task};
use crate::statistics::{Statistics, Update, merged};
use crate::tensors::{Role, element};

/// Most elements of a slab that is read from memory once.
pub(super) const FUSED: usize = 1 << 18;

/// Most of them.
const ROWS: usize = 256;

/// Elements of a tensor beyond the caches that a core has to itself, where reading and writing at the same time pays: by a tenth.
const UNCACHED: usize = 1 << 20;

/// Elements of a row that does so: shorter ones take too long to begin, and of longer ones two do not fit in the nearest cache.
const LONG: Range<usize> = 1 << 9..1 << 13;

/// What is written for each group.
struct Groups<'a> {
    mean: Units<'a, f32>,
    rstd: Units<'a, f32>,
    statistics: Units<'a, f32>,
    moments: Units<'a, f32>,
    running_mean: Units<'a, f32>,
    running_var: Units<'a, f32>,
}

impl Cut for Groups<'_> {
    fn cut(self, at: usize) -> (Self, Self) {
        let (mean, mean2) = self.mean.cut(at);
        let (rstd, rstd2) = self.rstd.cut(at);
        let (statistics, statistics2) = self.statistics.cut(at);
        let (moments, moments2) = self.moments.cut(at);
        let (running_mean, running_mean2) = self.running_mean.cut(at);
        let (running_var, running_var2) = self.running_var.cut(at);
        (
            Self { mean, rstd, statistics, moments, running_mean, running_var },
            Self {
                mean: mean2,
                rstd: rstd2,
                statistics: statistics2,
                moments: moments2,
                running_mean: running_mean2,
                running_var: running_var2,
            },
        )
    }
}

impl Groups<'_> {
    /// Whether nothing is.
    fn are_none(&self) -> bool {
        let of = [&self.mean, &self.rstd, &self.statistics, &self.moments];
        of.iter().all(|units| units.of.is_empty())
    }

    /// The same, so many groups to a unit.
    fn by(self, groups: usize) -> Self {
        let Self { mean, rstd, statistics, moments, running_mean, running_var } = self;
        Self {
            mean: Units { per: groups, ..mean },
            rstd: Units { per: groups, ..rstd },
            statistics: Units { per: 4 * groups, ..statistics },
            moments: Units { per: 4 * groups, ..moments },
            running_mean: Units { per: groups, ..running_mean },
            running_var: Units { per: groups, ..running_var },
        }
    }

    /// Writes what is asked for of group `g`; what it is normalized by is returned.
    fn keep(&mut self, g: usize, spread: Spread, rules: &Rules, update: Option<Update>) -> Statistics {
        let statistics = rules.divisor.statistics(spread);
        if let Some(mean) = self.mean.of.get_mut(g) {
            *mean = spread.mean as f32;
        }
        if let Some(rstd) = self.rstd.of.get_mut(g) {
            *rstd = rules.divisor.rstd(spread) as f32;
        }
        if let Some(packed) = self.statistics.of.get_mut(4 * g..4 * g + 4) {
            packed.copy_from_slice(&statistics.packed());
        }
        if let Some(moments) = self.moments.of.get_mut(4 * g..4 * g + 4) {
            moments.copy_from_slice(bytemuck::cast_slice(&[Moments::from(spread)]));
        }
        let running = (self.running_mean.of.get_mut(g), self.running_var.of.get_mut(g));
        if let (Some(update), (Some(mean), Some(var))) = (update, running) {
            update.apply(spread, mean, var);
        }
        statistics
    }
}

/// What every part of a forward pass knows.
#[derive(Clone, Copy)]
pub(super) struct Forward<'a> {
    pub(super) cpu: &'a Cpu,
    pub(super) rules: Rules,
    pub(super) layout: Layout,
    pub(super) affine: Affine,
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) update: Option<Update>,
    pub(super) epilogue: Epilogue<'a>,
    /// The least that is left of what is normalized, by a ReLU where that is all that follows.
    pub(super) floor: f32,
    /// What `x` is multiplied by first, and what is added.
    pub(super) gate: Option<Modulation<'a>>,
    /// Whether results are past the cache.
    pub(super) stream: bool,
    /// What normalized values are rounded to before their weight, if to anything.
    pub(super) rounding: Option<Element>,
}

/// Whether slabs are taken one by one, each with nothing but its own elements.
pub(super) fn goes_by_slabs(problem: &Problem) -> bool {
    let layout = Layout::new(problem);
    let forward = matches!(problem.task, Task::Forward | Task::Moments) && problem.source != Source::Running;
    let few = layout.slab() <= FUSED && layout.elements() > 0 && (layout.is_alone() || layout.has_slabs());
    forward && few && !problem.skip
}

/// Runs a forward pass, or takes moments. Large tensors lie apart where they are those of a `part`.
pub(super) fn run(cpu: &Cpu, problem: &Problem, part: Option<Part<'_>>, mut operands: Operands<'_>) {
    let layout = Layout::new(problem);
    let (mut of_weight, mut of_bias) = (Memory::new(&cpu.scratch), Memory::new(&cpu.scratch));
    let (mut of_scale, mut of_shift) = (Memory::new(&cpu.scratch), Memory::new(&cpu.scratch));
    let mut epilogue = Epilogue::new(problem, &mut operands, cpu.level, [&mut of_scale, &mut of_shift]);
    let floor = epilogue.take_floor();
    let (mut of_gate, mut of_embedding) = (Memory::new(&cpu.scratch), Memory::new(&cpu.scratch));
    let gate = gate(problem, &mut operands, cpu.level, [&mut of_gate, &mut of_embedding]);
    let mut given = |role, memory| operands.take_in_f32(role, cpu.level, memory);
    let (weight, bias) = (given(Role::Weight, &mut of_weight), given(Role::Bias, &mut of_bias));
    let affine = if weight.is_some() || bias.is_some() { Affine::new(problem, &layout) } else { Affine::none(&layout) };
    // What is given as it is needed is taken as it is; the rest is filled in.
    let offset = if weight.is_some() { problem.weight_offset } else { 0.0 };
    let as_given = |offset: f32| affine.repeat == 1 && offset == 0.0;
    let (own_weight, own_bias) = (weight.filter(|_| as_given(offset)), bias.filter(|_| as_given(0.0)));
    let [of_weight, of_bias] = [own_weight, own_bias].map(|own| if own.is_some() { 0 } else { affine.length });
    cpu.scratch.with((of_weight + of_bias).div_ceil(2), |memory| {
        let memory = bytemuck::cast_slice_mut::<f64, f32>(memory);
        let (one, other) = memory[..of_weight + of_bias].split_at_mut(of_weight);
        if own_weight.is_none() {
            affine.expand(weight, 1.0, offset, one);
        }
        if own_bias.is_none() {
            affine.expand(bias, 0.0, 0.0, other);
        }
        let (weight, bias) = (own_weight.unwrap_or(one), own_bias.unwrap_or(other));
        let batches = operands.batches.take();
        let update = Update::new(problem, batches.as_deref().copied());
        let stream = cpu.streams(&layout, &[element(problem, Role::X), element(problem, Role::Y)]);
        let rules = Rules::new(problem, layout.level(cpu.level));
        let rounding = problem.storage.short().filter(|_| problem.rounds_before_weight());
        let forward =
            Forward { cpu, rules, layout, affine, weight, bias, update, epilogue, floor, gate, stream, rounding };
        let counted = forward.run(problem, part, operands);
        if let Some(batches) = batches.filter(|_| counted) {
            *batches = batches.saturating_add(1);
        }
    });
}

impl Forward<'_> {
    /// Whether there was a batch.
    fn run(&self, problem: &Problem, part: Option<Part<'_>>, mut operands: Operands<'_>) -> bool {
        let layout = &self.layout;
        let (slab, k) = (layout.slab(), layout.k);
        let residual_under = operands.is_under(Role::Residual);
        let flow = Flow {
            x: operands.take_values(Role::X),
            residual: operands.take_values(Role::Residual),
            gate: self.gate,
            residual_under,
            y: operands.take_values_mut(Role::Y),
            sum: operands.take_values_mut(Role::ResidualOut),
            per: slab,
            first: 0,
        };
        if problem.source == Source::Running {
            let [mean, var] =
                [Role::RunningMean, Role::RunningVar].map(|role| operands.take_read(role).unwrap_or_default());
            self.with_statistics(|statistics| {
                for ((statistics, mean), var) in statistics.iter_mut().zip(mean).zip(var) {
                    *statistics = self.rules.running(*mean, *var);
                }
                self.apply(flow, statistics);
            });
            return true;
        }
        let saved = if problem.task == Task::FromStatistics { operands.take_read(Role::Stats) } else { None };
        let moments = if problem.task == Task::Moments { None } else { operands.take_read(Role::Moments) };
        let mut write = |role: Role, per: usize| Units { of: operands.take_write(role).unwrap_or_default(), per };
        let mut groups = Groups {
            mean: write(Role::Mean, k),
            rstd: write(Role::Rstd, k),
            statistics: write(Role::Stats, 4 * k),
            moments: write(Role::Moments, 4 * k),
            running_mean: write(Role::RunningMean, k),
            running_var: write(Role::RunningVar, k),
        };
        if let Some(saved) = saved {
            self.with_statistics(|statistics| {
                Statistics::unpack(saved, statistics);
                self.apply(flow, statistics);
            });
            return true;
        }
        if let Some(moments) = moments {
            let moments: Vec<Moments> = bytemuck::pod_collect_to_vec(moments);
            let mut counted = false;
            self.with_statistics(|statistics| {
                for (g, spread) in merged(&moments, statistics.len()).enumerate() {
                    counted |= spread.count > 0.0;
                    statistics[g] = groups.keep(g, spread, &self.rules, self.update);
                }
                self.apply(flow, statistics);
            });
            return counted;
        }
        if layout.elements() == 0 {
            for g in 0..layout.b * k {
                groups.keep(g, Spread { count: 0.0, mean: f64::NAN, sum: f64::NAN }, &self.rules, None);
            }
            groups.moments.of.fill(0.0);
            return false;
        }
        if let Some(part) = part {
            let apart = Apart::new(part, flow);
            each(0..layout.b, layout.grain(slab), (apart, groups), &|slabs: Range<usize>, (apart, groups)| {
                self.slabs_apart(slabs, apart, groups);
            });
        } else if layout.is_alone() || slab <= FUSED && layout.has_slabs() {
            each(0..layout.b, layout.grain(slab), (flow, groups), &|slabs: Range<usize>, (flow, groups)| {
                self.slabs(slabs, flow, groups);
            });
        } else {
            self.stages(flow, groups);
        }
        true
    }

    /// Some slabs that lie apart, a few at a time.
    fn slabs_apart(&self, slabs: Range<usize>, mut apart: Apart<'_>, mut groups: Groups<'_>) {
        let (mut memory, mut first) = (Memory::new(&self.cpu.scratch), slabs.start);
        let cached = Self { stream: false, ..*self };
        while first < slabs.end {
            let (batch, direct) = apart.batch(first);
            let own = first..slabs.end.min(first.saturating_add(batch));
            let (of_own, rest) = groups.cut(own.len());
            (groups, first) = (rest, own.end);
            if direct {
                apart.direct(&own, |flow| self.slabs(own.clone(), flow, of_own));
            } else {
                apart.through(&own, &mut memory, |flow| cached.slabs(own.clone(), flow, of_own));
            }
        }
    }

    /// Calls `work` with memory for the statistics of all groups.
    fn with_statistics(&self, work: impl FnOnce(&mut [Statistics])) {
        self.cpu.scratch.with(3 * self.layout.b * self.layout.k, |numbers| work(bytemuck::cast_slice_mut(numbers)));
    }

    /// Some slabs, each read once.
    fn slabs(&self, slabs: Range<usize>, mut flow: Flow<'_>, mut groups: Groups<'_>) {
        let layout = &self.layout;
        let (slab, k) = (layout.slab(), layout.k);
        let batch = (BATCH / slab).clamp(1, slabs.len().min(ROWS));
        // Rows that take turns with others at each step.
        let rows = layout.shape == Shape::Row && slab <= BATCH;
        let by_row = self.affine.is_by_row(layout);
        let together = rows && self.affine.run == 1 && self.affine.is_shared();
        if together && self.is_long() && !flow.y.is_empty() {
            let plain = !flow.loads();
            if flow.y.is_short() {
                return self.long_rows_in_f32(flow, &mut groups);
            }
            if let (Some(x), Some(y)) = (flow.x.and_then(Values::direct).filter(|_| plain), flow.y.direct()) {
                return self.long_rows(flow.first, x, y, &mut groups);
            }
        }
        // Nothing but `y` is asked for.
        let plain = (together || by_row) && !flow.y.is_empty() && self.update.is_none() && groups.are_none();
        let mut piece = self.piece(&flow);
        self.cpu.scratch.with(11 * batch * k, |numbers| {
            let (spreads, rest) = numbers.split_at_mut(3 * batch * k);
            let (statistics, rest) = rest.split_at_mut(3 * batch * k);
            let spreads: &mut [Spread] = bytemuck::cast_slice_mut(spreads);
            let statistics: &mut [Statistics] = bytemuck::cast_slice_mut(statistics);
            let mut first = slabs.start;
            while first < slabs.end {
                let count = batch.min(slabs.end - first);
                let (part, rest_of_flow) = std::mem::take(&mut flow).cut(count);
                flow = rest_of_flow;
                let gives = !part.y.is_empty();
                let mut sink = self.sink(part, if rows { BATCH } else { PIECE }, piece.as_mut());
                if rows {
                    let (sums, centers) = rest.split_at_mut(3 * count);
                    let centers: &mut [Center] = bytemuck::cast_slice_mut(&mut centers[..2 * count]);
                    let sums: &mut [Sums] = bytemuck::cast_slice_mut(sums);
                    let source = sink.source();
                    self.rules.row_sums(source, slab, sums);
                    if plain && self.rules.ordinary(slab, sums, centers) {
                        self.normalize_rows(first, &mut sink, centers, bytemuck::cast_slice_mut(sums));
                        first += count;
                        continue;
                    }
                    self.rules.rows(source, slab, sums, spreads);
                } else {
                    let scratch = &self.cpu.scratch;
                    let mut x = Reader::new(sink.input(), first * slab, self.rules.level, scratch);
                    for (b, spreads) in (first..first + count).zip(spreads.chunks_mut(k)) {
                        layout.slab_statistics(&self.rules, &mut x, b, spreads, scratch);
                    }
                }
                let first_group = (first - slabs.start) * k;
                for (g, (statistics, spread)) in statistics.iter_mut().zip(&*spreads).take(count * k).enumerate() {
                    *statistics = groups.keep(first_group + g, *spread, &self.rules, self.update);
                }
                if gives {
                    if together || by_row {
                        let (memory, centers) = rest.split_at_mut(3 * count);
                        let centers: &mut [Center] = bytemuck::cast_slice_mut(&mut centers[..2 * count]);
                        for (center, statistics) in centers.iter_mut().zip(&*statistics) {
                            *center = center_of(statistics);
                        }
                        self.normalize_rows(first, &mut sink, centers, bytemuck::cast_slice_mut(memory));
                    } else {
                        self.normalize(first * slab..(first + count) * slab, &mut sink, statistics);
                    }
                }
                first += count;
            }
        });
    }

    /// Memory for results, unless they are written where they go.
    fn piece(&self, flow: &Flow<'_>) -> Option<Piece<'_>> {
        Piece::new(&flow.y, self.stream && flow.x.is_some(), &self.cpu.scratch)
    }

    fn sink<'b, 'p>(&'b self, flow: Flow<'b>, window: usize, piece: Option<&'b mut Piece<'p>>) -> Sink<'b, 'p> {
        let loads = flow.loads();
        Sink::new(flow, window, loads, self.rules.level, piece).then(self.epilogue)
    }

    /// Short rows from `first` on, all at once: they are no more than a piece. They share weights, or have one each, for which there is
    /// `memory`.
    fn normalize_rows(&self, first: usize, sink: &mut Sink<'_, '_>, centers: &mut [Center], memory: &mut [f32]) {
        let (level, s, floor) = (self.rules.level, self.layout.s, self.floor);
        let elements = centers.len() * s;
        if self.rounding.is_some() {
            return sink.put(elements, |_, x, y| {
                for (row, (y, &center)) in y.chunks_mut(s).zip(&*centers).enumerate() {
                    let (own, at) = (row * s..(row + 1) * s, self.affine.base(first + row, 0, 0));
                    self.normalize_row(x.map(|x| &x[own]), y, center, &self.weight[at..], &self.bias[at..]);
                }
            });
        }
        if self.affine.is_by_row(&self.layout) {
            let biases = &mut memory[..centers.len()];
            for (row, (center, bias)) in centers.iter_mut().zip(&mut *biases).enumerate() {
                let number = self.affine.base(first + row, 0, 0);
                center.factor *= self.weight[number];
                *bias = self.bias[number];
            }
            return sink.put(elements, |_, x, y| normalize_runs(level, x, y, s, centers, biases, floor));
        }
        let (weight, bias) = (&self.weight[..s], &self.bias[..s]);
        sink.put(elements, |_, x, y| normalize_rows(level, x, y, centers, weight, bias, floor));
    }

    /// A part of a row, whose elements each have a weight and a bias.
    fn normalize_row(&self, x: Option<&[f32]>, y: &mut [f32], center: Center, weight: &[f32], bias: &[f32]) {
        let level = self.rules.level;
        let Some(element) = self.rounding else {
            return normalize_row(level, x, y, center, weight, bias, self.floor);
        };
        normalize_run(level, x, y, center, 0.0, NO_FLOOR);
        round(level, element, y);
        normalize_row(level, None, y, AS_IT_IS, weight, bias, self.floor);
    }

    /// Elements that share a weight and a bias.
    fn normalize_run(&self, x: Option<&[f32]>, y: &mut [f32], center: Center, weight: f32, bias: f32) {
        let level = self.rules.level;
        let Some(element) = self.rounding else {
            return normalize_run(level, x, y, Center { factor: center.factor * weight, ..center }, bias, self.floor);
        };
        normalize_run(level, x, y, center, 0.0, NO_FLOOR);
        round(level, element, y);
        normalize_run(level, None, y, Center { factor: weight, ..AS_IT_IS }, bias, self.floor);
    }

    /// Whether each row is summed while the one before it is written.
    fn is_long(&self) -> bool {
        !self.stream && LONG.contains(&self.layout.s) && self.layout.elements() >= UNCACHED
    }

    /// Rows that share weights, each summed while the one before it is written.
    fn long_rows(&self, first: usize, x: &[f32], y: &mut [f32], groups: &mut Groups<'_>) {
        let slab = self.layout.slab();
        let (weight, bias) = (&self.weight[..slab], &self.bias[..slab]);
        let mut rows = x.chunks(slab).peekable();
        let mut sums = rows.peek().map(|first| self.rules.sums(first)).unwrap_or_default();
        for (g, y) in y.chunks_mut(slab).enumerate() {
            let Some(x) = rows.next() else { return };
            let center = center_of(&groups.keep(g, self.rules.of_sums(x, sums), &self.rules, self.update));
            match rows.peek() {
                Some(next) if center.scale == 1.0 => {
                    sums = self.rules.sums_beside(next, [x, weight, bias], y, center, self.floor);
                }
                next => {
                    normalize_row(self.rules.level, Some(x), y, center, weight, bias, self.floor);
                    sums = next.map(|next| self.rules.sums(next)).unwrap_or_default();
                }
            }
            self.epilogue.apply(first + g * slab, y);
        }
    }

    /// The same of rows that are taken to f32, each while the one before it is written.
    fn long_rows_in_f32(&self, mut flow: Flow<'_>, groups: &mut Groups<'_>) {
        let (level, slab) = (self.rules.level, self.layout.slab());
        let (mut of_this, mut of_next) = (Memory::new(&self.cpu.scratch), Memory::new(&self.cpu.scratch));
        let (mut this, mut next) = (of_this.of(slab), of_next.of(slab));
        let rows = flow.input().len() / slab;
        flow.input().part(0..slab).load(level, this);
        for g in 0..rows {
            let sums = self.rules.sums(this);
            let center = center_of(&groups.keep(g, self.rules.of_sums(this, sums), &self.rules, self.update));
            for at in (0..slab).step_by(PIECE) {
                let own = at..slab.min(at + PIECE);
                let elements = g * slab + own.start..g * slab + own.end;
                if g + 1 < rows {
                    flow.input().part(elements.start + slab..elements.end + slab).load(level, &mut next[own.clone()]);
                }
                // What comes a row later, which memory has time for until then.
                flow.input().x.prefetch(elements.start + 2 * slab..elements.end + 2 * slab);
                flow.y.read().prefetch(elements.start + slab..elements.end + slab);
                let this = &mut this[own.clone()];
                if !flow.sum.is_empty() {
                    flow.sum.part(elements.clone()).store(level, this);
                }
                self.normalize_row(None, this, center, &self.weight[own.clone()], &self.bias[own]);
                self.epilogue.apply(flow.first + elements.start, this);
                flow.y.part(elements).store(level, this);
            }
            std::mem::swap(&mut this, &mut next);
        }
    }

    /// Few slabs, or large ones: the statistics of all parts, then of groups, then what is normalized by them.
    fn stages(&self, flow: Flow<'_>, mut groups: Groups<'_>) {
        let apart = flow.x.is_some() && flow.sum.is_empty() && !flow.y.is_empty();
        if apart && self.affine.weighs_long_rows(&self.layout) && self.layout.has_tiles() {
            return self.tiles(flow, groups);
        }
        self.with_statistics(|statistics| {
            self.layout.all_statistics(&self.rules, flow.input(), &self.cpu.scratch, |g, spread| {
                statistics[g] = groups.keep(g, spread, &self.rules, self.update);
            });
            if !flow.y.is_empty() {
                self.apply(flow, statistics);
            }
        });
    }

    /// Wide columns whose rows each have a weight, a tile at a time: its statistics, and then `y`, while `x` is in the cache.
    fn tiles(&self, flow: Flow<'_>, groups: Groups<'_>) {
        let layout = &self.layout;
        let (tile, tiles) = layout.tiles();
        each(0..layout.b, layout.grain(layout.slab()), (flow, groups), &|slabs: Range<usize>, mut slab| {
            for _ in slabs {
                let ((flow, groups), rest) = slab.cut(1);
                let added = Added { gate: flow.gate, first: flow.first, residual: flow.residual };
                let x = Input { x: flow.x.unwrap_or_default(), added };
                let start = flow.first;
                let own = (Strips::new(flow.y, layout.k, tile), groups.by(tile));
                each(0..tiles, layout.grain(tile * layout.r), own, &|tiles: Range<usize>, mut own| {
                    for first in tiles.map(|number| number * tile) {
                        let ((y, groups), rest) = own.cut(1);
                        self.tile(start, x, first..layout.k.min(first + tile), y, groups);
                        own = rest;
                    }
                });
                slab = rest;
            }
        });
    }

    /// All rows of some columns of a slab that begins with element number `start`.
    fn tile(&self, start: usize, x: Input<'_>, own: Range<usize>, y: Strips<'_>, mut groups: Groups<'_>) {
        let (layout, wide, level) = (&self.layout, own.len(), self.rules.level);
        self.cpu.scratch.with(9 * wide + (5 * wide).div_ceil(2), |numbers| {
            let (spreads, numbers) = numbers.split_at_mut(3 * wide);
            let (of_part, numbers) = numbers.split_at_mut(3 * wide);
            let (statistics, numbers) = numbers.split_at_mut(3 * wide);
            let spreads: &mut [Spread] = bytemuck::cast_slice_mut(spreads);
            let of_part: &mut [Spread] = bytemuck::cast_slice_mut(of_part);
            let statistics: &mut [Statistics] = bytemuck::cast_slice_mut(statistics);
            for part in 0..layout.parts() {
                let rows = layout.range(0, part);
                self.rules.columns(x.part(rows.start + own.start..rows.end), layout.k, of_part, &self.cpu.scratch);
                spreads.iter_mut().zip(&*of_part).for_each(|(all, part)| *all = all.merge(*part));
            }
            for (g, (statistics, spread)) in statistics.iter_mut().zip(spreads).enumerate() {
                *statistics = groups.keep(g, *spread, &self.rules, self.update);
            }
            let mut columns = Columns::<5>::new(bytemuck::cast_slice_mut(numbers), wide, layout);
            self.fill(&mut columns, (0, own.start), statistics);
            let centers = columns.centers().0;
            let mut piece = y.rows.first().and_then(|row| Piece::new(row, self.stream, &self.cpu.scratch));
            for (row, mut y) in y.rows.into_iter().enumerate() {
                let own = row * layout.k + own.start..row * layout.k + own.end;
                let (first, x) = (start + own.start, x.part(own));
                let (weight, bias) = (self.weight[row], self.bias[row]);
                // To make a sink for each row takes a tenth of the time, for rows of 784.
                if let (Some(x), None, Some(y)) = (x.direct(), &piece, y.direct()) {
                    normalize_columns_of_row(level, Some(x), y, centers, weight, bias, self.floor);
                    self.epilogue.apply(first, y);
                    continue;
                }
                let Added { gate, residual, .. } = x.added;
                let flow = Flow { x: Some(x.x), residual, gate, y, first, ..Flow::default() };
                self.sink(flow, PIECE, piece.as_mut()).put(wide, |done, x, y| {
                    normalize_columns_of_row(level, x, y, centers.from(done), weight, bias, self.floor);
                });
            }
        });
    }

    /// Normalizes all elements, by statistics that are known.
    fn apply(&self, flow: Flow<'_>, statistics: &[Statistics]) {
        let layout = &self.layout;
        let slab = layout.slab();
        let columns = layout.shape == Shape::Columns;
        let (unit, grain) = layout.units();
        let flow = Flow { per: unit, ..flow };
        // Those of the one slab, for all threads.
        let wide = if columns && layout.b == 1 && slab > 0 { wide(layout) } else { 0 };
        self.cpu.scratch.with((5 * wide).div_ceil(2), |memory| {
            let columns = (wide > 0).then(|| {
                let mut columns = Columns::new(bytemuck::cast_slice_mut(memory), wide, layout);
                self.fill(&mut columns, (0, 0), statistics);
                columns
            });
            each(0..layout.elements() / unit.max(1), grain, flow, &|range: Range<usize>, flow| {
                let elements = range.start * unit..range.end * unit;
                let mut piece = self.piece(&flow);
                let mut sink = self.sink(flow, PIECE, piece.as_mut());
                match &columns {
                    Some(columns) => self.normalize_slab(elements, &mut sink, columns),
                    None => {
                        let first = elements.start / slab * layout.k;
                        self.normalize(elements, &mut sink, &statistics[first..]);
                    }
                }
            });
        });
    }

    /// Sets what the columns of a slab are normalized by, from the first on, which is that of the first statistics.
    fn fill(&self, columns: &mut Columns<'_, 5>, (b, first): (usize, usize), statistics: &[Statistics]) {
        columns.fill(&self.layout, &self.affine, b, first, |k, weight| {
            let Center { scale, shift, delta, factor } = center_of(&statistics[k - first / self.layout.s]);
            let weight_of_column = if self.affine.goes_down() { 1.0 } else { self.weight[weight] };
            [scale, shift, delta, factor * weight_of_column, self.bias[weight]]
        });
    }

    /// Normalizes neighbouring elements, whose first is of the slab that `statistics` begin with.
    pub(super) fn normalize(&self, elements: Range<usize>, sink: &mut Sink<'_, '_>, statistics: &[Statistics]) {
        let layout = &self.layout;
        if layout.shape == Shape::Columns {
            return self.normalize_columns(elements, sink, statistics);
        }
        let slab = elements.start / layout.slab();
        layout.each_run(elements, |run| {
            let center = center_of(&statistics[(run.b - slab) * layout.k + run.k]);
            if self.affine.run == 1 {
                let weight = self.affine.base(run.b, run.r, run.k) + run.within;
                sink.put(run.elements.len(), |done, x, y| {
                    let (weight, bias) = (&self.weight[weight + done..], &self.bias[weight + done..]);
                    self.normalize_row(x, y, center, weight, bias);
                });
                return;
            }
            self.affine.each_weight(&run, |elements, weight| {
                let (weight, bias) = (self.weight[weight], self.bias[weight]);
                sink.put(elements.len(), |_, x, y| self.normalize_run(x, y, center, weight, bias));
            });
        });
    }

    fn normalize_columns(&self, elements: Range<usize>, sink: &mut Sink<'_, '_>, statistics: &[Statistics]) {
        let layout = &self.layout;
        let (slab, wide) = (layout.slab(), wide(layout));
        let first = elements.start / slab;
        self.cpu.scratch.with((5 * wide).div_ceil(2), |memory| {
            let mut columns = Columns::<5>::new(bytemuck::cast_slice_mut(memory), wide, layout);
            let mut at = elements.start;
            while at < elements.end {
                let b = at / slab;
                self.fill(&mut columns, (b, 0), &statistics[(b - first) * layout.k..]);
                let end = elements.end.min((b + 1) * slab);
                self.normalize_slab(at - b * slab..end - b * slab, sink, &columns);
                at = end;
            }
        });
    }

    /// The same of elements of one slab, counted from its start, whose columns are filled.
    fn normalize_slab(&self, elements: Range<usize>, sink: &mut Sink<'_, '_>, columns: &Columns<'_, 5>) {
        let ((centers, bias), level, width) = (columns.centers(), self.rules.level, self.layout.width());
        let by_row = self.affine.weighs_long_rows(&self.layout);
        let (mut at, wide) = (elements.start, if by_row { width } else { bias.len() });
        if self.affine.goes_down() && !by_row {
            return self.cpu.scratch.with(wide, |memory| {
                let (factors, biases) = bytemuck::cast_slice_mut(memory).split_at_mut(wide);
                while at < elements.end {
                    let (row, first) = (at / width, at % width);
                    let end = elements.end.min(at - first + wide);
                    let rows = row..end.div_ceil(width);
                    self.affine.fill_rows(&self.layout, rows.clone(), self.weight, factors);
                    self.affine.fill_rows(&self.layout, rows, self.bias, biases);
                    factors.iter_mut().zip(centers.factor).for_each(|(of, factor)| *of *= factor);
                    sink.put(end - at, |done, x, y| {
                        let first = first + done;
                        let centers = Centers { factor: &factors[first..], ..centers.from(first) };
                        normalize_columns(level, x, y, centers, &biases[first..], self.floor);
                    });
                    at = end;
                }
            });
        }
        while at < elements.end {
            let (row, first, end) = (at / width, at % wide, elements.end.min(at - at % wide + wide));
            sink.put(end - at, |done, x, y| {
                let first = first + done;
                let centers = centers.from(first);
                if by_row {
                    normalize_columns_of_row(level, x, y, centers, self.weight[row], self.bias[row], self.floor);
                } else {
                    normalize_columns(level, x, y, centers, &bias[first..], self.floor);
                }
            });
            at = end;
        }
    }
}

/// Rounds each to the nearest number of a 16-bit type.
fn round(level: Level, element: Element, y: &mut [f32]) {
    let mut memory = [0u32; PIECE / 2];
    for y in y.chunks_mut(PIECE) {
        let mut rounded = ValuesMut::of_bytes(element, &mut bytemuck::cast_slice_mut(&mut memory)[..2 * y.len()]);
        rounded.store(level, y);
        rounded.read().load(level, y);
    }
}
