//! Rows of odd width, and rows that start anywhere: read and written four elements at a time where that pays, and nothing
//! around them touched.

use wgpu_norm::{Expected, Gpu, Operands, Tuning, View, wgpu};

use crate::device::{self, Tensor};
use crate::support::{Case, Kind, changed, close, gpus};

/// Around every tensor: read, it spoils what it is added to.
const GUARD: u32 = 0x7fc0_dead;

/// Words around a tensor in its buffer.
#[derive(Debug, Clone, Copy)]
struct Around {
    before: usize,
    behind: usize,
}

/// Far from anything.
const WIDE: Around = Around { before: 0, behind: 16 };

/// Rows of every kind: held by a lane, gone along by one, by several, in parts; and weights of every kind.
fn cases() -> Vec<Case> {
    [
        (Kind::Layer { ndim: 1 }, vec![9, 33]),
        (Kind::Layer { ndim: 1 }, vec![7, 36]),
        (Kind::Layer { ndim: 1 }, vec![259, 67]),
        (Kind::Layer { ndim: 1 }, vec![6, 701]),
        (Kind::Layer { ndim: 1 }, vec![5, 700]),
        (Kind::Layer { ndim: 1 }, vec![2, 33_003]),
        (Kind::Rms { ndim: 1, offset: 1.0 }, vec![5, 101]),
        (Kind::Group { groups: 2, axis: 1 }, vec![3, 6, 5, 5]),
        (Kind::Instance { axis: 1 }, vec![3, 3, 7, 7]),
        (Kind::BatchTrain { axis: 1 }, vec![3, 3, 333]),
        (Kind::BatchEval { axis: 1 }, vec![3, 3, 77]),
    ]
    .into_iter()
    .map(|(kind, shape)| Case::new(kind, &shape, 3.0))
    .collect()
}

fn buffer(gpu: &Gpu, values: &[f32], around: Around) -> wgpu::Buffer {
    let guard = |words: usize| std::iter::repeat_n(GUARD, words);
    let values = values.iter().map(|value| value.to_bits());
    let words: Vec<u32> = guard(around.before).chain(values).chain(guard(around.behind)).collect();
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * words.len() as u64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    });
    buffer.get_mapped_range_mut(..).unwrap().copy_from_slice(bytemuck::cast_slice(&words));
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

/// The bits of y, of a call whose tensors lie in their buffers as told. Without a place for y, in place.
fn run(gpu: &Gpu, case: &Case, x: Around, y: Option<Around>, parameters: Around) -> Vec<u32> {
    let what = format!("{:?} {:?}, x {x:?}, y {y:?}, parameters {parameters:?}", case.kind, case.x.shape());
    let values = case.x.as_slice().unwrap();
    let x_buffer = buffer(gpu, values, x);
    let place = y.unwrap_or(x);
    let y_buffer = y.map_or_else(|| x_buffer.clone(), |y| buffer(gpu, values, y));
    let view = |buffer, around: Around| View::new(buffer, 4 * around.before as u64);
    let mut operands = Operands::new(view(&x_buffer, x), view(&y_buffer, place));
    let tensors = [&case.weight, &case.bias, &case.running_mean, &case.running_var];
    let buffers =
        tensors.map(|tensor| tensor.as_ref().map(|tensor| buffer(gpu, tensor.as_slice().unwrap(), parameters)));
    for (slot, buffer) in buffers.iter().enumerate() {
        let Some(buffer) = buffer else { continue };
        let view = view(buffer, parameters);
        operands = match slot {
            0 => operands.weight(view),
            1 => operands.bias(view),
            2 => operands.running_mean(view),
            _ => operands.running_var(view),
        };
    }
    let plan = gpu.context().plan(case.norm().as_ref()).unwrap();
    let bound = gpu.context().bind(&plan, &operands).unwrap_or_else(|error| panic!("{error}: {what}"));
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    bound.record(&mut encoder.begin_compute_pass(&Default::default()));
    gpu.queue().submit([encoder.finish()]);

    let words = read(gpu, &y_buffer);
    let (before, rest) = words.split_at(place.before);
    let (within, behind) = rest.split_at(values.len());
    assert!(before.iter().chain(behind).all(|&word| word == GUARD), "stored around y: {what}");
    within.to_vec()
}

fn is_odd(case: &Case, gpu: &Gpu) -> bool {
    !gpu.context().plan(case.norm().as_ref()).unwrap().block().s.is_multiple_of(4)
}

