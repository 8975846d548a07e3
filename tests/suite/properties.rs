//! Random norms, shapes, values, memory layouts and plans, each held to the oracle.
//!
//! The cases are the same on every run, the first third of them unless all are to run. `PROPTEST_CASES=5000` makes more,
//! `PROPTEST_RNG_SEED=7` others. One that fails is shrunk and printed, to be kept below as a test of its own, `regression_..`.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestError, TestRunner};
use wgpu_norm::ndarray::{ArrayD, ArrayViewD, Axis, Dimension, IxDyn, Slice};
use wgpu_norm::reference::{self, Forward};
use wgpu_norm::{
    Activation, BatchNorm, Gpu, Inputs, LpNorm, MeanVarianceNorm, Momentum, Norm, SpecError, VarianceEstimator,
};

use crate::buffers::{Arena, Call, Layout, Slot, UNWRITTEN, bits, run};
use crate::support::random::{Device, MOST_ELEMENTS, config, devices, kind, refused, shapes};
use crate::support::{Case, Data, Kind, close};

/// A third of them unless all are to run; or what `PROPTEST_CASES` says.
const CASES: u32 = 100;

/// One call, run twice: on arrays, and on buffers. All randomness but that of the numbers, which `seed` makes.
#[derive(Debug, Clone)]
struct Spec {
    shape: Vec<usize>,
    kind: Kind,
    tracking: Option<Tracking>,
    eps: f32,
    x: Values,
    weight: Option<Values>,
    bias: Option<Values>,
    /// Whether to ask for `mean` and `rstd`, where there are.
    statistics: [bool; 2],
    seed: u32,
    memory: Memory,
    arrays_on: Device,
    buffers: Buffers,
    buffers_on: Device,
}

/// Of a batch norm that trains and keeps running statistics.
#[derive(Debug, Clone, Copy)]
struct Tracking {
    momentum: Rule,
    unbiased: bool,
    /// Batches seen before, if that is given.
    batches: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    Take(f32),
    Keep(f32),
    Cumulative,
}

/// Numbers around a mean, each `run` times, then `odd` ones in random places.
#[derive(Debug, Clone)]
struct Values {
    mean: f32,
    std: f32,
    run: usize,
    odd: Vec<f32>,
}

/// How an array lies in memory; bit `a` of a mask is for axis `a`.
#[derive(Debug, Clone, Copy)]
struct Memory {
    /// Axes are stored in the order of these keys.
    order: [u8; 5],
    /// Every other element is skipped.
    strided: u8,
    backwards: u8,
    /// The array, of `x` only, repeats along these axes, with a stride of 0.
    repeated: u8,
}

/// How tensors lie in buffers; one entry for each [`Slot`].
#[derive(Debug, Clone, Copy)]
struct Buffers {
    in_place: bool,
    /// The tensor's buffer.
    buffer: [u8; SLOTS],
    /// Its turn in the buffer.
    order: [u8; SLOTS],
    /// Elements between it and the one before.
    gap: [u8; SLOTS],
    /// The bias is the weight: the same bytes.
    bias_is_weight: bool,
    /// The weight is these bytes of `x`: so many elements from its start, where there is room.
    weight_in_x: Option<u8>,
}

const SLOTS: usize = 9;

// What there is to choose from.

fn tracking() -> impl Strategy<Value = Tracking> {
    let momentum = prop_oneof![
        select(vec![0.1, 0.0, 1.0, 0.3]).prop_map(Rule::Take),
        select(vec![0.9, 0.99]).prop_map(Rule::Keep),
        Just(Rule::Cumulative),
    ];
    (momentum, any::<bool>(), prop::option::of(select(vec![0u32, 1, 9, 100_000]))).prop_map(
        |(momentum, unbiased, batches)| {
            // The cumulative average cannot do without.
            let batches = if matches!(momentum, Rule::Cumulative) { batches.or(Some(3)) } else { batches };
            Tracking { momentum, unbiased, batches }
        },
    )
}

fn epsilons() -> impl Strategy<Value = f32> {
    prop_oneof![4 => Just(1e-5f32), 6 => select(vec![0.0, 1e-30, 1e-12, 1e-9, 1e-3, 1.0])]
}

/// Nothing odd, outliers, or, rarely, what is not finite.
fn odd(outliers: &[f32], not_finite: &[f32]) -> impl Strategy<Value = Vec<f32>> + use<> {
    prop_oneof![
        7 => Just(Vec::new()),
        2 => vec(select(outliers.to_vec()), 1..=3),
        1 => vec(select(not_finite.to_vec()), 1..=2),
    ]
}

