//! Plans bound to the caller's own buffers: anywhere in them, any number of times, by any number of threads.

use std::collections::BTreeMap;

use wgpu_norm::{
    Backward, BatchNorm, Bound, Capabilities, Context, Gpu, GroupNorm, Inputs, InstanceNorm, LayerNorm, Momentum, Norm,
    Operands, Plan, RmsNorm, View, wgpu,
};

use crate::support::{Data, gpu, gpus, part};

/// What lies around tensors: a NaN, so that one that is read spoils the result, and one that is lost is seen.
const GUARD: u32 = 0x7fc0_dead;

/// What lies in outputs before: whatever is left of it was not written.
pub(crate) const UNWRITTEN: u32 = 0x7fc0_0bad;

/// Bytes of guard behind each buffer's last tensor.
const BEHIND: u64 = 64;

/// Offsets that are multiples of 4: of a quad or not, of no device's alignment, around the alignment of most.
const OFFSETS: [u64; 7] = [4, 8, 12, 16, 20, 252, 260];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    X,
    Y,
    Weight,
    Bias,
    Mean,
    Rstd,
    RunningMean,
    RunningVar,
    Batches,
}

/// A norm and the bits of all of its tensors, with every optional one there is.
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) norm: Box<dyn Norm>,
    pub(crate) tensors: BTreeMap<Slot, Vec<u32>>,
    /// Elements of one number are normalized together.
    pub(crate) groups: Vec<usize>,
    pub(crate) tracks: bool,
}

/// Which elements share statistics.
enum Groups {
    Rows,
    /// That many groups of neighbouring channels in each sample.
    Channels {
        axis: usize,
        groups: usize,
    },
    Batch {
        axis: usize,
    },
    /// None do: the statistics are given.
    Each,
}

impl Groups {
    fn of(&self, shape: &[usize], parameters: usize, element: usize) -> usize {
        let along = |axis: usize| element / shape[axis + 1..].iter().product::<usize>() % shape[axis];
        match *self {
            Self::Rows => element / parameters,
            Self::Channels { axis, groups } => along(0) * groups + along(axis) / (shape[axis] / groups),
            Self::Batch { axis } => along(axis),
            Self::Each => element,
        }
    }
}

pub(crate) fn bits(values: impl IntoIterator<Item = f32>) -> Vec<u32> {
    values.into_iter().map(f32::to_bits).collect()
}

impl Call {
    fn new(norm: impl Norm + 'static, groups: Groups) -> Self {
        let shape = norm.shape().to_vec();
        let (parameters, statistics) = (norm.parameter_shape(), norm.statistics_shape());
        let mut data = Data::new(shape.iter().fold(7, |seed, &n| seed * 31 + n as u64));
        let mut normal = |shape: &[usize], mean, std| bits(data.normal(shape, mean, std));
        let mut tensors = BTreeMap::from([
            (Slot::X, normal(&shape, 3.0, 1.0)),
            (Slot::Weight, normal(&parameters, 1.0, 0.3)),
            (Slot::Bias, normal(&parameters, 0.0, 0.5)),
        ]);
        let elements = shape.iter().product();
        tensors.insert(Slot::Y, vec![UNWRITTEN; elements]);
        let results = statistics.iter().product();
        let eval = matches!(groups, Groups::Each);
        if norm.name() != "RmsNorm" && !eval {
            tensors.insert(Slot::Mean, vec![UNWRITTEN; results]);
        }
        if !eval {
            tensors.insert(Slot::Rstd, vec![UNWRITTEN; results]);
        }
        if eval {
            tensors.insert(Slot::RunningMean, normal(&parameters, 3.0, 0.2));
            tensors.insert(Slot::RunningVar, vec![1.25f32.to_bits(); parameters[0]]);
        }
        let width = parameters.iter().product();
        Self {
            name: format!("{} {shape:?}, parameters {parameters:?}", norm.name()),
            groups: (0..elements).map(|element| groups.of(&shape, width, element)).collect(),
            norm: Box::new(norm),
            tensors,
            tracks: false,
        }
    }