/// x and y each at every word of a quad, and in place: those of odd width are read no other way at a multiple of four.
#[test]
fn rows_start_at_any_word() {
    for case in &cases() {
        for (label, gpu) in gpus() {
            let at = |before: usize| Around { before, ..WIDE };
            let want = run(gpu, case, at(1), Some(at(1)), WIDE);
            let near = |got: &[u32]| {
                got.iter().zip(&want).all(|(&got, &want)| {
                    let (got, want) = (f32::from_bits(got), f32::from_bits(want));
                    (got - want).abs() <= 1e-5 * (1.0 + want.abs())
                })
            };
            for x in 0..4 {
                for y in [Some(0), Some(1), Some(2), Some(3), None] {
                    let got = run(gpu, case, at(x), y.map(at), WIDE);
                    let what = format!("{:?} {:?} {label}, x at {x}, y at {y:?}", case.kind, case.x.shape());
                    let aligned = x == 0 && matches!(y, Some(0) | None);
                    if is_odd(case, gpu) || !aligned {
                        assert!(got == want, "{what}");
                    } else {
                        assert!(near(&got), "{what}");
                    }
                }
            }
            for parameters in 1..4 {
                assert!(run(gpu, case, at(1), Some(at(1)), at(parameters)) == want, "{:?} {label}", case.kind);
            }
        }
    }
}

/// Buffers that end with their tensor, which need not be a multiple of four: nothing is read or written behind them, and
/// nothing is lost.
#[test]
fn buffers_end_with_their_tensors() {
    for case in &cases() {
        for (label, gpu) in gpus() {
            for before in [0, 3] {
                let wide = Around { before, behind: 16 };
                let tight = Around { before, behind: 0 };
                let want = run(gpu, case, wide, Some(wide), wide);
                let what = format!("{:?} {:?} {label} at {before}", case.kind, case.x.shape());
                assert!(run(gpu, case, tight, Some(tight), tight) == want, "{what}");
                assert!(run(gpu, case, tight, None, tight) == want, "in place: {what}");
            }
        }
    }
}

