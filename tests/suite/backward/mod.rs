//! Gradients of every norm and layout at the widths that hurt, against the oracle.

mod buffers;
mod properties;
mod slabs;

use wgpu_norm::{Backward, BatchNorm};

use crate::support::{Gradient, Kind, engines, gpus, part};

const WIDTHS: [usize; 15] = [1, 2, 3, 5, 7, 8, 31, 33, 64, 255, 257, 1023, 1025, 4099, 8192];

/// The widths at which a GPU's plans differ most: what they unroll takes long to compile for a CPU.
const WIDTHS_AS_GPU: [usize; 5] = [3, 257, 4099, 64, 1025];

fn sweep(kind: impl Fn(usize) -> (Kind, Vec<usize>)) {
    let as_gpu = part(&WIDTHS_AS_GPU, 3);
    for width in WIDTHS {
        let (kind, shape) = kind(width);
        let on = if as_gpu.contains(&width) { gpus() } else { &gpus()[..2] };
        for mean in [0.0, 1e6] {
            Gradient::new(kind, &shape, mean).check_all(on);
        }
        Gradient::new(kind, &shape, 3.0).plain().check_all(on);
    }
}

#[test]
fn layer() {
    sweep(|width| (Kind::Layer { ndim: 1 }, vec![3, width]));
    sweep(|width| (Kind::Layer { ndim: 1 }, vec![width, 5]));
}

#[test]
fn layer_over_two_axes() {
    sweep(|width| (Kind::Layer { ndim: 2 }, vec![5, 3, width]));
}

#[test]
fn rms() {
    sweep(|width| (Kind::Rms { ndim: 1, offset: 0.0 }, vec![3, width]));
    sweep(|width| (Kind::Rms { ndim: 2, offset: 1.0 }, vec![2, 2, width]));
}

#[test]
fn group_channels_first() {
    sweep(|width| (Kind::Group { groups: 2, axis: 1 }, vec![2, 6, width]));
    sweep(|width| (Kind::Group { groups: 2, axis: 1 }, vec![width, 6]));
}

#[test]
fn group_channels_last() {
    sweep(|width| (Kind::Group { groups: 3, axis: 2 }, vec![2, width, 6]));
    sweep(|width| (Kind::Group { groups: 2, axis: 2 }, vec![2, 5, 2 * width]));
}

#[test]
fn group_channels_in_the_middle() {
    sweep(|width| (Kind::Group { groups: 2, axis: 2 }, vec![2, 3, 4, width]));
    sweep(|width| (Kind::Group { groups: 2, axis: 0 }, vec![4, width]));
}

#[test]
fn instance_channels_first() {
    sweep(|width| (Kind::Instance { axis: 1 }, vec![2, 3, width]));
}

#[test]
fn instance_channels_last() {
    sweep(|width| (Kind::Instance { axis: 2 }, vec![2, width, 3]));
    sweep(|width| (Kind::Instance { axis: 2 }, vec![2, 7, width]));
}

#[test]
fn batch_channels_first() {
    sweep(|width| (Kind::BatchTrain { axis: 1 }, vec![3, 4, width]));
    sweep(|width| (Kind::BatchTrain { axis: 1 }, vec![width, 4, 9]));
}

#[test]
fn batch_channels_last() {
    sweep(|width| (Kind::BatchTrain { axis: 1 }, vec![width, 3]));
    sweep(|width| (Kind::BatchTrain { axis: 2 }, vec![3, 5, width]));
}

#[test]
fn batch_eval() {
    sweep(|width| (Kind::BatchEval { axis: 1 }, vec![3, 4, width]));
    sweep(|width| (Kind::BatchEval { axis: 1 }, vec![width, 5]));
}

/// A batch norm that keeps running statistics leaves them alone, whatever it is asked for.
#[test]
fn each_gradient_alone() {
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![40, 24]),
        (Kind::Group { groups: 2, axis: 1 }, vec![3, 6, 20]),
        (Kind::Instance { axis: 2 }, vec![3, 20, 6]),
        (Kind::BatchTrain { axis: 1 }, vec![300, 12]),
        (Kind::BatchEval { axis: 1 }, vec![30, 6, 4]),
    ] {
        let gradient = Gradient::new(kind, &shape, 2.0);
        let want = gradient.oracle();
        for (label, gpu) in engines() {
            for wanted in [
                Backward::new().without_weight().without_bias(),
                Backward::new().without_input(),
                Backward::new().without_input().without_bias(),
                Backward::new().without_weight(),
            ] {
                gradient.check_on(label, gpu, wanted, &want);
                if !gradient.is_eval() {
                    gradient.check_on(label, gpu, wanted.saved_statistics(), &want);
                }
            }
        }
    }
    let tracked = BatchNorm::new(&[30, 2], 1).unwrap();
    let plan = gpus()[0].1.context().plan_backward(&tracked, Backward::new()).unwrap();
    assert!(plan.passes().iter().all(|pass| pass.name() != "count_batch"));
}