    /// A batch norm that trains.
    fn tracked(norm: BatchNorm, axis: usize) -> Self {
        let channels = norm.parameter_shape()[0];
        let mut call = Self::new(norm, Groups::Batch { axis });
        call.tensors.insert(Slot::RunningMean, bits((0..channels).map(|c| c as f32 * 0.5)));
        call.tensors.insert(Slot::RunningVar, bits((0..channels).map(|c| 1.0 + c as f32 * 0.25)));
        call.tensors.insert(Slot::Batches, vec![5]);
        call.name += " tracked";
        call.tracks = true;
        call
    }

    fn writes(&self, slot: Slot) -> bool {
        match slot {
            Slot::Y | Slot::Mean | Slot::Rstd => true,
            Slot::RunningMean | Slot::RunningVar | Slot::Batches => self.tracks,
            Slot::X | Slot::Weight | Slot::Bias => false,
        }
    }

    fn plan(&self, context: &Context) -> Plan {
        context.plan(self.norm.as_ref()).unwrap()
    }
}

/// Every norm, by every kernel, four elements at a time and one, with groups that fit a workgroup and that do not.
fn calls() -> Vec<Call> {
    let layer = |shape: &[usize], ndim: usize| {
        Call::new(LayerNorm::new(shape, &shape[shape.len() - ndim..]).unwrap(), Groups::Rows)
    };
    let rms = |shape: &[usize]| {
        Call::new(RmsNorm::new(shape, &shape[1..]).unwrap().weight_offset(1.0).eps(1e-3), Groups::Rows)
    };
    let group = |shape: &[usize], groups: usize, axis: usize| {
        let norm = GroupNorm::new(shape, groups, axis.try_into().unwrap()).unwrap();
        Call::new(norm, Groups::Channels { axis, groups })
    };
    let instance = |shape: &[usize], axis: usize| {
        let norm = InstanceNorm::new(shape, axis.try_into().unwrap()).unwrap();
        Call::new(norm, Groups::Channels { axis, groups: shape[axis] })
    };
    let batch = |shape: &[usize], axis: usize| BatchNorm::new(shape, axis.try_into().unwrap()).unwrap();
    vec![
        layer(&[5, 64], 1),
        layer(&[5, 33], 1),
        layer(&[3, 700], 1),
        layer(&[2, 7, 5], 2),
        layer(&[1, 40_004], 1),
        layer(&[2, 40_001], 1),
        rms(&[5, 64]),
        rms(&[5, 3, 11]),
        rms(&[1, 40_001]),
        group(&[2, 6, 3, 3], 2, 1),
        group(&[2, 8, 2, 4], 2, 1),
        group(&[2, 21, 8], 2, 2),
        group(&[2, 21, 6], 2, 2),
        group(&[2, 5, 32], 2, 2),
        group(&[2, 3, 4, 10], 2, 2),
        instance(&[2, 3, 16], 1),
        instance(&[2, 19, 5], 2),
        instance(&[2, 19, 8], 2),
        Call::new(batch(&[19, 8], 1).without_tracking(), Groups::Batch { axis: 1 }),
        Call::new(batch(&[4, 3, 9], 1).without_tracking(), Groups::Batch { axis: 1 }),
        Call::tracked(batch(&[4, 3, 36], 1), 1),
        Call::tracked(BatchNorm::pytorch(&[19, 5]).unwrap(), 1),
        Call::tracked(batch(&[7, 3, 8], 2).momentum(Momentum::cumulative()), 2),
        Call::new(batch(&[4, 3, 36], 1).eval(), Groups::Each),
        Call::new(batch(&[4, 3, 8], 2).eval(), Groups::Each),
        Call::new(batch(&[19, 5], 1).eval(), Groups::Each),
    ]
}

/// Which buffer each tensor is in and where. In place, there is no y.
pub(crate) type Layout = BTreeMap<Slot, (usize, u64)>;

/// Each tensor in a buffer of its own.
fn apart(call: &Call, offset: impl Fn(Slot) -> u64) -> Layout {
    call.tensors.keys().enumerate().map(|(buffer, &slot)| (slot, (buffer, offset(slot)))).collect()
}

/// All in one buffer, in that order, that many bytes apart.
fn together(call: &Call, start: u64, gap: u64, order: impl Iterator<Item = Slot>) -> Layout {
    let mut end = start;
    let place = |slot: Slot| {
        let offset = end;
        end += 4 * call.tensors[&slot].len() as u64 + gap;
        (slot, (0, offset))
    };
    order.map(place).collect()
}