/// What the quads at the ends of a row hold besides is some other row's, be it NaN.
#[test]
fn neighbours_do_not_leak() {
    for width in [17, 33, 50, 67, 101, 701] {
        for rows in [9, 260] {
            let clean = Case::new(Kind::Layer { ndim: 1 }, &[rows, width], 3.0);
            for (label, gpu) in gpus() {
                let want = run(gpu, &clean, WIDE, Some(WIDE), WIDE);
                for parity in 0..2 {
                    let mut dirty = clean.clone();
                    for row in (0..rows).filter(|row| row % 2 == parity) {
                        for at in [0, width - 1] {
                            dirty.x[[row, at]] = f32::NAN;
                        }
                    }
                    for y in [Some(WIDE), None] {
                        let got = run(gpu, &dirty, WIDE, y, WIDE);
                        for (row, (got, want)) in got.chunks(width).zip(want.chunks(width)).enumerate() {
                            let what = format!("row {row} of {rows}x{width} {label}, y {y:?}");
                            if row % 2 == parity {
                                assert!(got.iter().all(|&word| f32::from_bits(word).is_nan()), "{what}");
                            } else {
                                assert!(got == want, "{what}");
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Copies of one row start at every word of a quad, alone and among many, in buffers with room behind them and without.
#[test]
fn a_row_has_its_bits_wherever_it_stands() {
    for width in [17, 49, 101, 767, 16_391] {
        for (label, gpu) in gpus() {
            let gpu = gpu.clone().with_context(gpu.context().clone().with_tuning(Tuning::BatchInvariant));
            let row = Case::new(Kind::Layer { ndim: 1 }, &[1, width], 1e3);
            let want = run(&gpu, &row, WIDE, Some(WIDE), WIDE);
            for rows in [3, 4, if width < 1000 { 300 } else { 9 }] {
                let mut many = row.clone();
                many.x = row.x.broadcast([rows, width]).unwrap().as_standard_layout().into_owned().into_dyn();
                for behind in [0, 16] {
                    let got = run(&gpu, &many, Around { before: 0, behind }, None, WIDE);
                    let same = got.chunks(width).all(|row| row == want);
                    assert!(same, "{rows}x{width} {label}, {behind} words behind");
                }
            }
        }
    }
}

/// Everything that statistics can be written to at once changes no bit of y; a residual is added, apart and in place.
#[test]
fn statistics_and_residuals_of_odd_rows() {
    for (rows, width) in [(9, 33), (259, 67), (6, 701)] {
        let case = Case::new(Kind::Layer { ndim: 1 }, &[rows, width], 3.0);
        let want = case.kind.oracle(&case);
        let x: Vec<f32> = case.x.iter().copied().collect();
        let [weight, bias] = [&case.weight, &case.bias].map(|values| values.as_ref().unwrap().as_slice().unwrap());
        for (label, gpu) in gpus() {
            let what = format!("{rows}x{width} {label}");
            let context = gpu.context();
            let plan = context.plan(case.norm().as_ref()).unwrap();
            let (weight, bias) = (Tensor::new(gpu, weight), Tensor::new(gpu, bias));
            let apart = || (Tensor::new(gpu, &x), Tensor::unwritten(gpu, x.len()));
            let (from, plain) = apart();
            let operands = Operands::new(from.view(), plain.view()).weight(weight.view()).bias(bias.view());
            device::run(gpu, &plan, &operands);

            let (from, y) = apart();
            let [mean, rstd] = [(); 2].map(|()| Tensor::unwritten(gpu, rows));
            let statistics = Tensor::unwritten(gpu, 4 * rows);
            let operands = Operands::new(from.view(), y.view()).weight(weight.view()).bias(bias.view());
            let operands = operands.mean(mean.view()).rstd(rstd.view()).statistics(statistics.view());
            device::run(gpu, &plan, &operands);
            assert!(y.bits() == plain.bits(), "{what}");
            let (mean, rstd) = (mean.read(), rstd.read());
            for (row, record) in statistics.read().chunks(4).enumerate() {
                assert_eq!(
                    [record[0] + record[1], record[2], record[3]],
                    [mean[row], rstd[row], width as f32],
                    "{what}"
                );
            }

            let half = x.iter().map(|value| value / 2.0).collect::<Vec<_>>();
            let mut bits = Vec::new();
            for in_place in [false, true] {
                let expected = Expected::new().weight().bias().residual().residual_out();
                context.warm_up(&plan, if in_place { expected.in_place() } else { expected }).unwrap();
                let [from, residual] = [(); 2].map(|()| Tensor::new(gpu, &half));
                let [y, sum] = [(); 2].map(|()| Tensor::unwritten(gpu, x.len()));
                let (y, sum) = if in_place { (&from, &residual) } else { (&y, &sum) };
                let operands = Operands::new(from.view(), y.view()).weight(weight.view()).bias(bias.view());
                let operands = operands.residual(residual.view()).residual_out(sum.view());
                device::run(gpu, &plan, &operands);
                assert_eq!(sum.read(), x, "{what}");
                let got = wgpu_norm::ndarray::ArrayD::from_shape_vec(case.x.shape(), y.read()).unwrap();
                close(&what, &got, &want.y, &want.scale);
                bits.push(y.bits());
            }
            assert!(bits[0] == bits[1], "{what}");
        }
    }
}

/// Where it pays: rows of more than a few elements on software adapters that can bind y twice.
#[test]
fn odd_rows_are_planned_four_wide() {
    let line = |gpu: &Gpu, shape: &[usize]| {
        let norm = Kind::Layer { ndim: 1 }.norm(shape, 1e-5);
        gpu.context().plan(norm.as_ref()).unwrap().to_string()
    };
    let software = changed(|c| c.software = true);
    for width in [17, 33, 767, 16_383, 100_003] {
        for rows in [3, 1000] {
            let plan = line(&software, &[rows, width]);
            assert!(plan.contains("4-wide") && !plan.contains("1-wide"), "{plan}");
        }
    }
    assert!(line(&software, &[300, 15]).contains("1-wide"));
    assert!(line(&changed(|c| (c.software, c.max_storage_buffers) = (true, 7)), &[300, 767]).contains("1-wide"));
    assert!(line(&changed(|c| (c.software, c.binds_twice) = (true, false)), &[300, 767]).contains("1-wide"));
    assert!(line(&changed(|c| c.software = false), &[300, 767]).contains("1-wide"));
    // Weights that change within a pack more than once.
    let norm = Kind::Group { groups: 2, axis: 1 }.norm(&[300, 18, 3], 1e-5);
    assert!(software.context().plan(norm.as_ref()).unwrap().to_string().contains("1-wide"));
}
