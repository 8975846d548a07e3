//! Gradients of more groups than scratch has room for the statistics of: some at a time.

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::{Backward, InstanceNorm, Plan};

use crate::backward::buffers::Buffers;
use crate::support::{Gradient, Kind, changed, close, fuses_multiply_add, gpus, part};

/// As the documentation says.
const MOST_SCRATCH: u64 = 13 << 20;

/// Of widths that one lane reads by single elements and by quads; and with many groups to a row.
const MANY: [(Kind, &[usize]); 7] = [
    (Kind::Layer { ndim: 1 }, &[300_000, 5]),
    (Kind::Instance { axis: 1 }, &[150, 4096, 4]),
    (Kind::Layer { ndim: 1 }, &[530_001, 4]),
    (Kind::Layer { ndim: 1 }, &[262_145, 17]),
    (Kind::Rms { ndim: 1, offset: 1.0 }, &[270_000, 12]),
    (Kind::Group { groups: 4, axis: 1 }, &[70_001, 8, 3]),
    (Kind::Instance { axis: 1 }, &[100_000, 3, 4]),
];

#[test]
fn many_groups_leave_little_in_scratch() {
    for &(kind, shape) in part(&MANY, 2) {
        let gradient = Gradient::new(kind, shape, 100.0);
        let want = gradient.oracle();
        for (label, gpu) in [&gpus()[0], &gpus()[3]] {
            for wanted in
                [Backward::new(), Backward::new().without_input(), Backward::new().without_input().without_bias()]
            {
                let plan = gpu.context().plan_backward(gradient.case.norm().as_ref(), wanted).unwrap();
                assert!(plan.scratch_bytes() <= MOST_SCRATCH, "{} {plan}", plan.scratch_bytes());
                gradient.check_on(label, gpu, wanted, &want);
            }
            // dx over dy, which the sums must have read by then; from any multiple of four bytes.
            for offset in [0, 1] {
                let buffers = Buffers::new(gpu, &gradient, offset);
                buffers.run(Backward::new(), &buffers.operands().grad_input(buffers.dy.view()));
                let what = format!("{kind:?} {shape:?} {label}, in place from {offset}");
                let array =
                    |values: Vec<f32>, like: &ArrayD<f64>| ArrayD::from_shape_vec(like.shape(), values).unwrap();
                close(&what, &array(buffers.dy.read(), &want.dx), &want.dx, &want.dx_scale);
                let apart = Buffers::new(gpu, &gradient, offset);
                apart.run(Backward::new(), &apart.operands().grad_input(apart.dx.view()));
                assert!(fuses_multiply_add() || apart.dx.bits() == buffers.dy.bits(), "{what}");
                close(&what, &array(buffers.dweight.read(), &want.dweight), &want.dweight, &want.dweight_scale);
                close(&what, &array(buffers.dbias.read(), &want.dbias), &want.dbias, &want.dbias_scale);
            }
        }
    }
}

fn instance(shape: &[usize], wanted: Backward) -> [Plan; 2] {
    let norm = InstanceNorm::channels_first(shape).unwrap();
    let as_gpu = changed(|c| (c.software, c.reassociates) = (false, true));
    [&gpus()[0].1, &as_gpu].map(|gpu| gpu.context().plan_backward(&norm, wanted).unwrap())
}

/// Long runs leave a sum each, which is little beside them: no slabs, and no sum for each of their elements.
#[test]
fn long_runs_are_summed_at_once_however_many_there_are() {
    for wanted in [Backward::new(), Backward::new().without_input()] {
        for shape in [&[8200, 32, 64], &[1, 300_000, 64], &[1, 400_000, 16]] {
            for plan in instance(shape, wanted) {
                let (names, groups) = (plan.to_string(), plan.block().groups());
                assert_eq!(names.matches("sums_rows").count(), 1, "{plan}");
                assert!(plan.scratch_bytes() <= 50 * groups, "{} {plan}", plan.scratch_bytes());
            }
        }
    }
}

/// However many groups one row of them has.
#[test]
fn slabs_are_no_taller_than_scratch_allows() {
    for wanted in [Backward::new(), Backward::new().without_input()] {
        for shape in [&[512, 4096, 4], &[2048, 4096, 4]] {
            for plan in instance(shape, wanted) {
                assert!(plan.scratch_bytes() <= MOST_SCRATCH, "{} {plan}", plan.scratch_bytes());
            }
        }
        // Groups of one element: no more than x.
        for plan in instance(&[100, 300_000, 1], wanted) {
            assert!(plan.scratch_bytes() <= 4 * 100 * 300_000, "{} {plan}", plan.scratch_bytes());
        }
        // A row of few elements for each weight leaves no more sums than weights.
        for plan in instance(&[1, 300_000, 8], wanted) {
            assert!(plan.scratch_bytes() <= 50 * 300_000, "{} {plan}", plan.scratch_bytes());
        }
    }
}
