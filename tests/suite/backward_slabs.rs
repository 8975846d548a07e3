//! Gradients of more groups than scratch has room for the statistics of: some at a time.

use wgpu_norm::Backward;
use wgpu_norm::ndarray::ArrayD;

use crate::backward::Gradient;
use crate::backward_buffers::Buffers;
use crate::support::{Kind, close, gpus};

/// A few MB, as the documentation says.
const MOST_SCRATCH: u64 = 13 << 20;

const MANY: [(Kind, &[usize]); 5] = [
    (Kind::Layer { ndim: 1 }, &[300_000, 5]),
    (Kind::Layer { ndim: 1 }, &[530_001, 4]),
    (Kind::Rms { ndim: 1, offset: 1.0 }, &[270_000, 12]),
    (Kind::Group { groups: 4, axis: 1 }, &[70_001, 8, 3]),
    (Kind::Instance { axis: 1 }, &[100_000, 3, 4]),
];

#[test]
fn many_groups_leave_little_in_scratch() {
    for (kind, shape) in MANY {
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
            // dx over dy, which the sums must have read by then.
            let buffers = Buffers::new(gpu, &gradient, 0);
            buffers.run(Backward::new(), &buffers.operands().grad_input(buffers.dy.view()));
            let what = format!("{kind:?} {shape:?} {label}, in place");
            let array = |values: Vec<f32>, like: &ArrayD<f64>| ArrayD::from_shape_vec(like.shape(), values).unwrap();
            close(&what, &array(buffers.dy.read(), &want.dx), &want.dx, &want.dx_scale);
            close(&what, &array(buffers.dweight.read(), &want.dweight), &want.dweight, &want.dweight_scale);
            close(&what, &array(buffers.dbias.read(), &want.dbias), &want.dbias, &want.dbias_scale);
        }
    }
}
