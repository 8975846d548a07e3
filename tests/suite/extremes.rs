//! Sizes past every convenient limit, and values that break naive kernels.

use std::collections::HashMap;

use wgpu_norm::ndarray::{ArrayD, Axis, Dimension, Slice};

use crate::support::{Case, Data, Kind, changed, engines, every_kind, gpu, part, thorough};

/// Too large to run on every plan: only as the adapter's own.
fn check_as_it_is(case: &Case) {
    let want = case.oracle();
    case.check_on("as it is", gpu(), &want);
}

#[test]
fn more_groups_than_a_dispatch_has_workgroups() {
    for mean in [0.0, 1e6] {
        Case::new(Kind::Layer { ndim: 1 }, &[70_001, 9], mean).check();
        Case::new(Kind::Instance { axis: 1 }, &[70_001, 1, 12], mean).check();
        Case::new(Kind::Instance { axis: 2 }, &[4, 5, 70_001], mean).check();
        Case::new(Kind::BatchTrain { axis: 1 }, &[2, 70_001, 3], mean).check();
    }
}

/// Workgroups as small as a device may have make more of them than one dimension of the grid holds.
#[test]
fn more_workgroups_than_a_dimension_of_the_grid() {
    let small = changed(|capabilities| capabilities.max_invocations = 8);
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![600_000, 9]),
        (Kind::Instance { axis: 1 }, vec![600_000, 1, 8]),
        (Kind::Instance { axis: 2 }, vec![70_000, 9, 2]),
        (Kind::BatchTrain { axis: 1 }, vec![9, 600_001]),
        (Kind::BatchEval { axis: 1 }, vec![9, 600_001]),
    ] {
        let case = Case::new(kind, &shape, 1e6);
        let plan = small.context().plan(case.norm().as_ref()).unwrap();
        assert!(plan.passes().iter().any(|pass| pass.workgroups() > 65_535), "{plan}");
        case.check_on("in small workgroups", &small, &case.oracle());
    }
}

/// The grid wraps early, and no line of it comes out even.
#[test]
fn narrow_grids() {
    let narrow = changed(|capabilities| capabilities.max_workgroups = 60);
    for (kind, shape) in every_kind().into_iter().chain([(Kind::Layer { ndim: 1 }, vec![9_001, 70])]) {
        let case = Case::new(kind, &shape, 1e6);
        case.check_on("on a narrow grid", &narrow, &case.oracle());
    }
}

#[test]
fn many_short_rows() {
    Case::new(Kind::Layer { ndim: 1 }, &[200_000, 8], 1e6).check();
    Case::new(Kind::Rms { ndim: 1, offset: 0.0 }, &[200_000, 8], 1.0).check();
}

#[test]
fn one_huge_row() {
    let huge = [
        (Kind::Layer { ndim: 1 }, vec![1, 3_000_000]),
        (Kind::Layer { ndim: 1 }, vec![2, 2_999_999]),
        (Kind::Rms { ndim: 1, offset: 0.0 }, vec![1, 3_000_001]),
        (Kind::Group { groups: 1, axis: 1 }, vec![1, 3, 1_000_003]),
        (Kind::Instance { axis: 1 }, vec![1, 1, 3_000_000]),
        (Kind::Instance { axis: 2 }, vec![1, 3_000_000, 1]),
        (Kind::Instance { axis: 2 }, vec![1, 1_000_003, 2]),
        (Kind::BatchTrain { axis: 1 }, vec![2, 1, 1_500_001]),
    ];
    for (kind, shape) in huge.into_iter().step_by(if thorough() { 1 } else { 2 }) {
        Case::new(kind, &shape, 1e6).check();
    }
}

#[test]
fn wide_rows() {
    for width in [16_383, 16_384, 16_385, 32_768, 32_769, 65_536, 65_537] {
        Case::new(Kind::Layer { ndim: 1 }, &[2, width], 1e6).check();
        Case::new(Kind::Rms { ndim: 1, offset: 1.0 }, &[2, width], 0.1).check();
        Case::new(Kind::Group { groups: 2, axis: 1 }, &[2, 2, width], 1e6).check();
        Case::new(Kind::Instance { axis: 2 }, &[1, width, 5], 1e6).check();
        Case::new(Kind::BatchTrain { axis: 1 }, &[2, 2, width], 1e6).check();
    }
}

/// Past the 65,535 values a channel where loops that run too long go silently wrong.
#[test]
fn batch_over_100_352_rows() {
    for &mean in part(&[1e6, 0.0], 1) {
        check_as_it_is(&Case::new(Kind::BatchTrain { axis: 1 }, &[100_352, 64], mean));
        Case::new(Kind::BatchTrain { axis: 1 }, &[100_352, 3], mean).check();
        Case::new(Kind::BatchTrain { axis: 1 }, &[100_352, 1], mean).check();
        Case::new(Kind::BatchEval { axis: 1 }, &[100_352, 3], mean).check();
    }
}

