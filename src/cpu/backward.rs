//! Gradients: slab by slab where slabs are small, so that `x` and `dy` are read from memory once, else the sums of all first.

use std::ops::Range;

use super::Cpu;
use super::columns::{Columns, center_of, wide};
use super::epilogue::{Back, Epilogue, Left, NO_FLOOR};
use super::forward::{FUSED, Forward};
use super::layout::{Affine, BATCH, Layout, Run, Shape};
use super::modulation::gate;
use super::operands::Operands;
use super::parallel::{Cut, Memory, Units, each};
use super::simd::{
    CHAIN, Center, Centers, SEGMENT, Slope, Slopes, Source, Sums, carry, column_dots, columns_of_rows_dots,
    gradient_columns, gradient_columns_of_row, gradient_row, gradient_rows, gradient_run, row_dots, row_gradients,
    rows_dots, rows_parameters, scale_columns, scale_run, short_row_dots,
};
use super::sink::{Flow, Piece, Sink, Strips};
use super::statistics::{PARTS, Rules};
use super::values::{Input, PIECE, Reader, Through, Values, ValuesMut, each_rows};
use crate::backward::Backward;
use crate::moments::Spread;
use crate::problem::{Centering, Problem, Task};
use crate::statistics::Statistics;
use crate::tensors::{Role, element};

/// Sums of `g` and of `g * xhat`; those of `dy` and of `dy * xhat` are the gradients of bias and weight.
type Pair = [f64; 2];

/// Elements of a row of which so few fit in the nearest cache that they go one by one, for sums and parameters at once.
const MEDIUM: usize = BATCH / 4;

/// Most short rows at each step.
const MANY: usize = 256;

/// Elements of rows that are added up as short ones are, however few there are.
const ALONE: usize = 1 << 15;

/// Least rows whose gradients of weight and bias are added up together.
const ROWS: usize = 32;

/// What every part of a backward pass knows.
struct Gradients<'a> {
    cpu: &'a Cpu,
    rules: Rules,
    layout: Layout,
    affine: Affine,
    weight: &'a [f32],
    /// What `dy` goes back through, and the norm that it follows.
    epilogue: Option<(Epilogue<'a>, Forward<'a>)>,
    x: Values<'a>,
    /// None where `dx` is written over it.
    dy: Option<Values<'a>>,
    /// What is added to `dx`.
    more: Option<Values<'a>>,
    /// Whether `dx` is written over what is added to it.
    more_under: bool,
    /// Those of all groups, if they are known.
    known: Option<&'a [Statistics]>,
    /// Whether gradients go through statistics.
    through: bool,
    centered: bool,
    wanted: Backward,
    /// Whether the sums of groups are needed.
    sums: bool,
    stream: bool,
}

/// Runs a backward pass, or a half of one.
pub(super) fn run(cpu: &Cpu, problem: &Problem, wanted: Backward, mut operands: Operands<'_>) {
    let layout = Layout::new(problem);
    let affine = if problem.affine { Affine::new(problem, &layout) } else { Affine::none(&layout) };
    let rules = Rules::new(problem, layout.level(cpu.level));
    let groups = layout.b * layout.k;
    let (mut of_weight, mut of_bias) = (Memory::new(&cpu.scratch), Memory::new(&cpu.scratch));
    let weight = operands.take_in_f32(Role::Weight, cpu.level, &mut of_weight);
    let bias = operands.take_in_f32(Role::Bias, cpu.level, &mut of_bias);
    let more_under = operands.is_under(Role::GradResidual);
    let (x, dy) = (operands.take_values(Role::X).unwrap_or_default(), operands.take_values(Role::GradOutput));
    let more = operands.take_values(Role::GradResidual);
    let running = problem.source == crate::problem::Source::Running;
    let saved = operands.take_read(Role::Stats);
    let running_values = [Role::RunningMean, Role::RunningVar].map(|role| operands.take_read(role).unwrap_or_default());
    let from_sums = matches!(problem.task, Task::FromSums { .. });
    let given_sums = if from_sums { operands.take_read(Role::Sums) } else { None };
    let sums_out = operands.take_write(Role::Sums).unwrap_or_default();
    let mut dx = operands.take_values_mut(Role::GradInput);
    let mut parameters = [Role::GradBias, Role::GradWeight].map(|role| operands.take_write(role).unwrap_or_default());
    let mut left = Left::new(&mut operands, [Role::GradScale, Role::GradShift, Role::GradSkip]);
    let mut before = Left::new(&mut operands, [Role::GradGate, Role::GradEmbedding, Role::GradBranch]);
    let branch = operands.take_values(Role::Branch);
    if layout.elements() == 0 {
        sums_out.fill(0.0);
        left.clear(problem, wanted.accumulate);
        before.clear(problem, wanted.accumulate);
        if !wanted.accumulate {
            parameters.iter_mut().for_each(|of| of.fill(0.0));
        }
        return;
    }
    let (mut of_scale, mut of_shift) = (Memory::new(&cpu.scratch), Memory::new(&cpu.scratch));
    let epilogue = Epilogue::new(problem, &mut operands, cpu.level, [&mut of_scale, &mut of_shift]);
    let ways = (cpu.level, wanted.accumulate);
    // The gradient of the branch goes by that of the sum before it is rounded.
    let elements_of_dx = dx.read().len();
    let mut of_whole = Memory::new(&cpu.scratch);
    let mut whole = (wanted.gate && dx.is_short()).then(|| {
        let whole = of_whole.of(elements_of_dx);
        // Where it lies over that of y, or over what is added to it.
        dx.read().load(cpu.level, whole);
        whole
    });
    let known = running || saved.is_some() || !left.is_none();
    let follows = !epilogue.is_none() || !left.is_none();
    let biases = if follows { affine.length } else { 0 };
    cpu.scratch.with((affine.length + biases).div_ceil(2) + if known { 3 * groups } else { 0 }, |memory| {
        let (memory, expanded) = memory.split_at_mut(if known { 3 * groups } else { 0 });
        let statistics: &mut [Statistics] = bytemuck::cast_slice_mut(memory);
        if let Some(saved) = saved {
            Statistics::unpack(saved, statistics);
        } else if known && !running {
            layout.all_statistics(&rules, Input::of(x), &cpu.scratch, |g, spread| {
                statistics[g] = rules.divisor.statistics(spread);
            });
        } else {
            for ((statistics, mean), var) in statistics.iter_mut().zip(running_values[0]).zip(running_values[1]) {
                *statistics = rules.running(*mean, *var);
            }
        }
        let expanded: &mut [f32] = &mut bytemuck::cast_slice_mut(expanded)[..affine.length + biases];
        let (expanded, biases) = expanded.split_at_mut(affine.length);
        let weight = match weight {
            Some(weight) if affine.repeat == 1 && problem.weight_offset == 0.0 => weight,
            weight => {
                affine.expand(weight, 1.0, problem.weight_offset, expanded);
                expanded
            }
        };
        let epilogue = follows.then(|| {
            affine.expand(bias, 0.0, 0.0, biases);
            let (update, bias) = (None, &*biases);
            (
                epilogue,
                Forward {
                    cpu,
                    rules,
                    layout,
                    affine,
                    weight,
                    bias,
                    update,
                    epilogue: Epilogue::none(cpu.level),
                    floor: NO_FLOOR,
                    gate: None,
                    stream: false,
                    rounding: None,
                },
            )
        });
        let apart = dy.is_some() && !more_under;
        let [of_x, of_dy] = [Role::X, Role::GradOutput].map(|role| element(problem, role));
        let gradients = Gradients {
            cpu,
            rules,
            layout,
            affine,
            weight,
            epilogue,
            x,
            dy,
            more,
            more_under,
            known: known.then_some(&*statistics),
            through: !running,
            centered: problem.centering == Centering::Mean,
            wanted,
            sums: !running && !from_sums && (wanted.input || matches!(problem.task, Task::BackwardSums(_))),
            stream: apart && cpu.streams(&layout, &[of_x, of_dy, of_dy]),
        };
        if let Some((epilogue, norm)) = gradients.epilogue.as_ref().filter(|_| !left.is_none()) {
            let dy = gradients.dy.unwrap_or_else(|| dx.read());
            left.take(problem.modulation.as_ref(), dy.len(), ways, &cpu.scratch, &|own, back: Back<'_>| {
                let Back { gradient, of: y, large } = back;
                dy.part(own.clone()).load(cpu.level, gradient);
                gradients.give(norm, own.clone(), y, statistics, 0);
                large.copy_from_slice(y);
                epilogue.back_to_skip(own.start, gradient, large);
                large.copy_from_slice(gradient);
            });
        }
        let of_dx = match &mut whole {
            Some(whole) => ValuesMut::new(whole),
            None => dx.part(0..elements_of_dx),
        };
        match given_sums {
            Some(sums) => gradients.by_sums(sums, of_dx),
            None => gradients.run(of_dx, sums_out, parameters),
        }
    });
    if before.is_none() {
        return;
    }
    let (mut of_gate, mut of_embedding) = (Memory::new(&cpu.scratch), Memory::new(&cpu.scratch));
    let gate = gate(problem, &mut operands, cpu.level, [&mut of_gate, &mut of_embedding]);
    if let Some(whole) = &whole {
        let rounded = Left::of_large(dx.part(0..elements_of_dx));
        rounded.take(None, elements_of_dx, ways, &cpu.scratch, &|own, back: Back<'_>| {
            back.large.copy_from_slice(&whole[own]);
        });
    }
    let dx = dx.read();
    before.take(problem.modulation.as_ref(), elements_of_dx, ways, &cpu.scratch, &|own, back: Back<'_>| {
        let Back { gradient, of, large } = back;
        dx.part(own.clone()).load(cpu.level, gradient);
        match branch {
            Some(branch) => branch.part(own.clone()).load(cpu.level, of),
            None => of.fill(0.0),
        }
        match &whole {
            Some(whole) => large.copy_from_slice(&whole[own.clone()]),
            None => large.copy_from_slice(gradient),
        }
        if let Some(gate) = gate {
            gate.multiply(own.start, large);
        }
    });
}