fn in_place(mut layout: Layout) -> Layout {
    layout.remove(&Slot::Y);
    layout
}

/// A call's tensors on the device.
pub(crate) struct Arena<'a> {
    gpu: &'a Gpu,
    call: &'a Call,
    layout: &'a Layout,
    buffers: Vec<wgpu::Buffer>,
    before: Vec<Vec<u32>>,
}

impl<'a> Arena<'a> {
    pub(crate) fn new(gpu: &'a Gpu, call: &'a Call, layout: &'a Layout) -> Self {
        let count = layout.values().map(|&(buffer, _)| buffer + 1).max().unwrap();
        let mut before: Vec<Vec<u32>> = vec![vec![GUARD]; count];
        for (slot, &(buffer, offset)) in layout {
            let (image, start) = (&mut before[buffer], offset as usize / 4);
            let values = &call.tensors[slot];
            let length = image.len().max(start + values.len() + BEHIND as usize / 4);
            image.resize(length, GUARD);
            image[start..start + values.len()].copy_from_slice(values);
        }
        let buffers = before.iter().map(|image| buffer_of(gpu, image)).collect();
        Self { gpu, call, layout, buffers, before }
    }

    pub(crate) fn operands(&self) -> Operands<'_> {
        let view =
            |slot: Slot| self.layout.get(&slot).map(|&(buffer, offset)| View::new(&self.buffers[buffer], offset));
        let x = view(Slot::X).unwrap();
        let mut operands = Operands::new(x, view(Slot::Y).unwrap_or(x));
        for &slot in self.layout.keys() {
            let view = view(slot).unwrap();
            operands = match slot {
                Slot::X | Slot::Y => operands,
                Slot::Weight => operands.weight(view),
                Slot::Bias => operands.bias(view),
                Slot::Mean => operands.mean(view),
                Slot::Rstd => operands.rstd(view),
                Slot::RunningMean => operands.running_mean(view),
                Slot::RunningVar => operands.running_var(view),
                Slot::Batches => operands.num_batches_tracked(view),
            };
        }
        operands
    }

    fn bind(&self) -> Bound {
        let plan = self.call.plan(self.gpu.context());
        self.gpu.context().bind(&plan, &self.operands()).unwrap_or_else(|error| panic!("{}: {error}", self.what()))
    }

    fn submit(&self, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) {
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        record(&mut encoder.begin_compute_pass(&Default::default()));
        self.gpu.queue().submit([encoder.finish()]);
    }

    /// What was written; all else must be as it was.
    fn results(&self) -> BTreeMap<Slot, Vec<u32>> {
        let written = |slot: Slot| self.call.writes(slot) || (slot == Slot::X && !self.layout.contains_key(&Slot::Y));
        let mut results = BTreeMap::new();
        let mut after: Vec<Vec<u32>> = self.buffers.iter().map(|buffer| read(self.gpu, buffer)).collect();
        for (&slot, &(buffer, offset)) in self.layout.iter().filter(|&(&slot, _)| written(slot)) {
            let start = offset as usize / 4;
            let here = start..start + self.call.tensors[&slot].len();
            let values = after[buffer][here.clone()].to_vec();
            assert!(!values.contains(&UNWRITTEN), "{slot:?} has gaps: {}", self.what());
            after[buffer][here.clone()].copy_from_slice(&self.before[buffer][here]);
            results.insert(if slot == Slot::X { Slot::Y } else { slot }, values);
        }
        for (after, before) in after.iter().zip(&self.before) {
            let at = after.iter().zip(before).position(|(after, before)| after != before);
            assert_eq!(at, None, "byte {} is no output's: {}", 4 * at.unwrap_or(0), self.what());
        }
        results
    }

    fn what(&self) -> String {
        format!("{} {:?}\n{}", self.call.name, self.layout, self.call.plan(self.gpu.context()))
    }
}

fn buffer_of(gpu: &Gpu, words: &[u32]) -> wgpu::Buffer {
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * words.len() as u64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    });
    buffer.get_mapped_range_mut(..).unwrap().copy_from_slice(bytemuck::cast_slice(words));
    buffer.unmap();
    buffer
}