fn runs() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(1usize), 2 => 2..40usize, 1 => Just(MOST_ELEMENTS)]
}

fn xs() -> impl Strategy<Value = Values> {
    // A mean is 0 where the standard deviation is of another order of magnitude altogether.
    let place = prop_oneof![
        4 => (select(vec![0.0f32, 3.0, -70.0, 1e3, 1e6, -1e6]), -3..=3i32),
        2 => (-1e6..1e6f32, -3..=3i32),
        1 => (Just(0.0f32), -15..=15i32),
    ];
    // 60,000 squares of the largest outlier, which may repeat, are finite in f32, and the smallest squares are normal.
    let odd = odd(&[1e6, -1e6, 0.0, 1e12, -1e16], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    (place, runs(), odd).prop_map(|((mean, power), run, odd)| Values { mean, std: 10f32.powi(power), run, odd })
}

fn parameters() -> impl Strategy<Value = Values> {
    // No infinite weight: it makes what rounds to 0, or does not, the difference between NaN and infinity.
    let odd = odd(&[0.0, 1e3, -1e-3], &[f32::NAN]);
    let around = select(vec![(1.0f32, 0.3f32), (0.0, 1.0), (-200.0, 30.0), (0.0, 1e-4)]);
    (around, runs(), odd).prop_map(|((mean, std), run, odd)| Values { mean, std, run, odd })
}

fn memories() -> impl Strategy<Value = Memory> {
    let rarely = |weight: u32| prop_oneof![weight => Just(0u8), 1 => 0..32u8];
    let order = prop_oneof![Just([0, 1, 2, 3, 4]), any::<[u8; 5]>()];
    (order, rarely(2), rarely(2), rarely(6)).prop_map(|(order, strided, backwards, repeated)| Memory {
        order,
        strided,
        backwards,
        repeated,
    })
}

fn buffers() -> impl Strategy<Value = Buffers> {
    let apart = || Just([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let buffer = prop_oneof![apart(), Just([0; SLOTS]), any::<[u8; SLOTS]>().prop_map(|of| of.map(|b| b % 3))];
    let gap = prop_oneof![
        Just([0; SLOTS]),
        any::<[u8; SLOTS]>().prop_map(|gaps| gaps.map(|gap| gap % 8)),
        any::<[u8; SLOTS]>(),
    ];
    let order = prop_oneof![apart(), any::<[u8; SLOTS]>()];
    let weight_in_x = prop_oneof![6 => Just(None), 1 => any::<u8>().prop_map(Some)];
    (any::<bool>(), buffer, order, gap, prop::bool::weighted(0.1), weight_in_x).prop_map(
        |(in_place, buffer, order, gap, bias_is_weight, weight_in_x)| Buffers {
            in_place,
            buffer,
            order,
            gap,
            bias_is_weight,
            weight_in_x,
        },
    )
}

fn specs() -> impl Strategy<Value = Spec> {
    let which = (shapes(), [0..9u8, 0..5u8, 0..255u8], select(vec![0.0f32, 1.0, -0.5]), prop::option::of(tracking()));
    let numbers = (epsilons(), xs(), prop::option::of(parameters()), prop::option::of(parameters()), any::<u32>());
    let how = (any::<[bool; 2]>(), memories(), devices(), buffers(), devices());
    (which, numbers, how).prop_map(|((shape, choice, offset, tracking), (eps, x, weight, bias, seed), how)| {
        let (statistics, memory, arrays_on, buffers, buffers_on) = how;
        let kind = kind(&shape, choice, offset);
        let affine = kind.is_affine();
        let tracking = tracking.filter(|_| matches!(kind, Kind::BatchTrain { .. }));
        let (weight, bias) = (weight.filter(|_| affine), bias.filter(|_| affine));
        Spec { shape, kind, tracking, eps, x, weight, bias, statistics, seed, memory, arrays_on, buffers, buffers_on }
    })
}

// What is made of it.

impl Values {
    fn array(&self, shape: &[usize], data: &mut Data) -> ArrayD<f32> {
        let elements: usize = shape.iter().product();
        let drawn = data.normal(&[elements.div_ceil(self.run)], self.mean, self.std);
        let mut values: Vec<f32> =
            drawn.iter().flat_map(|&v| std::iter::repeat_n(v, self.run.min(elements))).take(elements).collect();
        for &odd in self.odd.iter().filter(|_| elements > 0) {
            values[data.below(elements)] = odd;
        }
        ArrayD::from_shape_vec(shape, values).unwrap()
    }
}

impl Memory {
    fn has(mask: u8, axis: usize) -> bool {
        mask >> axis & 1 == 1
    }

    /// The same array, lying elsewise.
    fn hold(&self, array: &ArrayD<f32>) -> ArrayD<f32> {
        let rank = array.ndim();
        let mut stored: Vec<usize> = (0..rank).collect();
        stored.sort_by_key(|&axis| (self.order[axis], axis));
        let step = |axis: usize| if Self::has(self.strided, axis) { 2 } else { 1 };
        let lengths: Vec<usize> = stored.iter().map(|&axis| array.shape()[axis] * step(axis)).collect();
        let mut held = ArrayD::from_elem(lengths, f32::NAN);
        held.slice_each_axis_inplace(|axis| Slice::new(0, None, step(stored[axis.axis.index()]) as isize));
        let back: Vec<usize> = (0..rank).map(|axis| stored.iter().position(|&from| from == axis).unwrap()).collect();
        let mut held = held.permuted_axes(back);
        for axis in (0..rank).filter(|&axis| Self::has(self.backwards, axis)) {
            held.invert_axis(Axis(axis));
        }
        held.assign(array);
        held
    }
}

/// A spec with its numbers.
struct Trial<'a> {
    spec: &'a Spec,
    case: Case,
    /// x before it is repeated.
    x_once: ArrayD<f32>,
    norm: Box<dyn Norm>,
    want: Forward,
}

/// Whether the reduced axes are runs that a block `[kept, reduced, kept, reduced]` has room for.
fn fits_a_block(shape: &[usize], reduced: &[isize]) -> bool {
    let mut runs: Vec<bool> =
        (0..shape.len()).filter(|&a| shape[a] != 1).map(|a| reduced.contains(&(a as isize))).collect();
    runs.dedup();
    runs.len() <= if runs.first() == Some(&true) { 3 } else { 4 }
}

impl<'a> Trial<'a> {
    /// None where the norm itself is to be refused, and is.
    fn new(spec: &'a Spec) -> Option<Self> {
        let Spec { shape, kind, eps, buffers, .. } = spec;
        if let Kind::Mvn { axes } | Kind::Lp { axes, .. } = *kind {
            let signed: Vec<isize> = axes.iter().map(|&axis| axis - shape.len() as isize).collect();
            let refused = [MeanVarianceNorm::new(shape, &signed).err(), LpNorm::l1(shape, &signed).err()];
            if !fits_a_block(shape, axes) {
                assert!(refused.iter().all(|e| matches!(e, Some(SpecError::AlternatingAxes { .. }))), "{refused:?}");
                return None;
            }
            assert_eq!(refused, [None, None]);
        }
        let mut data = Data::new(u64::from(spec.seed));
        let once: Vec<usize> = shape
            .iter()
            .enumerate()
            .map(|(axis, &n)| if Memory::has(spec.memory.repeated, axis) { n.min(1) } else { n })
            .collect();
        let x_once = spec.x.array(&once, &mut data);
        let x = x_once.broadcast(IxDyn(shape)).unwrap().to_owned();
        let parameter_shape = kind.norm(shape, *eps, None).unwrap().parameter_shape();
        let mut weight = spec.weight.as_ref().map(|values| values.array(&parameter_shape, &mut data));
        let mut bias = spec.bias.as_ref().map(|values| values.array(&parameter_shape, &mut data));
        if let (Some(weight), Some(from)) = (&mut weight, spec.weight_in_x()) {
            weight.iter_mut().zip(x.iter().skip(from)).for_each(|(weight, &x)| *weight = x);
        }
        if buffers.bias_is_weight && bias.is_some() && weight.is_some() {
            bias.clone_from(&weight);
        }
        let runs = spec.tracking.is_some() || matches!(kind, Kind::BatchEval { .. });
        let running_mean = runs.then(|| data.normal(&parameter_shape, spec.x.mean, spec.x.std));
        let running_var = runs.then(|| {
            // Rarely 0: a channel that was constant so far.
            let std = data.normal(&parameter_shape, 0.0, spec.x.std);
            std.mapv(|v| if v.abs() < 0.02 * spec.x.std { 0.0 } else { v * v })
        });
        let case = Case {
            kind: *kind,
            eps: *eps,
            x,
            weight,
            bias,
            running_mean,
            running_var,
            activation: spec.activation(),
            ..Case::new(*kind, &spec.shape, 0.0)
        };
        let want = case.oracle();
        Some(Self { spec, norm: spec.norm(), case, x_once, want })
    }

    fn outputs(&self) -> [bool; 2] {
        let [mean, rstd] = self.spec.statistics;
        [mean && self.want.mean.is_some(), rstd && !matches!(self.spec.kind, Kind::BatchEval { .. })]
    }

    /// The largest finite magnitude of each group.
    fn largest_of_groups(&self, statistics_shape: &[usize]) -> ArrayD<f64> {
        let mut most = ArrayD::zeros(statistics_shape);
        for (index, v) in self.case.x.indexed_iter().filter(|(_, v)| v.is_finite()) {
            let group = &mut most[&self.spec.kind.entry().groups.of(&self.spec.shape, index.slice())[..]];
            *group = f64::from(v.abs()).max(*group);
        }
        most
    }

    fn check(&self, what: &str, mut results: BTreeMap<Slot, Vec<u32>>) {
        let (spec, case, want) = (self.spec, &self.case, &self.want);
        let empty = case.x.is_empty();
        let mut take = |slot: Slot, shape: &[usize]| {
            let floats = results.remove(&slot)?.into_iter().map(f32::from_bits).collect();
            Some(ArrayD::from_shape_vec(shape, floats).unwrap())
        };
        let y = take(Slot::Y, &spec.shape).unwrap();
        close(&format!("y {what}"), &y, &want.y, &want.scale);
        let statistics_shape = self.norm.statistics_shape();
        // Of nothing, whatever the norm.
        let undefined = ArrayD::from_elem(&statistics_shape[..], f64::NAN);
        if let Some(mean) = take(Slot::Mean, &statistics_shape) {
            let want = if empty { &undefined } else { want.mean.as_ref().unwrap() };
            close(&format!("mean {what}"), &mean, want, &self.largest_of_groups(&statistics_shape));
        }
        if let Some(rstd) = take(Slot::Rstd, &statistics_shape) {
            let want = if empty { &undefined } else { &want.rstd };
            close(&format!("rstd {what}"), &rstd, want, &want.mapv(f64::abs));
        }
        if let Some(tracking) = spec.tracking {
            let before = |array: &Option<ArrayD<f32>>| array.as_ref().unwrap().mapv(f64::from);
            let (keep, take_part) = tracking.parts();
            let channels = case.running_mean.as_ref().map_or(0, |mean| mean.len());
            let variance = want.variance.as_ref().unwrap();
            let estimate = if tracking.unbiased {
                reference::unbiased(variance.view(), case.x.len().checked_div(channels).unwrap_or(0))
            } else {
                variance.clone()
            };
            for (slot, before, batch) in [
                (Slot::RunningMean, before(&case.running_mean), want.mean.as_ref().unwrap()),
                (Slot::RunningVar, before(&case.running_var), &estimate),
            ] {
                let got = take(slot, &[channels]).unwrap();
                let after = reference::update_running(before.view(), batch.view(), keep, take_part);
                let after = if empty { before.clone() } else { after };
                let scale = ArrayD::from_shape_fn(after.raw_dim(), |c| before[&c].abs().max(batch[&c].abs()));
                close(&format!("{slot:?} {what}"), &got, &after, &scale);
            }
            let counted = results.remove(&Slot::Batches).map(|count| count[0]);
            assert_eq!(counted, tracking.batches.map(|n| n + u32::from(!empty)), "batches {what}");
        }
        assert!(results.is_empty(), "{results:?} {what}");
    }

    /// False where the plan was refused, as it may be.
    fn on_arrays(&self, label: &str, gpu: &Gpu) -> bool {
        let plan = match gpu.context().plan(self.norm.as_ref()) {
            Ok(plan) => plan,
            Err(error) => return refused(error.into(), self.spec.arrays_on, label),
        };
        let memory = &self.spec.memory;
        let x = memory.hold(&self.x_once);
        let held = |array: &Option<ArrayD<f32>>| array.as_ref().map(|array| memory.hold(array));
        let (weight, bias) = (held(&self.case.weight), held(&self.case.bias));
        let (running_mean, running_var) = (held(&self.case.running_mean), held(&self.case.running_var));
        let mut inputs: Inputs<ArrayViewD<'_, f32>> = Inputs::new(x.broadcast(IxDyn(&self.spec.shape)).unwrap());
        if let Some(weight) = &weight {
            inputs = inputs.weight(weight.view());
        }
        if let Some(bias) = &bias {
            inputs = inputs.bias(bias.view());
        }
        if let (Some(mean), Some(var)) = (&running_mean, &running_var) {
            inputs = inputs.running_mean(mean.view()).running_var(var.view());
        }
        if let Some(batches) = self.spec.tracking.and_then(|tracking| tracking.batches) {
            inputs = inputs.num_batches_tracked(batches);
        }
        let [mean, rstd] = self.outputs();
        inputs = if mean { inputs.with_mean() } else { inputs };
        inputs = if rstd { inputs.with_rstd() } else { inputs };
        let out = match gpu.run_array_blocking(self.norm.as_ref(), inputs) {
            Ok(out) => out,
            Err(error) => return refused(error, self.spec.arrays_on, &format!("{label}\n{plan}")),
        };
        let what = format!("of arrays {label}\n{plan}");
        for (array, shape) in
            [(Some(&out.y), self.spec.shape.clone()), (out.mean.as_ref(), self.norm.statistics_shape())]
        {
            assert!(array.is_none_or(|array| array.shape() == shape), "{what}");
        }
        let floats = [
            (Slot::Y, Some(out.y)),
            (Slot::Mean, out.mean),
            (Slot::Rstd, out.rstd),
            (Slot::RunningMean, out.running_mean),
            (Slot::RunningVar, out.running_var),
        ];
        let mut results: BTreeMap<Slot, Vec<u32>> =
            floats.into_iter().filter_map(|(slot, array)| Some((slot, bits(array?)))).collect();
        results.extend(out.num_batches_tracked.map(|batches| (Slot::Batches, vec![batches])));
        self.check(&what, results);
        true
    }

    /// False where the plan or its buffers were refused, as they may be.
    fn on_buffers(&self, label: &str, gpu: &Gpu) -> bool {
        let (spec, case) = (self.spec, &self.case);
        let plan = match gpu.context().plan(self.norm.as_ref()) {
            Ok(plan) => plan,
            Err(error) => return refused(error.into(), spec.buffers_on, label),
        };
        let given = |array: &Option<ArrayD<f32>>| array.as_ref().map(|array| bits(array.iter().copied()));
        let written = |elements: usize, there: bool| there.then(|| vec![UNWRITTEN; elements]);
        let statistics = self.norm.statistics_shape().iter().product();
        let [mean, rstd] = self.outputs();
        let tensors = [
            (Slot::X, Some(bits(case.x.iter().copied()))),
            (Slot::Y, written(case.x.len(), true)),
            (Slot::Weight, given(&case.weight)),
            (Slot::Bias, given(&case.bias)),
            (Slot::Mean, written(statistics, mean)),
            (Slot::Rstd, written(statistics, rstd)),
            (Slot::RunningMean, given(&case.running_mean)),
            (Slot::RunningVar, given(&case.running_var)),
            (Slot::Batches, spec.tracking.and_then(|tracking| tracking.batches).map(|batches| vec![batches])),
        ];
        let tensors = tensors.into_iter().filter_map(|(slot, bits)| Some((slot, bits?))).collect();
        let call = Call {
            name: format!("{:?} {:?} {label}", spec.kind, spec.shape),
            norm: spec.norm(),
            tensors,
            groups: Vec::new(),
            tracks: spec.tracking.is_some(),
        };
        let layout = spec.layout(&call);
        if let Err(error) = gpu.context().bind(&plan, &Arena::new(gpu, &call, &layout).operands()) {
            return refused(error.into(), spec.buffers_on, &format!("{layout:?} {label}\n{plan}"));
        }
        // There is nothing to dispatch for an empty tensor, and so nothing is written.
        if !case.x.is_empty() {
            self.check(&format!("of buffers {layout:?} {label}\n{plan}"), run(gpu, &call, &layout));
        }
        true
    }
}

impl Tracking {
    /// How much is kept of what was, and taken of the batch.
    fn parts(self) -> (f64, f64) {
        match self.momentum {
            Rule::Take(take) => (1.0 - f64::from(take), f64::from(take)),
            Rule::Keep(keep) => (f64::from(keep), 1.0 - f64::from(keep)),
            Rule::Cumulative => {
                let take = 1.0 / (f64::from(self.batches.unwrap()) + 1.0);
                (1.0 - take, take)
            }
        }
    }
}

impl Spec {
    /// What follows a third of the norms.
    fn activation(&self) -> Option<Activation> {
        Activation::ALL.get(self.seed as usize % 12).copied()
    }

    fn norm(&self) -> Box<dyn Norm> {
        match self.activation() {
            Some(activation) => Box::new(self.bare().then(activation)),
            None => self.bare(),
        }
    }

    fn bare(&self) -> Box<dyn Norm> {
        let (Kind::BatchTrain { axis }, Some(tracking)) = (self.kind, self.tracking) else {
            return self.kind.norm(&self.shape, self.eps, None).unwrap();
        };
        let norm = BatchNorm::new(&self.shape, axis).unwrap().eps(self.eps);
        let norm = match tracking.momentum {
            Rule::Take(take) => norm.momentum(take),
            Rule::Keep(keep) => norm.momentum(Momentum::onnx(keep)),
            Rule::Cumulative => norm.momentum(Momentum::cumulative()),
        };
        let estimator = if tracking.unbiased { VarianceEstimator::Unbiased } else { VarianceEstimator::Biased };
        Box::new(norm.running_variance(estimator))
    }

    /// Where in x the weight begins, if it lies there.
    fn weight_in_x(&self) -> Option<usize> {
        let elements: usize = self.shape.iter().product();
        let parameters: usize = self.kind.norm(&self.shape, self.eps, None).unwrap().parameter_shape().iter().product();
        let infinite = self.x.odd.iter().any(|v| v.is_infinite());
        let may = !self.buffers.in_place && self.weight.is_some() && !infinite;
        let from = usize::from(self.buffers.weight_in_x.filter(|_| may)?);
        (from + parameters <= elements).then_some(from)
    }

    fn layout(&self, call: &Call) -> Layout {
        let Buffers { in_place, buffer, order, gap, bias_is_weight, .. } = self.buffers;
        let inside = self.weight_in_x();
        let shared = bias_is_weight && [Slot::Weight, Slot::Bias].iter().all(|slot| call.tensors.contains_key(slot));
        let mut placed: Vec<Slot> = call.tensors.keys().copied().collect();
        placed.retain(|&slot| !(in_place && slot == Slot::Y || shared && slot == Slot::Bias));
        placed.retain(|&slot| !(inside.is_some() && slot == Slot::Weight));
        placed.sort_by_key(|&slot| order[slot as usize]);
        let mut numbers: Vec<u8> = placed.iter().map(|&slot| buffer[slot as usize]).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut ends = vec![0; numbers.len()];
        let mut layout = Layout::new();
        for slot in placed {
            let number = numbers.binary_search(&buffer[slot as usize]).unwrap();
            let start = ends[number] + 4 * u64::from(gap[slot as usize]);
            ends[number] = start + 4 * call.tensors[&slot].len() as u64;
            layout.insert(slot, (number, start));
        }
        if let Some(from) = inside {
            let (number, start) = layout[&Slot::X];
            layout.insert(Slot::Weight, (number, start + 4 * from as u64));
        }
        if shared {
            layout.insert(Slot::Bias, layout[&Slot::Weight]);
        }
        layout
    }

    /// How many of the two runs were not refused.
    fn hold(&self) -> u32 {
        let Some(trial) = Trial::new(self) else { return 0 };
        let on_arrays = self.arrays_on.with_gpu(|label, gpu| trial.on_arrays(label, gpu));
        let on_buffers = self.buffers_on.with_gpu(|label, gpu| trial.on_buffers(label, gpu));
        u32::from(on_arrays) + u32::from(on_buffers)
    }
}

#[test]
fn random_calls_are_as_promised() {
    let config = config(CASES);
    let cases = config.cases;
    let runs = Cell::new(0);
    let result = TestRunner::new(config).run(&specs(), |spec| {
        runs.set(runs.get() + spec.hold());
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, spec)) => panic!("{reason}\n{spec:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    assert!(runs.get() > cases, "of {cases} cases only {} runs were not refused", runs.get());
}

/// A tile that fits a binding, but not from the aligned offset before it, is refused with what it needs.
#[test]
fn regression_a_tile_of_a_whole_binding() {
    let as_a_gpu = Device::Changed {
        software: false,
        subgroups: false,
        max_invocations: None,
        max_workgroups: None,
        max_binding: Some(24_576),
    };
    let norm = MeanVarianceNorm::new(&[2048, 9], &[0, 1]).unwrap();
    as_a_gpu.with_gpu(|_, gpu| match gpu.context().plan(&norm) {
        Ok(_) => {}
        Err(SpecError::Limit { needs, has, .. }) => assert!(needs > has, "{needs} of {has}"),
        Err(error) => panic!("{error}"),
    });
}