/// What the gradient of a group is made of.
fn slope(statistics: &Statistics, [sum, product]: Pair, centered: bool) -> Slope {
    let (factor, root) = (f64::from(statistics.factor), f64::from(statistics.scale).sqrt());
    let mean = if centered { sum * root / statistics.count } else { 0.0 };
    Slope {
        rstd: (factor * root) as f32,
        mean: mean as f32,
        along: (factor * (product * root / statistics.count)) as f32,
        root: root as f32,
    }
}

/// Sets those that are asked for.
fn write_sums(sums: &[Pair], out: &mut [f32]) {
    for (out, sum) in out.chunks_mut(2).zip(sums) {
        (out[0], out[1]) = (sum[0] as f32, sum[1] as f32);
    }
}

/// `x`, `dy` and what is added to `dx`, in f32.
struct Readers<'a> {
    x: Reader<'a>,
    /// Whether `dx` depends on it.
    through: bool,
    dy: Option<Reader<'a>>,
    more: Option<Reader<'a>>,
    more_under: bool,
    /// What becomes of `dy`, also where it is read elsewhere.
    back: Option<Through<'a>>,
}

impl Readers<'_> {
    /// So many elements at a time.
    fn by(self, piece: usize) -> Self {
        Self {
            x: self.x.by(piece),
            dy: self.dy.map(|dy| dy.by(piece)),
            more: self.more.map(|more| more.by(piece)),
            ..self
        }
    }

    /// Those of some elements, as far as `dx`, which is written next, depends on them.
    fn get(&mut self, elements: Range<usize>, dx: &mut [f32]) -> (&[f32], Source<'_>, Option<Source<'_>>) {
        if let (None, Some(back)) = (&self.dy, self.back) {
            back(elements.clone(), dx);
        }
        let dy = self.dy.as_mut().map_or(Source::Here, |dy| Source::Apart(dy.get(elements.clone())));
        let more = match &mut self.more {
            Some(more) => Some(Source::Apart(more.get(elements.clone()))),
            None => self.more_under.then_some(Source::Here),
        };
        (if self.through { self.x.get(elements) } else { &[] }, dy, more)
    }
}

/// Adds up what `sums` says of `x` and `dy` of a segment, told how many elements came before, for all segments.
fn by_segments(
    elements: Range<usize>,
    x: &mut Reader<'_>,
    dy: &mut Reader<'_>,
    mut sums: impl FnMut(usize, &[f32], &[f32]) -> Pair,
) -> Pair {
    let mut all = [0.0; 2];
    for at in elements.clone().step_by(SEGMENT) {
        let own = at..elements.end.min(at + SEGMENT);
        let found = sums(at - elements.start, x.get(own.clone()), dy.get(own));
        all = [all[0] + found[0], all[1] + found[1]];
    }
    all
}