fn read(gpu: &Gpu, buffer: &wgpu::Buffer) -> Vec<u32> {
    let staging = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    gpu.queue().submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let words = bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap());
    staging.unmap();
    words
}

/// Uploads, runs once, reads back.
pub(crate) fn run(gpu: &Gpu, call: &Call, layout: &Layout) -> BTreeMap<Slot, Vec<u32>> {
    let arena = Arena::new(gpu, call, layout);
    let bound = arena.bind();
    arena.submit(|pass| bound.record(pass));
    arena.results()
}

fn aligned(gpu: &Gpu, call: &Call) -> BTreeMap<Slot, Vec<u32>> {
    run(gpu, call, &apart(call, |_| 0))
}

/// As near as two plans of one norm are.
fn assert_near(what: &str, got: &BTreeMap<Slot, Vec<u32>>, want: &BTreeMap<Slot, Vec<u32>>) {
    assert!(got.keys().eq(want.keys()), "{what}");
    for (slot, values) in got {
        for (at, (&got, &want)) in values.iter().zip(&want[slot]).enumerate() {
            let (got, want) = (f32::from_bits(got), f32::from_bits(want));
            assert!((got - want).abs() <= 2e-5 * (1.0 + want.abs()), "{slot:?}[{at}] is {got}, not {want}: {what}");
        }
    }
}

fn with(change: impl FnOnce(&mut Capabilities)) -> Gpu {
    let gpu = gpu();
    let mut capabilities = gpu.context().capabilities().clone();
    change(&mut capabilities);
    gpu.clone().with_capabilities(capabilities)
}

#[test]
fn in_place_is_out_of_place_bit_for_bit() {
    for call in &calls() {
        for (label, gpu) in gpus() {
            let out_of_place = aligned(gpu, call);
            assert_eq!(run(gpu, call, &in_place(apart(call, |_| 0))), out_of_place, "{} {label}", call.name);
            // Nothing here depends on chance.
            assert_eq!(aligned(gpu, call), out_of_place, "{} {label}", call.name);
        }
    }
}

/// All from one offset on, and in place too.
#[test]
fn tensors_start_at_any_multiple_of_four() {
    for call in &calls() {
        for (label, gpu) in [&gpus()[0], &gpus()[3]] {
            let at_zero = aligned(gpu, call);
            let by_one = run(gpu, call, &apart(call, |_| 4));
            let what = format!("{} {label}", call.name);
            assert_near(&what, &by_one, &at_zero);
            for offset in OFFSETS {
                let want = if offset % 16 == 0 { &at_zero } else { &by_one };
                let layout = apart(call, |_| offset);
                assert_eq!(&run(gpu, call, &layout), want, "{what} from {offset}");
                assert_eq!(&run(gpu, call, &in_place(layout)), want, "{what} in place from {offset}");
            }
        }
    }
}

/// One of them alone, so that a start that is mistaken for another's is seen.
#[test]
fn each_tensor_starts_at_any_multiple_of_four() {
    let gpu = gpu();
    for call in &calls() {
        let at_zero = aligned(gpu, call);
        let by_one = run(gpu, call, &apart(call, |_| 4));
        for &slot in call.tensors.keys() {
            for offset in OFFSETS {
                let got = run(gpu, call, &apart(call, |other| if other == slot { offset } else { 0 }));
                let what = format!("{} {slot:?} from {offset}", call.name);
                let narrow = matches!(slot, Slot::X | Slot::Y | Slot::Weight | Slot::Bias) && offset % 16 != 0;
                // Whether parameters are read by quads depends on the kernel.
                assert!(got == at_zero || (narrow && got == by_one), "{what}");
                if narrow && matches!(slot, Slot::X | Slot::Y) {
                    assert_eq!(got, by_one, "{what}");
                }
            }
        }
    }
}

