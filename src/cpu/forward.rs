//! Normalization: slab by slab where slabs are small, so that each is read from memory once, else the statistics of all first.

use std::ops::Range;

use super::Cpu;
use super::columns::{Columns, center_of, wide};
use super::layout::{Affine, BATCH, Layout, Shape};
use super::operands::Operands;
use super::parallel::{Cut, Units, each, threads};
use super::simd::{
    Center, Level, Sums, add, add_to, normalize_columns, normalize_row, normalize_rows, normalize_run, normalize_runs,
};
use super::sink::{Piece, Sink};
use super::statistics::Rules;
use crate::moments::{Moments, Spread};
use crate::problem::{Problem, Source, Task};
use crate::statistics::{Statistics, Update, merged};
use crate::tensors::Role;

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
struct Forward<'a> {
    cpu: &'a Cpu,
    rules: Rules,
    layout: Layout,
    affine: Affine,
    weight: &'a [f32],
    bias: &'a [f32],
    update: Option<Update>,
    /// Whether results are past the cache.
    stream: bool,
}

/// Runs a forward pass, or takes moments.
pub(super) fn run<'a>(cpu: &Cpu, problem: &Problem, mut operands: Operands<'a>) {
    let layout = Layout::new(problem);
    let (weight, bias) = (operands.take_read(Role::Weight), operands.take_read(Role::Bias));
    let affine = if weight.is_some() || bias.is_some() { Affine::new(problem, &layout) } else { Affine::none(&layout) };
    // What is given as it is needed is taken as it is; the rest is filled in.
    let offset = if weight.is_some() { problem.weight_offset } else { 0.0 };
    let as_given = |given: Option<&'a [f32]>, offset: f32| given.filter(|_| affine.repeat == 1 && offset == 0.0);
    let (own_weight, own_bias) = (as_given(weight, offset), as_given(bias, 0.0));
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
        let stream = cpu.streams(2 * layout.elements());
        let rules = Rules::new(problem, layout.level(cpu.level));
        let forward = Forward { cpu, rules, layout, affine, weight, bias, update, stream };
        let counted = forward.run(problem, operands);
        if let Some(batches) = batches.filter(|_| counted) {
            *batches = batches.saturating_add(1);
        }
    });
}

/// Where a forward pass reads, and whether that is where it writes.
#[derive(Clone, Copy)]
struct Given<'a> {
    /// None where `y` is written over it.
    x: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    /// Whether the sum is written over the residual.
    residual_under: bool,
}

impl Given<'_> {
    /// Those of some elements.
    fn part(&self, elements: Range<usize>) -> Given<'_> {
        Given {
            x: self.x.map(|x| &x[elements.clone()]),
            residual: self.residual.map(|residual| &residual[elements.clone()]),
            residual_under: self.residual_under,
        }
    }

    /// Adds the residual: to `sum` if there is one, else to `y`. What is to be normalized is returned, if it is not `y`.
    fn combine<'c>(&'c self, level: Level, y: &mut [f32], sum: &'c mut [f32]) -> Option<&'c [f32]> {
        match (self.x, self.residual, sum.is_empty()) {
            (x, None, true) => x,
            (Some(x), Some(residual), true) => {
                add(level, x, residual, y);
                None
            }
            (None, Some(residual), true) => {
                add_to(level, y, residual);
                None
            }
            (x, residual, false) => {
                let x = x.unwrap_or(y);
                match residual {
                    Some(residual) => add(level, x, residual, sum),
                    None if self.residual_under => add_to(level, sum, x),
                    None => sum.copy_from_slice(x),
                }
                Some(sum)
            }
        }
    }
}

