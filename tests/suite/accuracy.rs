//! Every norm and layout at the widths that hurt, against the oracle.

use crate::support::{Case, Kind, gpus, part};

const WIDTHS: [usize; 24] =
    [1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 257, 1023, 1024, 1025, 4099, 8191, 8192];

/// The same, from the widths on at which a GPU's plans differ most: what they unroll takes long to compile for a CPU.
const WIDTHS_AS_GPU: [usize; 24] =
    [3, 64, 257, 4099, 1, 2, 4, 5, 7, 8, 31, 32, 33, 63, 65, 127, 128, 255, 256, 1023, 1024, 1025, 8191, 8192];

/// Rows of these widths, and of the large mean that f32 means cannot carry.
fn sweep(kind: impl Fn(usize) -> (Kind, Vec<usize>)) {
    let as_gpu = part(&WIDTHS_AS_GPU, 4);
    for width in WIDTHS {
        let (kind, shape) = kind(width);
        let on = if as_gpu.contains(&width) { gpus() } else { &gpus()[..2] };
        for mean in [0.0, 1e6] {
            Case::new(kind, &shape, mean).check_all(on);
        }
        Case::new(kind, &shape, 3.0).plain().check_all(on);
    }
}

#[test]
fn layer() {
    sweep(|width| (Kind::Layer { ndim: 1 }, vec![3, width]));
}

/// As many as make a software adapter give each lane a row of its own.
#[test]
fn layer_of_many_rows() {
    for width in [17, 33, 49, 64, 65, 257, 1023] {
        for mean in [0.0, 1e6] {
            Case::new(Kind::Layer { ndim: 1 }, &[301, width], mean).check();
        }
    }
}

#[test]
fn layer_over_two_axes() {
    sweep(|width| (Kind::Layer { ndim: 2 }, vec![5, 3, width]));
}

#[test]
fn rms() {
    sweep(|width| (Kind::Rms { ndim: 1, offset: 0.0 }, vec![3, width]));
}

#[test]
fn rms_with_a_zero_centred_weight() {
    sweep(|width| (Kind::Rms { ndim: 2, offset: 1.0 }, vec![2, 2, width]));
}

#[test]
fn group_channels_first() {
    sweep(|width| (Kind::Group { groups: 2, axis: 1 }, vec![2, 6, width]));
}

#[test]
fn group_channels_last() {
    sweep(|width| (Kind::Group { groups: 3, axis: 2 }, vec![2, width, 6]));
    sweep(|width| (Kind::Group { groups: 2, axis: 2 }, vec![2, 5, 2 * width]));
}

#[test]
fn group_channels_in_the_middle() {
    sweep(|width| (Kind::Group { groups: 2, axis: 2 }, vec![2, 3, 4, width]));
}

#[test]
fn group_unbatched() {
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
fn instance_channels_in_the_middle() {
    sweep(|width| (Kind::Instance { axis: 2 }, vec![2, 3, 4, width]));
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
fn mean_variance() {
    sweep(|width| (Kind::Mvn { axes: &[1] }, vec![3, width]));
    sweep(|width| (Kind::Mvn { axes: &[0, 2, 3] }, vec![2, 3, 4, width]));
    sweep(|width| (Kind::Mvn { axes: &[1] }, vec![2, width, 3]));
    sweep(|width| (Kind::Mvn { axes: &[1, 3] }, vec![2, 3, 2, width]));
}

#[test]
fn l1_and_l2() {
    for p in [1, 2] {
        sweep(|width| (Kind::Lp { p, axes: &[1] }, vec![3, width]));
        sweep(|width| (Kind::Lp { p, axes: &[0] }, vec![width, 5]));
        sweep(|width| (Kind::Lp { p, axes: &[1, 3] }, vec![2, 3, 2, width]));
    }
}

#[test]
fn batch_eval() {
    sweep(|width| (Kind::BatchEval { axis: 1 }, vec![3, 4, width]));
    sweep(|width| (Kind::BatchEval { axis: 1 }, vec![width, 5]));
}