#[test]
fn all_tensors_lie_in_one_buffer() {
    let [as_it_is, alone, as_gpu, without_subgroups] = gpus() else { panic!("four plans") };
    for call in &calls() {
        for (label, gpu) in part(&[as_it_is, without_subgroups, alone, as_gpu], 2) {
            let by_one = run(gpu, call, &apart(call, |_| 4));
            for (start, gap) in [(0, 0), (4, 0), (4, 4), (12, 36), (260, 1000)] {
                let slots = call.tensors.keys().copied();
                let what = format!("{} {label} from {start}, {gap} apart", call.name);
                for layout in
                    [together(call, start, gap, slots.clone()), together(call, start, gap, slots.clone().rev())]
                {
                    assert_near(&what, &run(gpu, call, &layout), &by_one);
                    assert_near(&what, &run(gpu, call, &in_place(layout)), &by_one);
                }
            }
        }
    }
}

/// x and y with nothing between, in either order, everything else elsewhere.
#[test]
fn x_and_y_lie_side_by_side() {
    let gpu = gpu();
    for call in &calls() {
        let by_one = run(gpu, call, &apart(call, |_| 4));
        for order in [[Slot::X, Slot::Y], [Slot::Y, Slot::X]] {
            for start in [0, 4, 256] {
                let mut layout = apart(call, |_| 0);
                let both = together(call, start, 0, order.into_iter());
                let buffer = layout.len();
                layout.extend(both.into_iter().map(|(slot, (_, offset))| (slot, (buffer, offset))));
                assert_near(&call.name, &run(gpu, call, &layout), &by_one);
            }
        }
    }
}

/// Two tensors that are only read may be one: wgpu binds the bytes twice.
#[test]
fn weight_and_bias_may_be_one() {
    let gpu = gpu();
    for mut call in calls() {
        let weight = call.tensors[&Slot::Weight].clone();
        call.tensors.insert(Slot::Bias, weight);
        let mut layout = apart(&call, |_| 0);
        layout.insert(Slot::Bias, layout[&Slot::Weight]);
        assert_eq!(run(gpu, &call, &layout), aligned(gpu, &call), "{}", call.name);
    }
}

/// Most GPUs want the offsets of bindings to be multiples of 256, or 16, or 64.
#[test]
fn bindings_align_as_the_device_says() {
    let native = gpu().context().capabilities().storage_alignment;
    for alignment in [64, 256, 1024] {
        let coarse = with(|c| c.storage_alignment = native.max(alignment));
        for call in &calls() {
            let by_one = run(gpu(), call, &apart(call, |_| 4));
            for offset in [4, 252, 260, 1020, 2052] {
                assert_eq!(run(&coarse, call, &apart(call, |_| offset)), by_one, "{} {alignment} {offset}", call.name);
            }
            let layout = together(call, 260, 12, call.tensors.keys().copied());
            assert_near(&call.name, &run(&coarse, call, &layout), &by_one);
        }
    }
}

/// In place, so that each time depends on the one before: thrice in one pass, in three, and bound anew each time.
#[test]
fn a_bound_plan_is_recorded_again_and_again() {
    let gpu = gpu();
    for call in &calls() {
        let layout = in_place(apart(call, |_| 0));
        let thrice = |arena: &Arena<'_>| {
            let bound = arena.bind();
            for _ in 0..3 {
                arena.submit(|pass| bound.record(pass));
            }
        };
        let in_one_pass = |arena: &Arena<'_>| {
            let bound = arena.bind();
            arena.submit(|pass| (0..3).for_each(|_| bound.record(pass)));
        };
        let bound_anew = |arena: &Arena<'_>| {
            let bounds = [arena.bind(), arena.bind(), arena.bind().clone()];
            arena.submit(|pass| bounds.iter().for_each(|bound| bound.record(pass)));
        };
        let ways: [&dyn Fn(&Arena<'_>); 3] = [&thrice, &in_one_pass, &bound_anew];
        let results = ways.map(|way| {
            let arena = Arena::new(gpu, call, &layout);
            way(&arena);
            arena.results()
        });
        assert_eq!(results[0], results[1], "{}", call.name);
        assert_eq!(results[0], results[2], "{}", call.name);
        if call.tracks {
            assert_eq!(results[0][&Slot::Batches], [8], "{}", call.name);
            assert_ne!(results[0][&Slot::RunningMean], aligned(gpu, call)[&Slot::RunningMean], "{}", call.name);
        }
    }
}