#[test]
fn feature_maps_of_networks() {
    for (kind, shape) in [
        (Kind::BatchTrain { axis: 1 }, vec![8, 64, 56, 56]),
        (Kind::BatchTrain { axis: 3 }, vec![8, 56, 56, 64]),
        (Kind::BatchTrain { axis: 1 }, vec![64, 128, 7, 7]),
        (Kind::Group { groups: 32, axis: 1 }, vec![2, 256, 32, 32]),
        (Kind::Group { groups: 32, axis: 3 }, vec![2, 32, 32, 256]),
        (Kind::Instance { axis: 1 }, vec![2, 64, 63, 65]),
        (Kind::Instance { axis: 3 }, vec![2, 63, 65, 64]),
    ] {
        Case::new(kind, &shape, 1e3).check();
    }
}

#[test]
fn one_outlier() {
    for (kind, shape) in every_kind() {
        let elements: usize = shape.iter().product();
        for place in [0, elements / 2, elements - 1] {
            for outlier in [1e6, -1e6] {
                let mut case = Case::new(kind, &shape, 0.0);
                set(&mut case.x, place, outlier);
                case.check();
            }
        }
    }
}

/// `x - first` is rounded coarsely where the first element is an outlier; what that costs the mean must be taken out again.
#[test]
fn an_outlier_first_costs_the_mean_nothing() {
    for width in [700, 16_000, 40_000] {
        let mut case = Case::new(Kind::Layer { ndim: 1 }, &[1, width], 0.0).plain();
        set(&mut case.x, 0, 1e6);
        let want = case.oracle().mean.unwrap();
        for (label, gpu) in engines() {
            let mean = gpu.run_array_blocking(case.norm().as_ref(), case.inputs().with_mean()).unwrap().mean.unwrap();
            let error = (f64::from(mean[[0, 0]]) / want[[0, 0]] - 1.0).abs();
            assert!(error < 1e-6, "{label} {width}: off by {error} of the mean");
        }
    }
}

/// Deviations of one size are where roundings of a long sum all fall the same way.
#[test]
fn deviations_of_one_size() {
    for (kind, shape) in every_kind() {
        for (mean, deviation) in [(0.0, 1.05), (3.3, 0.1), (1e6, 1.0), (-7e4, 0.3)] {
            let mut case = Case::new(kind, &shape, 0.0);
            let mut sign = 1.0;
            case.x.map_inplace(|v| {
                *v = mean + sign * deviation;
                sign = -sign;
            });
            case.check();
        }
    }
}

/// As above at the lengths where one lane's share of a row is longest.
#[test]
fn deviations_of_one_size_in_long_shares() {
    for width in [8_191, 16_382, 32_766, 32_768] {
        for (mean, deviation) in [(0.0, 0.949_14), (0.0, 1.05), (1e6, 1.0)] {
            for kind in [Kind::Layer { ndim: 1 }, Kind::Rms { ndim: 1, offset: 0.0 }] {
                let mut case = Case::new(kind, &[1, width], 0.0);
                let mut sign = 1.0;
                case.x.map_inplace(|v| {
                    *v = mean + sign * deviation;
                    sign = -sign;
                });
                case.check();
            }
        }
    }
}

/// More partials than lanes can take in a short chain.
#[test]
fn deviations_of_one_size_in_many_partials() {
    let tiny = changed(|capabilities| (capabilities.max_invocations, capabilities.subgroup_sizes) = (8, None));
    for (kind, shape) in
        [(Kind::BatchTrain { axis: 1 }, vec![1_000_000, 2]), (Kind::Layer { ndim: 1 }, vec![1, 9_000_002])]
    {
        let mut case = Case::new(kind, &shape, 0.0);
        let mut at = 0;
        case.x.map_inplace(|v| {
            *v = if at / 2 % 2 == 0 { 0.949_14 } else { -0.949_14 };
            at += 1;
        });
        case.check_on("with few lanes", &tiny, &case.oracle());
    }
}

/// Groups of very different size side by side: each is held to its own.
#[test]
fn large_beside_small() {
    for (kind, shape) in every_kind() {
        let mut case = Case::new(kind, &shape, 0.5);
        let last = case.x.shape().to_vec();
        for (index, v) in case.x.indexed_iter_mut() {
            if kind.entry().groups.of(&last, index.slice()).iter().sum::<usize>() % 2 == 1 {
                *v *= 1e7;
            }
        }
        case.check();
    }
}

/// Rows that drift: each partial has a mean of its own, far from the group's.
#[test]
fn slopes() {
    for (kind, shape) in every_kind() {
        let mut case = Case::new(kind, &shape, 0.0);
        let mut at = 0.0;
        case.x.map_inplace(|v| {
            *v = *v * 1e-3 + at;
            at += 0.37;
        });
        case.check();
    }
}