impl Gradients<'_> {
    /// Whether each element of a row has a weight of its own.
    fn by_element(&self) -> bool {
        self.affine.run == 1 && self.layout.shape != Shape::Columns && !self.by_row()
    }

    /// Whether each row has a weight of its own.
    fn by_row(&self) -> bool {
        self.through && self.affine.is_by_row(&self.layout)
    }

    /// Rows of columns that each have weights of their own.
    fn weighs_rows(&self) -> bool {
        self.affine.goes_down() && self.layout.shape == Shape::Columns
    }

    /// How many statistics of a part are added up at a time. Where sums go along rows as well, their order follows from it, and so it from
    /// lengths alone.
    fn strip(&self) -> usize {
        match self.weighs_rows() {
            // Whole rows of `dy` go back through it.
            _ if self.epilogue.is_some() => self.layout.lanes(),
            true => self.layout.tiles().0.min(self.layout.lanes()),
            false => self.layout.strip(),
        }
    }

    /// Numbers that a strip of a part leaves: two sums for each of its lanes, and where rows have weights, for each of its rows.
    fn sums_of_strip(&self, strip: usize) -> usize {
        let rows = if self.weighs_rows() { self.layout.part().min(self.layout.r) } else { 0 };
        2 * (strip * self.lanes() / self.layout.lanes() + rows * self.layout.s)
    }

    /// Runs of one weight in a slab, or columns: each has sums of its own.
    fn lanes(&self) -> usize {
        let Layout { k, s, .. } = self.layout;
        if self.layout.shape == Shape::Columns { k * s } else { k * s.div_ceil(self.affine.run) }
    }

    fn run(&self, dx: ValuesMut<'_>, sums_out: &mut [f32], parameters: [&mut [f32]; 2]) {
        let layout = &self.layout;
        let (slab, k) = (layout.slab(), layout.k);
        let small = slab <= FUSED;
        // Where sums are in another order, by sizes alone.
        let fused = match (self.by_element(), layout.shape) {
            (true, Shape::Row) => {
                let alone = layout.elements() <= ALONE;
                alone || !self.affine.is_shared() || self.affine.repeat > 1 || small && layout.b >= ROWS
            }
            (true, _) => true,
            (false, _) if self.by_row() => true,
            (false, _) => layout.is_alone() || small && layout.has_slabs(),
        };
        let least = if self.by_element() { ROWS.div_ceil(layout.r.max(1)) } else { 1 };
        let chunk = layout.b.div_ceil(PARTS).max(least);
        let chunks = layout.b.div_ceil(chunk);
        let entries = if self.wanted.parameters() { self.affine.length } else { 0 };
        if self.by_element() && !fused {
            return self.stages(dx, sums_out, &mut [], chunk, parameters);
        }
        self.cpu.scratch.with(2 * entries * chunks, |memory| {
            if !fused {
                self.stages(dx, sums_out, memory, chunk, [&mut [], &mut []]);
                return self.keep(memory, parameters);
            }
            let of_dx = if self.wanted.input { chunk * slab } else { 0 };
            let units = (
                (Flow { y: dx, per: of_dx, ..Flow::default() }, Units { of: sums_out, per: 2 * k * chunk }),
                Units { of: &mut *memory, per: 2 * entries },
            );
            let grain = if layout.is_alone() { chunks } else { 1 };
            each(0..chunks, grain, units, &|range: Range<usize>, ((dx, sums), memory)| {
                let (mut dx, mut sums, mut memory) = (dx.y, sums.of, memory.of);
                for number in range {
                    let slabs = number * chunk..layout.b.min((number + 1) * chunk);
                    let (own_dx, rest) = dx.split(slabs.len() * slab);
                    let (own_sums, rest_sums) = sums.split_at_mut(sums.len().min(2 * k * slabs.len()));
                    let (own, rest_memory) = memory.split_at_mut(2 * entries);
                    // Rows at once take `x`, which is not read where no gradient goes through statistics.
                    let shared = self.through && self.by_element() && self.affine.is_shared();
                    if shared && layout.shape == Shape::Row && slab <= MEDIUM || self.by_row() {
                        self.rows(slabs, own_dx, own_sums, own);
                    } else {
                        self.slabs(slabs, own_dx, own_sums, own);
                    }
                    (dx, sums, memory) = (rest, rest_sums, rest_memory);
                }
            });
            self.keep(memory, parameters);
        });
    }

    /// Adds up the gradients of parameters of all chunks, and what is there.
    fn keep(&self, memory: &[f64], parameters: [&mut [f32]; 2]) {
        let (entries, repeat) = (self.affine.length, self.affine.repeat);
        for (which, of) in parameters.into_iter().enumerate() {
            let units = Units { of, per: 1 };
            let count = units.of.len();
            each(0..count, self.layout.grain(PARTS), units, &|range: Range<usize>, units| {
                self.cpu.scratch.with(range.len(), |sums| {
                    for chunk in memory.chunks(2 * entries) {
                        let own = &chunk[which * entries..][range.start * repeat..range.end * repeat];
                        if repeat == 1 {
                            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
                        } else {
                            let own = own.chunks(repeat).map(|own| own.iter().sum::<f64>());
                            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
                        }
                    }
                    units.of.iter_mut().zip(&*sums).for_each(|(of, sum)| self.keep_one(of, *sum));
                });
            });
        }
    }

    /// Rows with the same weights, or with one each, many at each step.
    fn rows(&self, rows: Range<usize>, mut dx: ValuesMut<'_>, sums_out: &mut [f32], parameters: &mut [f64]) {
        let (s, level) = (self.layout.s, self.rules.level);
        let batch = (BATCH / s).clamp(1, MANY);
        let (mut piece, mut readers) = (self.piece(&dx), self.readers(None));
        let by_row = self.by_row();
        let of_runs = if by_row { 0 } else { parameters.len() };
        let numbers = 3 * batch + 3 * batch + 3 * batch + 2 * batch + 2 * batch + 2 * batch;
        self.cpu.scratch.with(numbers + (of_runs + s).div_ceil(2), |memory| {
            let (memory, rest) = memory.split_at_mut(numbers);
            let (runs, ones) = bytemuck::cast_slice_mut::<f64, f32>(rest).split_at_mut(of_runs);
            ones.fill(1.0);
            let weight = if by_row { &ones[..s] } else { &self.weight[..s] };
            let (spreads, memory) = memory.split_at_mut(3 * batch);
            let (statistics, memory) = memory.split_at_mut(3 * batch);
            let (row_sums, memory) = memory.split_at_mut(3 * batch);
            let (centers, memory) = memory.split_at_mut(2 * batch);
            let (sums, slopes) = memory.split_at_mut(2 * batch);
            let spreads: &mut [Spread] = bytemuck::cast_slice_mut(spreads);
            let own: &mut [Statistics] = bytemuck::cast_slice_mut(statistics);
            let row_sums: &mut [Sums] = bytemuck::cast_slice_mut(row_sums);
            let centers: &mut [Center] = bytemuck::cast_slice_mut(centers);
            let sums: &mut [Pair] = bytemuck::cast_slice_mut(sums);
            let slopes: &mut [Slope] = bytemuck::cast_slice_mut(slopes);
            let mut first = rows.start;
            while first < rows.end {
                let count = batch.min(rows.end - first);
                let elements = first * s..(first + count) * s;
                let own_dx =
                    if dx.is_empty() { 0..0 } else { elements.start - rows.start * s..elements.end - rows.start * s };
                let mut sink = self.sink(dx.part(own_dx), BATCH, piece.as_mut());
                let (x, dy, more) = readers.get(elements.clone(), &mut []);
                let statistics = match self.known {
                    Some(known) => &known[first..first + count],
                    None => {
                        self.rules.row_sums(x, s, &mut row_sums[..count]);
                        self.rules.rows(x, s, &row_sums[..count], spreads);
                        for (statistics, spread) in own.iter_mut().zip(&*spreads).take(count) {
                            *statistics = self.rules.divisor.statistics(*spread);
                        }
                        &own[..count]
                    }
                };
                let centers = &mut centers[..count];
                for (center, statistics) in centers.iter_mut().zip(statistics) {
                    *center = center_of(statistics);
                }
                let sums = &mut sums[..count];
                let mut held = self.epilogue.is_some().then(|| {
                    let dy = match dy {
                        Source::Apart(dy) => dy,
                        Source::Here => sink.source(),
                    };
                    self.holding(Values::new(dy), elements.clone(), statistics)
                });
                let dy = held.as_mut().map_or(dy, |held| Source::Apart(held.get(elements)));
                let dy_of = match dy {
                    Source::Apart(dy) => dy,
                    Source::Here => sink.source(),
                };
                if self.sums || by_row {
                    rows_dots(level, x, dy_of, centers, weight, sums);
                }
                if by_row {
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let number = self.affine.base(first + row, 0, 0);
                        if !parameters.is_empty() {
                            parameters[number] += sums[0];
                            parameters[self.affine.length + number] += sums[1];
                        }
                        *sums = sums.map(|sum| sum * f64::from(self.weight[number]));
                    }
                }
                if !runs.is_empty() {
                    // Chains of rows end where they do whatever the batch.
                    let (mut row, start) = (0, first - rows.start);
                    while row < count {
                        let end = count.min(row + CHAIN - (start + row) % CHAIN);
                        let (bias, weight) = runs.split_at_mut(s);
                        let own = row * s..end * s;
                        rows_parameters(level, &x[own.clone()], &dy_of[own], &centers[row..end], bias, weight);
                        if (start + end).is_multiple_of(CHAIN) || first + end == rows.end {
                            carry(level, runs, parameters);
                        }
                        row = end;
                    }
                }
                if !sums_out.is_empty() {
                    write_sums(sums, &mut sums_out[2 * (first - rows.start)..]);
                }
                if self.wanted.input {
                    for ((slope_of, statistics), sums) in slopes.iter_mut().zip(statistics).zip(&*sums) {
                        *slope_of = slope(statistics, *sums, self.centered);
                    }
                    for (row, slope) in slopes[..count].iter_mut().enumerate().filter(|_| by_row) {
                        slope.root *= self.weight[self.affine.base(first + row, 0, 0)];
                    }
                    // All at once: they are no more than a piece.
                    sink.put(count * s, |_, _, dx| {
                        gradient_rows(level, x, dy, more, dx, centers, &slopes[..count], weight);
                    });
                }
                first += count;
            }
        });
    }

    /// Some slabs one after the other, and what they give to the gradients of parameters.
    fn slabs(&self, slabs: Range<usize>, mut dx: ValuesMut<'_>, sums_out: &mut [f32], parameters: &mut [f64]) {
        let layout = &self.layout;
        let (slab, k) = (layout.slab(), layout.k);
        let (mut piece, mut readers) = (self.piece(&dx), self.readers(None));
        let by_element = self.by_element();
        let runs = if by_element && !parameters.is_empty() { parameters.len() } else { 0 };
        let lanes = if by_element { 0 } else { 2 * self.lanes() };
        let scratch = &self.cpu.scratch;
        scratch.with(6 * k + 2 * k + lanes + runs.div_ceil(2) + 2 * k, |memory| {
            let (spreads, rest) = memory.split_at_mut(3 * k);
            let (statistics, rest) = rest.split_at_mut(3 * k);
            let (sums, rest) = rest.split_at_mut(2 * k);
            let (slopes, rest) = rest.split_at_mut(2 * k);
            let (raw, rest) = rest.split_at_mut(lanes);
            let runs: &mut [f32] = &mut bytemuck::cast_slice_mut(rest)[..runs];
            let spreads: &mut [Spread] = bytemuck::cast_slice_mut(spreads);
            let own: &mut [Statistics] = bytemuck::cast_slice_mut(statistics);
            let sums: &mut [Pair] = bytemuck::cast_slice_mut(sums);
            let slopes: &mut [Slope] = bytemuck::cast_slice_mut(slopes);
            let mut waiting = 0;
            for (number, b) in slabs.clone().enumerate() {
                let elements = b * slab..(b + 1) * slab;
                let statistics = match self.known {
                    Some(known) => self.of_slab(known, b),
                    None => {
                        layout.slab_statistics(&self.rules, &mut readers.x, b, spreads, scratch);
                        for (statistics, spread) in own.iter_mut().zip(&*spreads) {
                            *statistics = self.rules.divisor.statistics(*spread);
                        }
                        &*own
                    }
                };
                let own_dx = if dx.is_empty() { 0..0 } else { number * slab..(number + 1) * slab };
                let dx = dx.part(own_dx);
                if self.epilogue.is_some() {
                    let dy = self.dy.map_or_else(|| dx.read(), |dy| dy.part(elements.clone()));
                    readers.dy = Some(self.holding(dy, elements.clone(), statistics));
                }
                sums.fill([0.0; 2]);
                let mut add = |x: &mut Reader<'_>, dy: &mut Reader<'_>| {
                    if by_element && self.affine.goes_down() {
                        for (r, row) in elements.clone().step_by(layout.width()).enumerate() {
                            let row = row..row + layout.width();
                            for at in row.clone().step_by(CHAIN * layout.s) {
                                let own = at..row.end.min(at + CHAIN * layout.s);
                                self.element_sums(own, (x, dy), statistics, sums, runs);
                                for of in [0, runs.len() / 2] {
                                    let own = of + r * layout.s..of + (r + 1) * layout.s;
                                    let own = if runs.is_empty() { 0..0 } else { own };
                                    carry(self.rules.level, &mut runs[own.clone()], &mut parameters[own]);
                                }
                            }
                        }
                    } else if by_element {
                        for row in elements.clone().step_by(layout.width()) {
                            self.element_sums(row..row + layout.width(), (x, dy), statistics, sums, runs);
                            waiting += 1;
                            if waiting == CHAIN || row + layout.width() == elements.end && b + 1 == slabs.end {
                                carry(self.rules.level, runs, parameters);
                                waiting = 0;
                            }
                        }
                    } else if self.sums || !parameters.is_empty() {
                        raw.fill(0.0);
                        let strip = if self.weighs_rows() { self.strip() } else { layout.lanes() };
                        scratch.with(self.sums_of_strip(strip), |found| {
                            for part in 0..layout.parts() {
                                for first in (0..layout.lanes()).step_by(strip) {
                                    let own = first..layout.lanes().min(first + strip);
                                    found.fill(0.0);
                                    self.part_sums(b, part, own.clone(), (x, dy), statistics, found);
                                    self.add_strip(part, own, found, raw, parameters);
                                }
                            }
                        });
                        self.distribute(b, raw, sums, parameters);
                    }
                };
                match &mut readers.dy {
                    Some(dy) => add(&mut readers.x, dy),
                    None => add(&mut readers.x, &mut self.reader(dx.read(), elements.start)),
                }
                if !sums_out.is_empty() {
                    write_sums(sums, &mut sums_out[2 * number * k..]);
                }
                if !dx.is_empty() {
                    for ((slope_of, statistics), sums) in slopes.iter_mut().zip(statistics).zip(&*sums) {
                        *slope_of = slope(statistics, *sums, self.centered);
                    }
                    let mut sink = self.sink(dx, PIECE, piece.as_mut());
                    self.gradient(elements, &mut readers, &mut sink, statistics, slopes);
                }
            }
        });
    }

    /// The statistics of one slab.
    fn of_slab<'b>(&self, known: &'b [Statistics], b: usize) -> &'b [Statistics] {
        &known[b * self.layout.k..(b + 1) * self.layout.k]
    }

    /// The sums of elements of a slab, each of which has a weight; what they give to parameters is added to `runs`.
    fn element_sums(
        &self,
        elements: Range<usize>,
        (x, dy): (&mut Reader<'_>, &mut Reader<'_>),
        statistics: &[Statistics],
        sums: &mut [Pair],
        runs: &mut [f32],
    ) {
        let level = self.rules.level;
        self.layout.each_run(elements, |run| {
            let center = center_of(&statistics[run.k]);
            let first = self.affine.base(run.b, run.r, run.k) + run.within;
            let there = !runs.is_empty();
            if self.sums || there {
                let found = by_segments(run.elements, x, dy, |done, x, dy| {
                    let first = first + done;
                    let (bias, weight) = runs.split_at_mut(if there { self.affine.length } else { 0 });
                    let given = there.then(|| [&mut bias[first..], &mut weight[first..]]);
                    row_gradients(level, x, dy, center, &self.weight[first..], given)
                });
                sums[run.k][0] += found[0];
                sums[run.k][1] += found[1];
            }
        });
    }

    /// The sums of `dy` and of `dy * xhat` of one part of a slab: of some columns, or of runs of one weight of some groups.
    fn part_sums(
        &self,
        b: usize,
        part: usize,
        own: Range<usize>,
        (x, dy): (&mut Reader<'_>, &mut Reader<'_>),
        statistics: &[Statistics],
        out: &mut [f64],
    ) {
        let (layout, level) = (&self.layout, self.rules.level);
        let range = layout.range(b, part);
        let of_lane = self.lanes() / layout.lanes();
        let (of_lanes, of_rows) = out.split_at_mut(2 * of_lane * own.len());
        let (sum, product) = of_lanes.split_at_mut(of_lane * own.len());
        if layout.shape == Shape::Columns {
            let added = if self.weighs_rows() { own.len() } else { 0 };
            self.cpu.scratch.with(2 * own.len() + added, |memory| {
                let (memory, runs) = memory.split_at_mut(2 * own.len());
                let runs: &mut [f32] = bytemuck::cast_slice_mut(runs);
                let first_row = part * layout.part();
                let mut row = first_row;
                let mut columns = Columns::<4>::new(bytemuck::cast_slice_mut(memory), own.len(), layout);
                columns.fill(layout, &self.affine, b, own.start, |k, _| {
                    let center = center_of(&statistics[k]);
                    [center.scale, center.shift, center.delta, center.factor]
                });
                let centers = columns.centers();
                let mut work = |[x, dy]: [&[f32]; 2], pitch: usize| {
                    if !self.weighs_rows() {
                        return column_dots(level, x, dy, pitch, centers, sum, product);
                    }
                    if self.affine.weighs_long_rows(layout) {
                        let (bias, weight) = runs.split_at_mut(own.len());
                        for (x, dy) in x.chunks(CHAIN * pitch).zip(dy.chunks(CHAIN * pitch)) {
                            let own = row..row + x.len().div_ceil(pitch);
                            let weights = &self.weight[own.clone()];
                            let along: &mut [Pair] = bytemuck::cast_slice_mut(of_rows);
                            let along = &mut along[own.start - first_row..own.end - first_row];
                            columns_of_rows_dots(level, x, dy, pitch, centers, weights, bias, weight, along);
                            carry(level, bias, sum);
                            carry(level, weight, product);
                            row = own.end;
                        }
                        return;
                    }
                    let of_rows = of_rows.chunks_exact_mut(2 * layout.s).skip(row - first_row);
                    for ((x, dy), of_row) in x.chunks(pitch).zip(dy.chunks(pitch)).zip(of_rows) {
                        let weights = &self.weight[row * layout.s..(row + 1) * layout.s];
                        let (bias, weight) = of_row.split_at_mut(layout.s);
                        let first = own.start % layout.s;
                        let (x, dy) = (&x[..own.len()], &dy[..own.len()]);
                        short_row_dots(level, x, dy, centers, first, weights, sum, product, bias, weight);
                        row += 1;
                    }
                };
                let width = layout.width();
                if self.epilogue.is_none() {
                    let own_elements = range.start + own.start..range.end;
                    let of = [x.part(own_elements.clone()), dy.part(own_elements)];
                    return each_rows(of, (width, own.len()), level, &self.cpu.scratch, work);
                }
                // Whole rows: `dy` is made as it is read.
                for first in range.clone().step_by(CHAIN * width) {
                    let rows = first..range.end.min(first + CHAIN * width);
                    work([x.get(rows.clone()), dy.get(rows)], width);
                }
            });
            return;
        }
        let mut add = |elements: Range<usize>| {
            layout.each_run(elements, |run| {
                let center = center_of(&statistics[run.k]);
                let base = self.affine.base(run.b, run.r, run.k);
                self.affine.each_weight(&run, |elements, weight| {
                    let found = by_segments(elements, x, dy, |_, x, dy| row_dots(level, x, dy, center));
                    let lane = (run.k - own.start) * of_lane + weight - base;
                    sum[lane] += found[0];
                    product[lane] += found[1];
                });
            });
        };
        if own.len() == layout.lanes() {
            return add(range);
        }
        range.step_by(layout.width()).for_each(|row| add(row + own.start * layout.s..row + own.end * layout.s));
    }

    /// Adds what is found of some lanes of a part to that of all lanes of the slab, and what is found of its rows to parameters.
    fn add_strip(&self, part: usize, own: Range<usize>, found: &[f64], raw: &mut [f64], parameters: &mut [f64]) {
        let of_lane = self.lanes() / self.layout.lanes();
        let own = own.start * of_lane..own.end * of_lane;
        let (sums, products) = raw.split_at_mut(raw.len() / 2);
        let (of_lanes, of_rows) = found.split_at(2 * own.len());
        for (of, found) in [sums, products].into_iter().zip(of_lanes.chunks(own.len())) {
            of[own.clone()].iter_mut().zip(found).for_each(|(of, found)| *of += found);
        }
        if self.weighs_rows() && !parameters.is_empty() {
            let s = self.layout.s;
            let (bias, weight) = parameters.split_at_mut(self.affine.length);
            let of = bias.chunks_mut(s).zip(weight.chunks_mut(s)).skip(part * self.layout.part());
            for ((bias, weight), found) in of.take(self.layout.part()).zip(of_rows.chunks_exact(2 * s)) {
                let (of_bias, of_weight) = found.split_at(s);
                bias.iter_mut().zip(of_bias).for_each(|(of, found)| *of += found);
                weight.iter_mut().zip(of_weight).for_each(|(of, found)| *of += found);
            }
        }
    }

    /// Adds the sums of a slab's lanes to those of groups, times weights, and to those of parameters.
    fn distribute(&self, b: usize, raw: &[f64], sums: &mut [Pair], parameters: &mut [f64]) {
        let lanes = self.lanes();
        let of_group = lanes / self.layout.k;
        let neighbours = if self.layout.shape == Shape::Columns { self.affine.run } else { 1 };
        let (sum, product) = raw.split_at(lanes);
        if self.weighs_rows() {
            // They are weighted, and parameters have what is theirs.
            for ((sums, sum), product) in sums.iter_mut().zip(sum.chunks(of_group)).zip(product.chunks(of_group)) {
                sums[0] += sum.iter().sum::<f64>();
                sums[1] += product.iter().sum::<f64>();
            }
            return;
        }
        for (k, sums) in sums.iter_mut().enumerate() {
            let base = self.affine.base(b, 0, k);
            for lane in 0..of_group {
                let (sum, product) = (sum[k * of_group + lane], product[k * of_group + lane]);
                let number = base + lane / neighbours;
                let weight = f64::from(self.weight[number]);
                sums[0] += weight * sum;
                sums[1] += weight * product;
                if !parameters.is_empty() {
                    parameters[number] += sum;
                    parameters[self.affine.length + number] += product;
                }
            }
        }
    }

    /// Few slabs, or large ones: the sums of all parts, then of groups, then the gradient of `x`.
    fn stages(
        &self,
        dx: ValuesMut<'_>,
        sums_out: &mut [f32],
        memory: &mut [f64],
        chunk: usize,
        parameters: [&mut [f32]; 2],
    ) {
        let layout = &self.layout;
        let scratch = &self.cpu.scratch;
        let groups = layout.b * layout.k;
        scratch.with(if self.known.is_some() { 0 } else { 3 * groups }, |found| {
            let statistics: &[Statistics] = match self.known {
                Some(known) => known,
                None => {
                    let statistics: &mut [Statistics] = bytemuck::cast_slice_mut(found);
                    layout.all_statistics(&self.rules, Input::of(self.x), scratch, |g, spread| {
                        statistics[g] = self.rules.divisor.statistics(spread);
                    });
                    statistics
                }
            };
            scratch.with(2 * groups, |found| {
                let sums: &mut [Pair] = bytemuck::cast_slice_mut(found);
                let back = |elements: Range<usize>, dy: &mut [f32]| self.pass_back(elements, dy, statistics, 0);
                let dy = || {
                    let dy = self.reader(self.dy.unwrap_or_else(|| dx.read()), 0);
                    dy.through(self.epilogue.as_ref().map(|_| &back as Through<'_>), self.going_back())
                };
                let tiled = self.dy.is_some() && self.epilogue.is_none() && self.affine.weighs_long_rows(layout);
                if tiled && self.sums && layout.has_tiles() {
                    self.tiles(dx, statistics, sums, memory, chunk);
                    return write_sums(sums, sums_out);
                }
                if self.by_element() {
                    self.long_rows(&dy, statistics, sums, parameters);
                } else if self.sums || !memory.is_empty() {
                    self.all_parts(&dy, statistics, sums, memory, chunk);
                }
                write_sums(sums, sums_out);
                self.apply(dx, statistics, sums);
            });
        });
    }

    /// The sums of all parts at once.
    fn all_parts<'b>(
        &self,
        dy: &(dyn Fn() -> Reader<'b> + Sync),
        statistics: &[Statistics],
        sums: &mut [Pair],
        parameters: &mut [f64],
        chunk: usize,
    ) {
        let layout = &self.layout;
        let (parts, lanes, slab, k) = (layout.parts(), self.lanes(), layout.slab(), layout.k);
        let strip = self.strip();
        let strips = layout.lanes().div_ceil(strip);
        let per = self.sums_of_strip(strip);
        let stride = strips * per;
        self.cpu.scratch.with(layout.b * parts * stride + 2 * lanes, |memory| {
            let (raw, partials) = memory.split_at_mut(2 * lanes);
            let units = Units { of: &mut *partials, per };
            let grain = layout.grain(slab.div_ceil(parts * strips));
            each(0..layout.b * parts * strips, grain, units, &|range: Range<usize>, units| {
                let (mut x, mut dy) = (self.reader(self.x, 0), dy());
                for (number, out) in range.zip(units.of.chunks_mut(per)) {
                    let (b, part, first) = (number / strips / parts, number / strips % parts, number % strips * strip);
                    let own = first..layout.lanes().min(first + strip);
                    self.part_sums(b, part, own, (&mut x, &mut dy), self.of_slab(statistics, b), out);
                }
            });
            let entries = if parameters.is_empty() { 0 } else { 2 * self.affine.length };
            for (b, partials) in partials.chunks(parts * stride).enumerate() {
                raw.fill(0.0);
                let own = &mut parameters[b / chunk * entries..][..entries];
                for (number, found) in partials.chunks(per).enumerate() {
                    let (part, first) = (number / strips, number % strips * strip);
                    self.add_strip(part, first..layout.lanes().min(first + strip), found, raw, own);
                }
                self.distribute(b, raw, &mut sums[b * k..(b + 1) * k], own);
            }
        });
    }

    /// Wide columns whose rows each have a weight, a tile at a time: its sums, and then `dx`, while `x` and `dy` are in the cache.
    fn tiles(
        &self,
        dx: ValuesMut<'_>,
        statistics: &[Statistics],
        sums: &mut [Pair],
        parameters: &mut [f64],
        chunk: usize,
    ) {
        let layout = &self.layout;
        let Layout { b, r, k, .. } = *layout;
        let (tile, tiles) = layout.tiles();
        self.cpu.scratch.with(b * tiles * 2 * r, |of_rows| {
            let units = (Units { of: sums, per: k }, Units { of: &mut *of_rows, per: tiles * 2 * r });
            let flow = Flow { y: dx, per: layout.slab(), ..Flow::default() };
            each(0..b, layout.grain(layout.slab()), (flow, units), &|slabs: Range<usize>, mut units| {
                for b in slabs {
                    let ((flow, (sums, of_rows)), rest) = units.cut(1);
                    let own = (Units { of: sums.of, per: tile }, Units { of: of_rows.of, per: 2 * r });
                    let own = (Strips::new(flow.y, k, tile), own);
                    each(0..tiles, layout.grain(tile * r), own, &|tiles: Range<usize>, mut own| {
                        for first in tiles.map(|number| number * tile) {
                            let ((dx, (sums, of_rows)), rest) = own.cut(1);
                            self.tile(b, first..k.min(first + tile), dx, statistics, sums.of, of_rows.of);
                            own = rest;
                        }
                    });
                    units = rest;
                }
            });
            let entries = if parameters.is_empty() { 0 } else { 2 * r };
            for (b, found) in of_rows.chunks(tiles * 2 * r).enumerate() {
                let own = &mut parameters[b / chunk * entries..][..entries];
                for found in found.chunks(2 * r) {
                    own.iter_mut().zip(found).for_each(|(of, found)| *of += found);
                }
            }
        });
    }

    /// All rows of some columns of a slab.
    fn tile(
        &self,
        b: usize,
        own: Range<usize>,
        dx: Strips<'_>,
        statistics: &[Statistics],
        sums: &mut [Pair],
        of_rows: &mut [f64],
    ) {
        let (layout, wide) = (&self.layout, own.len());
        let statistics = self.of_slab(statistics, b);
        let mut readers = self.readers(None).by(wide);
        let (found, memory) = (self.sums_of_strip(wide), if dx.rows.is_empty() { 0 } else { 4 * wide });
        self.cpu.scratch.with(2 * wide + found + memory, |numbers| {
            let (raw, numbers) = numbers.split_at_mut(2 * wide);
            let (found, numbers) = numbers.split_at_mut(found);
            let Some(dy) = &mut readers.dy else { return };
            for part in 0..layout.parts() {
                found.fill(0.0);
                self.part_sums(b, part, own.clone(), (&mut readers.x, dy), statistics, found);
                self.add_strip(part, 0..wide, found, raw, of_rows);
            }
            let (sum, product) = raw.split_at(wide);
            for ((sums, sum), product) in sums.iter_mut().zip(sum).zip(product) {
                *sums = [*sum, *product];
            }
            if dx.rows.is_empty() {
                return;
            }
            let mut columns = Columns::<8>::new(bytemuck::cast_slice_mut(numbers), wide, layout);
            self.fill(&mut columns, (b, own.start), statistics, |k| {
                slope(&statistics[k], sums[k - own.start], self.centered)
            });
            let (centers, slopes) = columns.gradients();
            let mut piece = dx.rows.first().and_then(|row| self.piece(row));
            for (row, mut dx) in dx.rows.into_iter().enumerate() {
                let (start, weight) = (b * layout.slab() + row * layout.width() + own.start, self.weight[row]);
                // To make a sink for each row takes a twentieth of the time, for rows of 784.
                if let (None, Some(dx)) = (&piece, dx.direct()) {
                    self.gradient_of_row((start, 0), &mut readers, dx, (centers, slopes), weight);
                    continue;
                }
                self.sink(dx, PIECE, piece.as_mut()).put(wide, |done, _, dx| {
                    self.gradient_of_row((start, done), &mut readers, dx, (centers, slopes), weight);
                });
            }
        });
    }

    /// Few rows, or long ones, whose elements each have a weight: pieces of all rows, one after the other.
    fn long_rows<'b>(
        &self,
        dy: &(dyn Fn() -> Reader<'b> + Sync),
        statistics: &[Statistics],
        sums: &mut [Pair],
        parameters: [&mut [f32]; 2],
    ) {
        let Layout { b: rows, s, .. } = self.layout;
        let level = self.rules.level;
        // The sums of rows are then those of whole rows.
        let length = SEGMENT;
        let pieces = s.div_ceil(length);
        let there = self.wanted.parameters();
        let scratch = &self.cpu.scratch;
        let [bias, weight] = parameters.map(|of| Units { per: if of.is_empty() { 0 } else { length }, of });
        scratch.with(2 * rows * pieces, |memory| {
            let partials: &mut [Pair] = bytemuck::cast_slice_mut(memory);
            let units = (Units { of: &mut *partials, per: rows }, (bias, weight));
            each(0..pieces, 1, units, &|range: Range<usize>, (partials, (bias, weight))| {
                let columns = range.start * length..s.min(range.end * length);
                let (mut x, mut dy) = (self.reader(self.x, 0), dy());
                scratch.with(3 * length, |memory| {
                    let (added, runs) = memory.split_at_mut(2 * length);
                    let runs: &mut [f32] = bytemuck::cast_slice_mut(runs);
                    for (row, partial) in partials.of.iter_mut().enumerate() {
                        let elements = row * s + columns.start..row * s + columns.end;
                        let (x, dy) = (x.get(elements.clone()), dy.get(elements));
                        let center = center_of(&statistics[row]);
                        let given = there.then(|| runs.split_at_mut(length).into());
                        if self.sums || there {
                            *partial = row_gradients(level, x, dy, center, &self.weight[columns.clone()], given);
                        }
                        if there && (row % CHAIN == CHAIN - 1 || row + 1 == rows) {
                            carry(level, runs, added);
                        }
                    }
                    let (added_bias, added_weight) = added.split_at(length);
                    for (of, added) in [(bias.of, added_bias), (weight.of, added_weight)] {
                        for (of, added) in of.iter_mut().zip(added) {
                            self.keep_one(of, *added);
                        }
                    }
                });
            });
            for partials in partials.chunks(rows) {
                for (sum, partial) in sums.iter_mut().zip(partials) {
                    sum[0] += partial[0];
                    sum[1] += partial[1];
                }
            }
        });
    }

    /// Sets the gradient of a parameter, or adds to it.
    fn keep_one(&self, of: &mut f32, sum: f64) {
        *of = if self.wanted.accumulate { (f64::from(*of) + sum) as f32 } else { sum as f32 };
    }

    /// The gradient of `x` by sums that are known, those of all parts of a batch.
    fn by_sums(&self, given: &[f32], dx: ValuesMut<'_>) {
        let groups = self.layout.b * self.layout.k;
        self.cpu.scratch.with(2 * groups, |memory| {
            let sums: &mut [Pair] = bytemuck::cast_slice_mut(memory);
            for part in given.chunks(2 * groups) {
                for (sum, part) in sums.iter_mut().zip(part.chunks(2)) {
                    sum[0] += f64::from(part[0]);
                    sum[1] += f64::from(part[1]);
                }
            }
            self.apply(dx, self.known.unwrap_or_default(), sums);
        });
    }

    /// The gradient of all elements.
    fn apply(&self, dx: ValuesMut<'_>, statistics: &[Statistics], sums: &[Pair]) {
        if dx.is_empty() {
            return;
        }
        let layout = &self.layout;
        self.cpu.scratch.with(2 * sums.len(), |memory| {
            let slopes: &mut [Slope] = bytemuck::cast_slice_mut(memory);
            for ((slope_of, statistics), sums) in slopes.iter_mut().zip(statistics).zip(sums) {
                *slope_of = slope(statistics, *sums, self.centered);
            }
            let slopes = &*slopes;
            let back = |elements: Range<usize>, dy: &mut [f32]| self.pass_back(elements, dy, statistics, 0);
            let by_column = layout.shape == Shape::Columns;
            let (unit, grain) = layout.units();
            let flow = Flow { y: dx, per: unit, ..Flow::default() };
            // Those of the one slab, for all threads.
            let wide = if by_column && layout.b == 1 { wide(layout) } else { 0 };
            self.cpu.scratch.with(4 * wide, |memory| {
                let columns = (wide > 0).then(|| {
                    let mut columns = Columns::new(bytemuck::cast_slice_mut(memory), wide, layout);
                    self.fill(&mut columns, (0, 0), statistics, |k| slopes[k]);
                    columns
                });
                each(0..layout.elements() / unit, grain, flow, &|range: Range<usize>, flow| {
                    let elements = range.start * unit..range.end * unit;
                    let (mut piece, mut readers) = (self.piece(&flow.y), self.readers(Some(&back)));
                    let mut sink = self.sink(flow.y, PIECE, piece.as_mut());
                    match &columns {
                        Some(columns) => self.gradient_of_slab(elements, &mut readers, &mut sink, columns),
                        None => {
                            let first = elements.start / layout.slab() * layout.k;
                            let (statistics, slopes) = (&statistics[first..], &slopes[first..]);
                            self.gradient(elements, &mut readers, &mut sink, statistics, slopes);
                        }
                    }
                });
            });
        });
    }

    /// Sets what the gradients of the columns of a slab are made of, from the first on.
    fn fill(
        &self,
        columns: &mut Columns<'_, 8>,
        (b, first): (usize, usize),
        statistics: &[Statistics],
        slope: impl Fn(usize) -> Slope,
    ) {
        columns.fill(&self.layout, &self.affine, b, first, |k, weight| {
            let (Center { scale, shift, delta, factor }, slope) = (center_of(&statistics[k]), slope(k));
            let weight = if self.weighs_rows() { 1.0 } else { self.weight[weight] };
            let weight = weight * if self.through { slope.root } else { slope.rstd };
            [scale, shift, delta, factor, slope.rstd, slope.mean, slope.along, weight]
        });
    }

    /// The gradient of neighbouring elements, whose first is of the slab that `statistics` and `slopes` begin with.
    fn gradient(
        &self,
        elements: Range<usize>,
        readers: &mut Readers<'_>,
        sink: &mut Sink<'_, '_>,
        statistics: &[Statistics],
        slopes: &[Slope],
    ) {
        let (layout, level) = (&self.layout, self.rules.level);
        if layout.shape == Shape::Columns {
            return self.gradient_of_columns(elements, readers, sink, statistics, slopes);
        }
        let slab = elements.start / layout.slab();
        layout.each_run(elements, |run: Run| {
            let group = (run.b - slab) * layout.k + run.k;
            let (center, slope) = (center_of(&statistics[group]), slopes[group]);
            if self.affine.run == 1 && self.through {
                let (start, first) = (run.elements.start, self.affine.base(run.b, run.r, run.k) + run.within);
                sink.put(run.elements.len(), |done, _, dx| {
                    let (x, dy, more) = readers.get(start + done..start + done + dx.len(), dx);
                    gradient_row(level, x, dy, more, dx, center, &self.weight[first + done..], slope);
                });
                return;
            }
            self.affine.each_weight(&run, |elements, number| {
                let weight = self.weight[number];
                sink.put(elements.len(), |done, _, dx| {
                    let at = elements.start + done;
                    let (x, dy, more) = readers.get(at..at + dx.len(), dx);
                    if self.through {
                        gradient_run(level, x, dy, more, dx, center, weight * slope.root, slope);
                    } else {
                        scale_run(level, dy, more, dx, slope.rstd * weight);
                    }
                });
            });
        });
    }

    /// Readers of `x`, `dy` and what is added to `dx`; `back` is what becomes of `dy` after an activation.
    fn readers<'b>(&'b self, back: Option<Through<'b>>) -> Readers<'b> {
        let back = back.filter(|_| self.epilogue.is_some());
        let reader = |of| self.reader(of, 0);
        let (dy, more) = (self.dy.map(|dy| reader(dy).through(back, self.going_back())), self.more.map(reader));
        Readers { x: reader(self.x), through: self.through, dy, more, more_under: self.more_under, back }
    }

    /// The gradient of what the norm gives of some elements, from that of what follows it. The statistics are those of slabs from the
    /// `first` on.
    fn pass_back(&self, elements: Range<usize>, dy: &mut [f32], statistics: &[Statistics], first: usize) {
        let Some((epilogue, norm)) = &self.epilogue else { return };
        let mut memory = Memory::new(&self.cpu.scratch);
        let piece = self.going_back();
        for (at, dy) in elements.step_by(piece).zip(dy.chunks_mut(piece)) {
            if epilogue.has_slope() {
                let y = memory.of(dy.len());
                self.give(norm, at..at + dy.len(), y, statistics, first);
                epilogue.back_to_skip(at, dy, y);
            }
            epilogue.back_to_norm(at, dy);
        }
    }

    /// What the norm itself gives of some elements.
    fn give(&self, norm: &Forward<'_>, own: Range<usize>, y: &mut [f32], statistics: &[Statistics], first: usize) {
        let flow = Flow { x: Some(self.x.part(own.clone())), y: ValuesMut::new(y), per: 1, ..Flow::default() };
        let loads = flow.loads();
        let mut sink = Sink::new(flow, PIECE, loads, self.rules.level, None);
        let slab = own.start / self.layout.slab();
        norm.normalize(own, &mut sink, &statistics[(slab - first) * self.layout.k..]);
    }

    /// Elements that go back at a time: what is filled in for columns lasts for many rows.
    fn going_back(&self) -> usize {
        if self.layout.shape == Shape::Columns { BATCH.max(CHAIN * self.layout.width()) } else { BATCH }
    }

    /// A reader of what `pass_back` makes of `dy`, for all of these elements at once.
    fn holding(&self, dy: Values<'_>, elements: Range<usize>, statistics: &[Statistics]) -> Reader<'_> {
        let (own, first) = (elements.clone(), elements.start / self.layout.slab());
        Reader::holding(dy, elements, self.rules.level, &self.cpu.scratch, |dy| {
            self.pass_back(own, dy, statistics, first);
        })
    }

    /// A reader of elements that are counted from `start` on.
    fn reader<'b>(&'b self, of: Values<'b>, start: usize) -> Reader<'b> {
        Reader::new(Input::of(of), start, self.rules.level, &self.cpu.scratch)
    }

    /// Memory for `dx`, unless it is written where it goes.
    fn piece(&self, dx: &ValuesMut<'_>) -> Option<Piece<'_>> {
        Piece::new(dx, self.stream, &self.cpu.scratch)
    }

    fn sink<'b, 'p>(&self, dx: ValuesMut<'b>, window: usize, piece: Option<&'b mut Piece<'p>>) -> Sink<'b, 'p> {
        // What is there, if it is needed, where the result is made ready.
        let loads = dx.is_short() && (self.dy.is_none() || self.more_under);
        Sink::new(Flow { y: dx, ..Flow::default() }, window, loads, self.rules.level, piece)
    }

    fn gradient_of_columns(
        &self,
        elements: Range<usize>,
        readers: &mut Readers<'_>,
        sink: &mut Sink<'_, '_>,
        statistics: &[Statistics],
        slopes: &[Slope],
    ) {
        let layout = &self.layout;
        let (slab, wide) = (layout.slab(), wide(layout));
        let first = elements.start / slab;
        self.cpu.scratch.with(4 * wide, |memory| {
            let mut columns = Columns::<8>::new(bytemuck::cast_slice_mut(memory), wide, layout);
            let mut at = elements.start;
            while at < elements.end {
                let b = at / slab;
                let own = (b - first) * layout.k;
                self.fill(&mut columns, (b, 0), &statistics[own..], |k| slopes[own + k]);
                let end = elements.end.min((b + 1) * slab);
                self.gradient_of_slab(at..end, readers, sink, &columns);
                at = end;
            }
        });
    }

    /// The gradient of neighbours in a row that has this weight, the first of them `done` elements after the first of the columns, which is
    /// at `start`.
    fn gradient_of_row(
        &self,
        (start, done): (usize, usize),
        readers: &mut Readers<'_>,
        dx: &mut [f32],
        (centers, slopes): (Centers<'_>, Slopes<'_>),
        weight: f32,
    ) {
        let (x, dy, more) = readers.get(start + done..start + done + dx.len(), dx);
        let (centers, slopes) = (centers.from(done), slopes.from(done));
        gradient_columns_of_row(self.rules.level, x, dy, more, dx, centers, slopes, weight);
    }

    /// The gradient of elements of one slab, whose columns are filled.
    fn gradient_of_slab(
        &self,
        elements: Range<usize>,
        readers: &mut Readers<'_>,
        sink: &mut Sink<'_, '_>,
        columns: &Columns<'_, 8>,
    ) {
        let level = self.rules.level;
        let (centers, slopes) = columns.gradients();
        let (width, wide) = (self.layout.width(), slopes.rstd.len());
        if self.affine.weighs_long_rows(&self.layout) {
            for row in elements.clone().step_by(width) {
                let weight = self.weight[row / width % self.layout.r];
                sink.put(width, |done, _, dx| {
                    self.gradient_of_row((row, done), readers, dx, (centers, slopes), weight);
                });
            }
            return;
        }
        if self.affine.goes_down() {
            return self.cpu.scratch.with(wide.div_ceil(2), |memory| {
                let weights: &mut [f32] = &mut bytemuck::cast_slice_mut(memory)[..wide];
                for at in elements.clone().step_by(wide) {
                    let end = elements.end.min(at + wide);
                    let row = at / width % self.layout.r;
                    self.affine.fill_rows(&self.layout, row..row + (end - at) / width, self.weight, weights);
                    weights.iter_mut().zip(slopes.weight).for_each(|(of, root)| *of *= root);
                    sink.put(end - at, |done, _, dx| {
                        let (x, dy, more) = readers.get(at + done..at + done + dx.len(), dx);
                        let slopes = Slopes { weight: &weights[done..], ..slopes.from(done) };
                        gradient_columns(level, x, dy, more, dx, centers.from(done), slopes);
                    });
                }
            });
        }
        for at in elements.clone().step_by(wide) {
            sink.put(wide.min(elements.end - at), |done, _, dx| {
                let (x, dy, more) = readers.get(at + done..at + done + dx.len(), dx);
                if self.through {
                    gradient_columns(level, x, dy, more, dx, centers.from(done), slopes.from(done));
                } else {
                    scale_columns(level, dy, more, dx, &slopes.weight[done..]);
                }
            });
        }
    }
}