/// The count is optional, and one batch more each time.
#[test]
fn batches_are_counted_where_there_is_a_count() {
    for call in calls().iter_mut().filter(|call| call.tracks) {
        for (label, gpu) in gpus() {
            let counted = aligned(gpu, call);
            assert_eq!(counted[&Slot::Batches], [6], "{} {label}", call.name);
        }
        let gpu = gpu();
        let counted = aligned(gpu, call);
        call.tensors.remove(&Slot::Batches);
        if call.name.contains("[7, 3, 8]") {
            continue; // The cumulative average cannot do without.
        }
        let mut not_counted = aligned(gpu, call);
        not_counted.insert(Slot::Batches, vec![6]);
        assert_eq!(not_counted, counted, "{}", call.name);
    }
}

/// Running statistics as they are defined, in f64.
#[test]
fn running_statistics_follow_the_batch() {
    let norm = BatchNorm::channels_last(&[19, 5]).unwrap().momentum(0.25);
    let call = Call::tracked(norm, 1);
    let x: Vec<f64> = call.tensors[&Slot::X].iter().map(|&bits| f64::from(f32::from_bits(bits))).collect();
    for (label, gpu) in gpus() {
        let results = aligned(gpu, &call);
        for c in 0..call.norm.parameter_shape()[0] {
            let column = || x.iter().skip(c).step_by(5);
            let mean = column().sum::<f64>() / 19.0;
            let variance = column().map(|v| (v - mean).powi(2)).sum::<f64>() / 19.0;
            let of = |tensors: &BTreeMap<Slot, Vec<u32>>, slot: Slot| f64::from(f32::from_bits(tensors[&slot][c]));
            let (now, was) = (|slot: Slot| of(&results, slot), |slot: Slot| of(&call.tensors, slot));
            for (slot, of_batch) in [(Slot::RunningMean, mean), (Slot::RunningVar, variance)] {
                let want = 0.75 * was(slot) + 0.25 * of_batch;
                assert!((now(slot) - want).abs() < 1e-6 * (1.0 + want), "{slot:?} {c} {label}: {}", now(slot));
            }
            assert!((now(Slot::Mean) - mean).abs() < 1e-6 * mean, "{c} {label}");
            assert!((now(Slot::Rstd) * (variance + 1e-5).sqrt() - 1.0).abs() < 1e-6, "{c} {label}");
        }
    }
}

/// The caller's handles may go, except that of what is read back.
#[test]
fn a_bound_plan_keeps_its_buffers() {
    let gpu = gpu();
    for call in &calls() {
        let layout = apart(call, |_| 0);
        let mut arena = Arena::new(gpu, call, &layout);
        let bound = arena.bind();
        let y = arena.buffers.swap_remove(layout[&Slot::Y].0);
        arena.buffers.clear();
        gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
        arena.submit(|pass| bound.record(pass));
        drop(bound);
        let elements = call.tensors[&Slot::Y].len();
        assert_eq!(read(gpu, &y)[..elements], aligned(gpu, call)[&Slot::Y], "{}", call.name);
    }
}

/// Lanes add up as one tree, however they exchange values.
#[test]
fn subgroups_and_workgroups_agree_bit_for_bit() {
    let (with_subgroups, without) = (&gpus()[2].1, &gpus()[3].1);
    let mut calls = calls();
    for width in [16, 100, 128, 520, 1000, 4099, 8192, 15_000] {
        calls.push(Call::new(LayerNorm::new(&[3, width], &[width]).unwrap(), Groups::Rows));
        calls.push(Call::new(RmsNorm::new(&[3, width], &[width]).unwrap(), Groups::Rows));
    }
    for rows in [500, 20_000] {
        let norm = BatchNorm::channels_last(&[rows, 5]).unwrap().without_tracking();
        calls.push(Call::new(norm, Groups::Batch { axis: 1 }));
    }
    let (mut by_subgroup, mut compared) = (0, 0);
    for call in &calls {
        let passes = |gpu: &Gpu| format!("{:?}", call.plan(gpu.context()).passes());
        let (one, other) = (passes(with_subgroups), passes(without));
        let exchanged = one.contains("reduction: Subgroup");
        by_subgroup += usize::from(exchanged);
        // As many lanes, each holding as much.
        if one.replace("reduction: Subgroup", "reduction: Workgroup") == other {
            compared += usize::from(exchanged);
            assert_eq!(aligned(with_subgroups, call), aligned(without, call), "{one}\n{other}");
        } else {
            assert_near(&one, &aligned(with_subgroups, call), &aligned(without, call));
        }
    }
    let has_subgroups = with_subgroups.context().capabilities().subgroup_sizes.is_some();
    assert!(!has_subgroups || compared >= 3, "{compared} of {by_subgroup} plans have the same lanes");
}

