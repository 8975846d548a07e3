//! Tensors larger than a binding: in windows of bindings made small, and for real.

use wgpu_norm::Gpu;

use crate::support::{Case, Kind, changed, gpu, part};

/// The adapter with bindings of at most this many bytes, as it is and as a GPU.
fn bindings_of(bytes: u64) -> [(&'static str, Gpu); 2] {
    [
        ("in small bindings", changed(|c| c.max_binding = bytes)),
        ("in small bindings, as a GPU", changed(|c| (c.max_binding, c.software) = (bytes, false))),
    ]
}

/// Every way a window can begin: at a row, within a row, at a sample, within one; with weights whole and in parts.
#[test]
fn windows_of_every_kind() {
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![301, 257]),
        (Kind::Layer { ndim: 1 }, vec![300, 256]),
        (Kind::Layer { ndim: 1 }, vec![2, 70_001]),
        (Kind::Layer { ndim: 2 }, vec![3, 5, 20_000]),
        (Kind::Rms { ndim: 1, offset: 1.0 }, vec![2, 70_004]),
        (Kind::LayerOver { axes: &[1] }, vec![4, 40, 400]),
        (Kind::LayerOver { axes: &[1] }, vec![1, 1_300, 49]),
        (Kind::LayerOver { axes: &[1] }, vec![3, 3, 9_001]),
        (Kind::LayerOver { axes: &[1, 3] }, vec![3, 4, 9, 701]),
        (Kind::Group { groups: 2, axis: 1 }, vec![3, 4, 9_001]),
        (Kind::Group { groups: 3, axis: 2 }, vec![3, 2_500, 12]),
        (Kind::Group { groups: 2, axis: 2 }, vec![3, 40, 6, 101]),
        (Kind::Instance { axis: 1 }, vec![3, 5, 7_003]),
        (Kind::Instance { axis: 2 }, vec![3, 7_003, 5]),
        (Kind::BatchTrain { axis: 1 }, vec![40, 3, 999]),
        (Kind::BatchTrain { axis: 1 }, vec![3, 2, 30_000]),
        (Kind::BatchTrain { axis: 1 }, vec![30_001, 7]),
        (Kind::BatchTrain { axis: 1 }, vec![201, 1_024]),
        (Kind::BatchEval { axis: 1 }, vec![30_001, 7]),
        (Kind::BatchEval { axis: 1 }, vec![40, 3, 999]),
        (Kind::Mvn { axes: &[0, 2] }, vec![40, 3, 999]),
        (Kind::Lp { p: 1, axes: &[1] }, vec![2, 70_001]),
        (Kind::Lp { p: 2, axes: &[0] }, vec![30_001, 7]),
    ] {
        for mean in [0.0, 1e6] {
            let case = Case::new(kind, &shape, mean);
            let want = case.oracle();
            for (label, gpu) in bindings_of(240_000) {
                let plan = gpu.context().plan(case.norm().as_ref()).unwrap();
                assert!(plan.to_string().contains(" windows"), "{plan}");
                case.check_on(label, &gpu, &want);
            }
        }
    }
}

/// Windows decide what is bound, not what is computed.
#[test]
fn windows_change_no_bit() {
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![301, 257]),
        (Kind::Layer { ndim: 1 }, vec![2, 70_001]),
        (Kind::Rms { ndim: 1, offset: 0.0 }, vec![3, 70_003]),
        (Kind::BatchTrain { axis: 1 }, vec![40, 3, 999]),
        (Kind::Instance { axis: 2 }, vec![3, 7_003, 5]),
    ] {
        let case = Case::new(kind, &shape, 1e3);
        let whole = gpu().run_array_blocking(case.norm().as_ref(), case.inputs()).unwrap();
        let [(_, small), _] = bindings_of(200_000);
        let windowed = small.run_array_blocking(case.norm().as_ref(), case.inputs()).unwrap();
        assert_eq!(whole.y, windowed.y, "{kind:?}");
    }
}

/// The last of 2,049 tiles is one element, and the only one of its window: fewer than a quad of `x`, of `y` and of the
/// weights are left to bind.
#[test]
fn a_window_of_one_element() {
    let case = Case::new(Kind::Layer { ndim: 1 }, &[1, 2048 * 8192 + 1], 3.0);
    let gpu = changed(|c| (c.software, c.max_binding) = (true, 1024 * 8192 * 4 + 1024));
    let plan = gpu.context().plan(case.norm().as_ref()).unwrap();
    assert!(plan.to_string().contains("in 3 windows"), "{plan}");
    case.check_on("in three windows", &gpu, &case.oracle());
}

/// 300 MB and more where a binding is 128 MiB: no test adapter holds less.
fn large(cases: &[(Kind, &[usize])]) {
    for &(kind, shape) in cases {
        let case = Case::new(kind, shape, 1e6);
        let bytes = 4 * case.x.len() as u64;
        assert!(bytes > 300_000_000);
        let limits = gpu().device().limits();
        let plan = gpu().context().plan(case.norm().as_ref()).unwrap();
        assert_eq!(plan.to_string().contains(" windows"), bytes > limits.max_storage_buffer_binding_size, "{plan}");
        case.check_on("large", gpu(), &case.oracle());
    }
}

#[test]
fn large_tensors_of_rows() {
    let rms = Kind::Rms { ndim: 1, offset: 0.0 };
    large(part(&[(Kind::Layer { ndim: 1 }, &[75_001, 1_001]), (rms, &[1, 76_000_000])], 1));
}

#[test]
fn large_tensors_channels_first() {
    let group = Kind::Group { groups: 2, axis: 1 };
    large(part(&[(group, &[2, 4, 9_500_000]), (Kind::BatchTrain { axis: 1 }, &[3, 5, 5_100_000])], 0));
}

#[test]
fn large_tensors_channels_last() {
    let group = Kind::Group { groups: 2, axis: 2 };
    large(part(&[(group, &[2, 9_500_000, 4]), (Kind::Instance { axis: 2 }, &[1, 15_100_001, 5])], 0));
}

#[test]
fn large_batches() {
    large(part(
        &[(Kind::BatchTrain { axis: 1 }, &[1_180_000, 64]), (Kind::BatchEval { axis: 1 }, &[1_180_000, 64])],
        0,
    ));
}