impl Forward<'_> {
    /// Whether there was a batch.
    fn run(&self, problem: &Problem, mut operands: Operands<'_>) -> bool {
        let layout = &self.layout;
        let (slab, k) = (layout.slab(), layout.k);
        let residual_under = operands.is_under(Role::Residual);
        let given =
            Given { x: operands.take_read(Role::X), residual: operands.take_read(Role::Residual), residual_under };
        if problem.source == Source::Running {
            let [mean, var] =
                [Role::RunningMean, Role::RunningVar].map(|role| operands.take_read(role).unwrap_or_default());
            let y = operands.take_write(Role::Y).unwrap_or_default();
            self.with_statistics(|statistics| {
                for ((statistics, mean), var) in statistics.iter_mut().zip(mean).zip(var) {
                    *statistics = self.rules.running(*mean, *var);
                }
                self.apply(given.x, y, statistics);
            });
            return true;
        }
        let saved = if problem.task == Task::FromStatistics { operands.take_read(Role::Stats) } else { None };
        let moments = if problem.task == Task::Moments { None } else { operands.take_read(Role::Moments) };
        let mut write = |role: Role, per: usize| Units { of: operands.take_write(role).unwrap_or_default(), per };
        let (y, sum) = (write(Role::Y, slab), write(Role::ResidualOut, slab));
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
                self.apply_sum(given, y.of, sum.of, statistics);
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
                self.apply_sum(given, y.of, sum.of, statistics);
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
        if layout.is_alone() || slab <= FUSED && layout.b >= 2 * threads() {
            each(0..layout.b, layout.grain(slab), ((y, sum), groups), &|slabs: Range<usize>, ((y, sum), groups)| {
                self.slabs(slabs, given, y.of, sum.of, groups);
            });
        } else {
            self.stages(given, y.of, sum.of, groups);
        }
        true
    }

    /// Calls `work` with memory for the statistics of all groups.
    fn with_statistics(&self, work: impl FnOnce(&mut [Statistics])) {
        self.cpu.scratch.with(3 * self.layout.b * self.layout.k, |numbers| work(bytemuck::cast_slice_mut(numbers)));
    }

    /// Some slabs, each read once.
    fn slabs(&self, slabs: Range<usize>, given: Given<'_>, y: &mut [f32], sum: &mut [f32], mut groups: Groups<'_>) {
        let layout = &self.layout;
        let (slab, k) = (layout.slab(), layout.k);
        let batch = (BATCH / slab).clamp(1, slabs.len().min(ROWS));
        // Rows that take turns with others at each step.
        let rows = layout.shape == Shape::Row && slab <= BATCH;
        let by_row = self.affine.is_by_row(layout);
        let together = rows && self.affine.run == 1 && self.affine.is_shared();
        if let Some(x) = given.x.filter(|_| together && self.is_long(given, sum, y)) {
            return self.long_rows(&x[slabs.start * slab..slabs.end * slab], y, &mut groups);
        }
        // Nothing but `y` is asked for.
        let plain = (together || by_row) && !y.is_empty() && self.update.is_none() && groups.are_none();
        let mut piece = self.stream.then(|| Piece::new(self.rules.level));
        self.cpu.scratch.with(11 * batch * k, |numbers| {
            let (spreads, rest) = numbers.split_at_mut(3 * batch * k);
            let (statistics, rest) = rest.split_at_mut(3 * batch * k);
            let spreads: &mut [Spread] = bytemuck::cast_slice_mut(spreads);
            let statistics: &mut [Statistics] = bytemuck::cast_slice_mut(statistics);
            let mut first = slabs.start;
            while first < slabs.end {
                let count = batch.min(slabs.end - first);
                let elements = first * slab..(first + count) * slab;
                let own = (first - slabs.start) * slab..(first - slabs.start + count) * slab;
                let y = if y.is_empty() { &mut [] } else { &mut y[own.clone()] };
                let sum = if sum.is_empty() { &mut [] } else { &mut sum[own] };
                let given = given.part(elements.clone());
                let x = given.combine(self.rules.level, y, sum);
                let source = x.unwrap_or(y);
                if rows {
                    let (sums, centers) = rest.split_at_mut(3 * count);
                    let centers: &mut [Center] = bytemuck::cast_slice_mut(&mut centers[..2 * count]);
                    let sums: &mut [Sums] = bytemuck::cast_slice_mut(sums);
                    self.rules.row_sums(source, slab, sums);
                    if plain && self.rules.ordinary(slab, sums, centers) {
                        self.normalize_rows(first, x, y, centers, bytemuck::cast_slice_mut(sums), piece.as_mut());
                        first += count;
                        continue;
                    }
                    self.rules.rows(source, slab, sums, spreads);
                } else {
                    for (slab, spreads) in source.chunks(slab).zip(spreads.chunks_mut(k)) {
                        layout.slab_statistics(&self.rules, slab, spreads, &self.cpu.scratch);
                    }
                }
                let first_group = (first - slabs.start) * k;
                for (g, (statistics, spread)) in statistics.iter_mut().zip(&*spreads).take(count * k).enumerate() {
                    *statistics = groups.keep(first_group + g, *spread, &self.rules, self.update);
                }
                if !y.is_empty() {
                    if together || by_row {
                        let (memory, centers) = rest.split_at_mut(3 * count);
                        let centers: &mut [Center] = bytemuck::cast_slice_mut(&mut centers[..2 * count]);
                        for (center, statistics) in centers.iter_mut().zip(&*statistics) {
                            *center = center_of(statistics);
                        }
                        self.normalize_rows(first, x, y, centers, bytemuck::cast_slice_mut(memory), piece.as_mut());
                    } else {
                        let mut sink = Sink::new(y, piece.as_mut().filter(|_| x.is_some()));
                        self.normalize(elements, x, &mut sink, statistics);
                    }
                }
                first += count;
            }
        });
    }

    /// Short rows from `first` on, all at once: they are no more than a piece. They share weights, or have one each, for which there is
    /// `memory`.
    fn normalize_rows(
        &self,
        first: usize,
        x: Option<&[f32]>,
        y: &mut [f32],
        centers: &mut [Center],
        memory: &mut [f32],
        piece: Option<&mut Piece>,
    ) {
        let (level, s, elements) = (self.rules.level, self.layout.s, y.len());
        let mut sink = Sink::new(y, piece.filter(|_| x.is_some()));
        if self.affine.is_by_row(&self.layout) {
            let biases = &mut memory[..centers.len()];
            for (row, (center, bias)) in centers.iter_mut().zip(&mut *biases).enumerate() {
                let number = self.affine.base(first + row, 0);
                center.factor *= self.weight[number];
                *bias = self.bias[number];
            }
            return sink.put(elements, |_, y| normalize_runs(level, x, y, s, centers, biases));
        }
        let (weight, bias) = (&self.weight[..s], &self.bias[..s]);
        sink.put(elements, |_, y| normalize_rows(level, x, y, centers, weight, bias));
    }

    /// Whether each row is summed while the one before it is written.
    fn is_long(&self, given: Given<'_>, sum: &[f32], y: &[f32]) -> bool {
        let read_once = given.residual.is_none() && sum.is_empty() && !y.is_empty();
        let layout = &self.layout;
        read_once && !self.stream && LONG.contains(&layout.s) && layout.elements() >= UNCACHED
    }

    /// Rows that share weights, each summed while the one before it is written.
    fn long_rows(&self, x: &[f32], y: &mut [f32], groups: &mut Groups<'_>) {
        let slab = self.layout.slab();
        let (weight, bias) = (&self.weight[..slab], &self.bias[..slab]);
        let mut rows = x.chunks(slab).peekable();
        let mut sums = rows.peek().map(|first| self.rules.sums(first)).unwrap_or_default();
        for (g, y) in y.chunks_mut(slab).enumerate() {
            let Some(x) = rows.next() else { return };
            let center = center_of(&groups.keep(g, self.rules.of_sums(x, sums), &self.rules, self.update));
            match rows.peek() {
                Some(next) if center.scale == 1.0 => {
                    sums = self.rules.sums_beside(next, [x, weight, bias], y, center);
                }
                next => {
                    normalize_row(self.rules.level, Some(x), y, center, weight, bias);
                    sums = next.map(|next| self.rules.sums(next)).unwrap_or_default();
                }
            }
        }
    }

    /// Few slabs, or large ones: the statistics of all parts, then of groups, then what is normalized by them.
    fn stages(&self, given: Given<'_>, y: &mut [f32], sum: &mut [f32], mut groups: Groups<'_>) {
        let x = self.combine(given, y, sum);
        self.with_statistics(|statistics| {
            let source = x.unwrap_or(y);
            self.layout.all_statistics(&self.rules, source, &self.cpu.scratch, |g, spread| {
                statistics[g] = groups.keep(g, spread, &self.rules, self.update);
            });
            if !y.is_empty() {
                self.apply(x, y, statistics);
            }
        });
    }

    /// Adds the residual to all elements.
    fn combine<'c>(&self, given: Given<'c>, y: &mut [f32], sum: &'c mut [f32]) -> Option<&'c [f32]> {
        if given.residual.is_none() && sum.is_empty() {
            return given.x;
        }
        let with_sum = !sum.is_empty();
        let (in_y, in_sum) = (usize::from(!y.is_empty()), usize::from(with_sum));
        let units = (Units { of: y, per: in_y }, Units { of: &mut *sum, per: in_sum });
        each(0..self.layout.elements(), self.layout.grain(1), units, &|range: Range<usize>, (y, sum)| {
            given.part(range).combine(self.rules.level, y.of, sum.of);
        });
        with_sum.then_some(sum)
    }

    fn apply_sum(&self, given: Given<'_>, y: &mut [f32], sum: &mut [f32], statistics: &[Statistics]) {
        let x = self.combine(given, y, sum);
        self.apply(x, y, statistics);
    }

    /// Normalizes all elements, by statistics that are known.
    fn apply(&self, x: Option<&[f32]>, y: &mut [f32], statistics: &[Statistics]) {
        let layout = &self.layout;
        let slab = layout.slab();
        let columns = layout.shape == Shape::Columns;
        let unit = if columns { layout.width() } else { 1 };
        let units = Units { of: y, per: unit };
        // Those of the one slab, for all threads.
        let wide = if columns && layout.b == 1 && layout.r > 0 { wide(layout) } else { 0 };
        self.cpu.scratch.with((5 * wide).div_ceil(2), |memory| {
            let columns = (wide > 0).then(|| {
                let mut columns = Columns::new(bytemuck::cast_slice_mut(memory), wide, layout);
                self.fill(&mut columns, 0, statistics);
                columns
            });
            each(0..layout.elements() / unit.max(1), layout.grain(unit), units, &|range: Range<usize>, y| {
                let elements = range.start * unit..range.end * unit;
                let mut piece = (self.stream && x.is_some()).then(|| Piece::new(self.rules.level));
                let x = x.map(|x| &x[elements.clone()]);
                let mut sink = Sink::new(y.of, piece.as_mut());
                match &columns {
                    Some(columns) => self.normalize_slab(elements, x, &mut sink, columns),
                    None => {
                        let first = elements.start / slab * layout.k;
                        self.normalize(elements, x, &mut sink, &statistics[first..]);
                    }
                }
            });
        });
    }

    /// Sets what the columns of a slab are normalized by.
    fn fill(&self, columns: &mut Columns<'_, 5>, b: usize, statistics: &[Statistics]) {
        columns.fill(&self.layout, &self.affine, b, 0, |k, weight| {
            let Center { scale, shift, delta, factor } = center_of(&statistics[k]);
            [scale, shift, delta, factor * self.weight[weight], self.bias[weight]]
        });
    }

    /// Normalizes neighbouring elements, whose first is of the slab that `statistics` begin with.
    fn normalize(&self, elements: Range<usize>, x: Option<&[f32]>, sink: &mut Sink<'_>, statistics: &[Statistics]) {
        let (layout, level) = (&self.layout, self.rules.level);
        if layout.shape == Shape::Columns {
            return self.normalize_columns(elements, x, sink, statistics);
        }
        let slab = elements.start / layout.slab();
        let read = |at: usize, y: &[f32]| x.map(|x| &x[at - elements.start..at - elements.start + y.len()]);
        layout.each_run(elements.clone(), |run| {
            let center = center_of(&statistics[(run.b - slab) * layout.k + run.k]);
            if self.affine.run == 1 {
                let (at, weight) = (run.elements.start, self.affine.base(run.b, run.k) + run.within);
                sink.put(run.elements.len(), |done, y| {
                    let (weight, bias) = (&self.weight[weight + done..], &self.bias[weight + done..]);
                    normalize_row(level, read(at + done, y), y, center, weight, bias);
                });
                return;
            }
            self.affine.each_weight(&run, |elements, weight| {
                let center = Center { factor: center.factor * self.weight[weight], ..center };
                sink.put(elements.len(), |done, y| {
                    normalize_run(level, read(elements.start + done, y), y, center, self.bias[weight]);
                });
            });
        });
    }

    fn normalize_columns(
        &self,
        elements: Range<usize>,
        x: Option<&[f32]>,
        sink: &mut Sink<'_>,
        statistics: &[Statistics],
    ) {
        let layout = &self.layout;
        let (slab, wide) = (layout.slab(), wide(layout));
        let first = elements.start / slab;
        self.cpu.scratch.with((5 * wide).div_ceil(2), |memory| {
            let mut columns = Columns::<5>::new(bytemuck::cast_slice_mut(memory), wide, layout);
            let mut at = elements.start;
            while at < elements.end {
                let b = at / slab;
                self.fill(&mut columns, b, &statistics[(b - first) * layout.k..]);
                let end = elements.end.min((b + 1) * slab);
                let x = x.map(|x| &x[at - elements.start..end - elements.start]);
                self.normalize_slab(at..end, x, sink, &columns);
                at = end;
            }
        });
    }

    /// The same of elements of one slab, whose columns are filled.
    fn normalize_slab(&self, elements: Range<usize>, x: Option<&[f32]>, sink: &mut Sink<'_>, columns: &Columns<'_, 5>) {
        let (centers, bias) = columns.centers();
        let wide = bias.len();
        for at in (0..elements.len()).step_by(wide) {
            sink.put(wide.min(elements.len() - at), |done, y| {
                let x = x.map(|x| &x[at + done..at + done + y.len()]);
                normalize_columns(self.rules.level, x, y, centers.from(done), &bias[done..]);
            });
        }
    }
}