/// A second dimension of the grid, and idle workgroups at its end, change nothing.
#[test]
fn grids_of_two_dimensions_agree_bit_for_bit() {
    let batch = |shape: &[usize], axis: isize| BatchNorm::new(shape, axis).unwrap();
    let instance = InstanceNorm::channels_last(&[60, 19, 12]).unwrap();
    let calls = [
        Call::new(LayerNorm::new(&[1111, 64], &[64]).unwrap(), Groups::Rows),
        Call::new(LayerNorm::new(&[83, 1025], &[1025]).unwrap(), Groups::Rows),
        Call::new(RmsNorm::new(&[3, 150_001], &[150_001]).unwrap(), Groups::Rows),
        Call::new(instance, Groups::Channels { axis: 2, groups: 12 }),
        Call::tracked(batch(&[31, 23, 100], 1), 1),
        Call::tracked(batch(&[3000, 37], 1), 1),
        Call::new(batch(&[31, 23, 100], 1).eval(), Groups::Each),
        Call::new(batch(&[3000, 37], 1).eval(), Groups::Each),
    ];
    let (mut tall, mut idle) = (0, 0);
    for call in &calls {
        for (label, gpu) in gpus() {
            let plan = call.plan(gpu.context());
            let most = plan.passes().iter().map(|pass| pass.workgroups()).max().unwrap();
            // The smallest limit that will do, and one that leaves workgroups idle, if there is one.
            let lines = |limit: u64| most.div_ceil(limit);
            let side = (1..).find(|side: &u64| side.pow(2) >= most).unwrap();
            let with_idle = (side..most).find(|&limit| most % lines(limit) != 0);
            for limit in [Some(side), with_idle].into_iter().flatten().map(|limit| u32::try_from(limit).unwrap()) {
                let mut capabilities = gpu.context().capabilities().clone();
                capabilities.max_workgroups = limit;
                tall += usize::from(most > u64::from(limit));
                idle += usize::from(Some(u64::from(limit)) == with_idle);
                let layout = in_place(apart(call, |_| 0));
                let got = run(&gpu.clone().with_capabilities(capabilities), call, &layout);
                assert_eq!(got, run(gpu, call, &layout), "{} {label} {limit}\n{plan}", call.name);
            }
        }
    }
    assert!(tall >= calls.len() && idle >= calls.len(), "{tall} grids of two dimensions, {idle} with idle workgroups");
}

/// Workgroups smaller than most, and than a subgroup.
#[test]
fn workgroups_of_any_size_agree() {
    let subgroup_sizes = gpu().context().capabilities().subgroup_sizes;
    let chosen = ["[5, 64]", "[3, 700]", "[2, 40001]", "[2, 21, 8]", "[2, 5, 32]", "[19, 5]", "[4, 3, 36]"];
    for &max_invocations in part(&[1, 6, 2, 16, 100], 2) {
        for (software, subgroup_sizes) in [(false, None), (false, subgroup_sizes), (true, subgroup_sizes)] {
            let small = with(|c| {
                (c.max_invocations, c.software, c.subgroup_sizes) = (max_invocations, software, subgroup_sizes);
            });
            for call in calls().iter().filter(|call| chosen.iter().any(|shape| call.name.contains(shape))) {
                let what = format!("{max_invocations} {}\n{}", call.name, call.plan(small.context()));
                assert_near(&what, &aligned(&small, call), &aligned(gpu(), call));
            }
        }
    }
}