#[test]
fn constant_groups_are_exactly_the_bias() {
    for (kind, shape) in every_kind().into_iter().filter(|(kind, _)| kind.takes("--save-mean")) {
        for value in [0.0, -0.1, 1e6 + 0.0625, 3.3e-5, 7.7e18] {
            let mut case = Case::new(kind, &shape, 0.0);
            case.x.fill(value);
            if let Some(mean) = &mut case.running_mean {
                mean.fill(value);
            }
            let plain = case.clone().plain();
            for (label, gpu) in engines() {
                let out = gpu.run_array_blocking(plain.norm().as_ref(), plain.inputs()).unwrap();
                assert!(out.y.iter().all(|&y| y == 0.0), "{kind:?} {shape:?} {value} {label}");
                if case.bias.is_none() {
                    continue;
                }
                // With weight 1, every element is its bias.
                let (weight, bias) = (case.weight.as_mut().unwrap(), case.bias.as_mut().unwrap());
                weight.fill(1.0);
                bias.fill(0.3);
                let out = gpu.run_array_blocking(case.norm().as_ref(), case.inputs()).unwrap();
                assert!(out.y.iter().all(|&y| y == 0.3), "{kind:?} {shape:?} {value} {label}");
            }
        }
    }
}

/// As the oracle: all of a group that holds NaN or Inf is NaN (RMS: what textbooks give), its `mean` that NaN or Inf,
/// and no other group notices.
#[test]
fn nan_and_infinity() {
    for (kind, shape) in every_kind() {
        let elements: usize = shape.iter().product();
        for place in [0, elements / 2, elements - 1] {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut case = Case::new(kind, &shape, 2.0);
                set(&mut case.x, place, value);
                case.check();
            }
        }
    }
}

#[test]
fn eps_to_the_last_bit() {
    // The variance of these rows is nothing beside eps, so rstd is eps's alone.
    for eps in [1e-5, 1.0000001e-5, 1e-12, 1e-30, 0.3, 1e10, f32::MIN_POSITIVE] {
        for (kind, shape) in every_kind().into_iter().filter(|(kind, _)| !matches!(kind, Kind::BatchEval { .. })) {
            let mut case = Case::new(kind, &shape, 0.0);
            case.x.fill(0.0);
            case.eps = eps;
            case.check();
        }
    }
}

#[test]
fn eps_of_zero() {
    for (kind, shape) in every_kind() {
        let mut case = Case::new(kind, &shape, 0.5);
        case.eps = 0.0;
        case.check();
    }
    // Zero variance then gives NaN, as PyTorch does.
    let mut case = Case::new(Kind::Layer { ndim: 1 }, &[2, 8], 0.0).plain();
    case.eps = 0.0;
    case.x.slice_axis_mut(Axis(0), Slice::from(0..1)).fill(1.5);
    for (_, gpu) in engines() {
        let out = gpu.run_array_blocking(case.norm().as_ref(), case.inputs()).unwrap();
        assert!(out.y.iter().take(8).all(|y| y.is_nan()));
        assert!(out.y.iter().skip(8).all(|y| y.is_finite()));
    }
}

/// Mean and variance exact in binary: mean 0.25 * 2^j, deviations that cancel in pairs. What is left is the rounding of
/// the square root, the division and the product, of which Vulkan allows the first two 3 ulp and 2.5.
#[test]
fn exact_data_is_right_to_a_few_ulp() {
    for (kind, shape) in every_kind() {
        // L1 and L2 have no mean to be exact.
        if matches!(kind, Kind::BatchEval { .. } | Kind::Lp { .. }) {
            continue;
        }
        for power in [0, 4, 10] {
            let mean = 0.25 * f32::powi(2.0, power);
            let mut case = Case::new(kind, &shape, 0.0).plain();
            let mut data = Data::new(7);
            // Each group's elements cancel in pairs; the last of an odd number stays at the mean.
            let mut waiting: HashMap<Vec<usize>, Vec<usize>> = HashMap::new();
            let mut x = ArrayD::from_elem(case.x.shape(), mean);
            for (index, _) in case.x.indexed_iter() {
                let index = index.slice().to_vec();
                let group = kind.entry().groups.of(&shape, &index);
                match waiting.remove(&group) {
                    None => drop(waiting.insert(group, index)),
                    Some(partner) => {
                        let deviation = (1 + data.below(8)) as f32 * 0.125;
                        x[&index[..]] = mean + deviation;
                        x[&partner[..]] = mean - deviation;
                    }
                }
            }
            case.x = x;
            let want = case.oracle();
            for (label, gpu) in engines() {
                let out = gpu.run_array_blocking(case.norm().as_ref(), case.inputs()).unwrap();
                for (got, want) in out.y.iter().zip(want.y.iter()) {
                    let ulp = f64::from((*want as f32).abs().max(f32::MIN_POSITIVE)) * 2f64.powi(-23);
                    assert!((f64::from(*got) - want).abs() <= 8.0 * ulp, "{kind:?} {label}: {got} {want}");
                }
            }
        }
    }
}

fn set(x: &mut ArrayD<f32>, place: usize, value: f32) {
    if let Some(v) = x.iter_mut().nth(place) {
        *v = value;
    }
}