/// What is not finite stays in its group, wherever it is and whatever holds its neighbours: the same registers, pack,
/// workgroup or subgroup.
#[test]
fn what_is_not_finite_stays_in_its_group() {
    for mut call in calls() {
        let clean = gpus().iter().map(|(_, gpu)| aligned(gpu, &call)).collect::<Vec<_>>();
        let x = call.tensors[&Slot::X].clone();
        let groups = call.groups.clone();
        let chosen = groups[x.len() / 2];
        let members: Vec<usize> = (0..x.len()).filter(|&element| groups[element] == chosen).collect();
        let mut places = vec![members[0], members[members.len() / 2], members[members.len() - 1]];
        places.dedup();
        for place in places {
            for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut poisoned = x.clone();
                poisoned[place] = poison.to_bits();
                call.tensors.insert(Slot::X, poisoned);
                for ((label, gpu), clean) in gpus().iter().zip(&clean) {
                    let what = format!("{poison} at {place} of {} {label}", call.name);
                    let got = aligned(gpu, &call);
                    for (slot, values) in &got {
                        for (at, (&got, &clean)) in values.iter().zip(&clean[slot]).enumerate() {
                            let group = if *slot == Slot::Y { groups[at] } else { at };
                            if *slot == Slot::Batches || group != chosen {
                                assert_eq!(got, clean, "{slot:?}[{at}]: {what}");
                            } else if poison.is_nan() {
                                assert!(f32::from_bits(got).is_nan(), "{slot:?}[{at}]: {what}");
                            }
                        }
                    }
                    assert!(!f32::from_bits(got[&Slot::Y][place]).is_finite(), "{what}");
                }
            }
        }
    }
}

/// Threads that share a context, and nothing else but the queue.
#[test]
fn threads_share_a_context() {
    let one = gpu();
    let want: Vec<_> = calls().iter().map(|call| aligned(one, call)).collect();
    // With no pipeline made yet, so that both make the same ones.
    let shared = one.clone().with_capabilities(one.context().capabilities().clone());
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (shared, want) = (&shared, &want);
            scope.spawn(move || {
                let calls = calls();
                let mut order: Vec<usize> = (0..calls.len()).collect();
                if number % 2 == 1 {
                    order.reverse();
                }
                for at in order {
                    assert_eq!(aligned(shared, &calls[at]), want[at], "{}", calls[at].name);
                }
            });
        }
    });
}

/// One bound plan, recorded by many threads into encoders of their own.
#[test]
fn threads_share_a_bound_plan() {
    let gpu = gpu();
    for call in &calls() {
        let layout = apart(call, |_| 0);
        let arena = Arena::new(gpu, call, &layout);
        let bound = arena.bind();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut encoder = gpu.device().create_command_encoder(&Default::default());
                    bound.record(&mut encoder.begin_compute_pass(&Default::default()));
                    gpu.queue().submit([encoder.finish()]);
                });
            }
        });
        let results = arena.results();
        assert_eq!(results[&Slot::Y], aligned(gpu, call)[&Slot::Y], "{}", call.name);
        if call.tracks {
            assert_eq!(results[&Slot::Batches], [8], "{}", call.name);
        }
    }
}

/// Contexts that share nothing but the device, made and dropped while others work.
#[test]
fn contexts_come_and_go() {
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for call in calls().iter().take(6) {
                    let fresh = gpu().clone().with_capabilities(gpu().context().capabilities().clone());
                    assert_eq!(aligned(&fresh, call), aligned(gpu(), call), "{}", call.name);
                }
            });
        }
    });
}

const fn crosses_threads<T: Send + Sync>() {}

const _: () = {
    crosses_threads::<Context>();
    crosses_threads::<Plan>();
    crosses_threads::<Bound>();
    crosses_threads::<Gpu>();
    crosses_threads::<Operands<'_>>();
    crosses_threads::<LayerNorm>();
    crosses_threads::<wgpu_norm::Error>();
};

/// Any executor takes them, one of several threads too. Nothing is run.
fn _futures_cross_threads(gpu: &Gpu, norm: &dyn Norm, plan: &Plan, operands: &Operands<'_>) {
    const fn crosses<T: Send>(_: &T) {}
    crosses(&Gpu::new());
    crosses(&gpu.run(norm, Inputs::new(&[0.0; 0])));
    crosses(&gpu.run_backward(norm, Backward::new(), Inputs::new(&[0.0; 0])));
    crosses(&gpu.examine(|_, _| {}));
    crosses(&gpu.probe());
    crosses(&gpu.context().bind_async(plan, operands));
}
