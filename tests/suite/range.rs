//! The whole range of f32: values from 1e-36 to 3e38, whose squares are no f32, in every norm and plan, forward and backward.

use wgpu_norm::ndarray::{ArrayD, Dimension};
use wgpu_norm::{Backward, BatchNorm, Inputs, LpNorm, Operands};

use crate::support::device::{Tensor, run};
use crate::support::{Case, Data, Gradient, Kind, engines, every_kind, gpu, gpus, part};

/// The ends of the range, and either side of where squares begin to vanish or overflow; then what is between.
const SCALES: [f32; 15] =
    [1e-36, 1e-18, 1e19, 7e37, 1e-22, 1e18, 1e-33, 1e-27, 1e-19, 1e-15, 1e-12, 1e10, 1e17, 1e25, 1e33];

fn scales() -> &'static [f32] {
    part(&SCALES, 4)
}

/// Inputs that are no normal numbers count as 0 where the adapter flushes them; here everywhere.
fn scaled(x: &ArrayD<f32>, scale: f32) -> ArrayD<f32> {
    x.mapv(|v| v * scale).mapv(|v| if v.abs() < f32::MIN_POSITIVE { 0.0 } else { v })
}

/// At `scale`; none if running statistics would not be f32, or where differences that are no normal numbers, which adapters may
/// flush, would show: `eps` decides then, and nothing is done again for them.
fn at_scale(mut case: Case, scale: f32, eps: f32) -> Option<Case> {
    case.x = scaled(&case.x, scale);
    case.eps = eps;
    if eps > 1e-24 && scale < 1e-29 {
        return None;
    }
    if let (Some(mean), Some(var)) = (&mut case.running_mean, &mut case.running_var) {
        mean.map_inplace(|v| *v *= scale);
        var.map_inplace(|v| *v *= scale * scale);
        if var.iter().any(|v| !v.is_normal()) {
            return None;
        }
    }
    Some(case)
}

#[test]
fn every_scale() {
    for (kind, shape) in every_kind() {
        for mean in [0.0, 2.0] {
            let case = Case::new(kind, &shape, mean);
            for &scale in scales() {
                for eps in [0.0, 1e-30, 1e-5] {
                    if let Some(case) = at_scale(case.clone(), scale, eps) {
                        case.check();
                    }
                }
            }
        }
    }
}

/// A small standard deviation, which only the difference of two inputs shows.
#[test]
fn far_from_zero() {
    for (kind, shape) in every_kind() {
        let case = Case::new(kind, &shape, 1e6);
        for scale in [1e-36, 1e-25, 1e25, 1e32] {
            if let Some(case) = at_scale(case.clone(), scale, 0.0) {
                case.check();
            }
        }
    }
}

/// From one end of the range to the other within a group, so that its tiles are of different scales.
#[test]
fn every_scale_in_one_group() {
    for (kind, shape) in every_kind() {
        for up in [true, false] {
            let mut case = Case::new(kind, &shape, 0.0);
            let elements = case.x.len() as f32;
            let mut at = 0.0;
            case.x.map_inplace(|v| {
                let along = if up { at / elements } else { 1.0 - at / elements };
                *v *= f32::powf(10.0, 73.0 * along - 36.0);
                at += 1.0;
            });
            case.x = scaled(&case.x, 1.0);
            case.eps = 0.0;
            if case.running_mean.is_none() {
                case.check();
            }
        }
    }
}

/// Tiles of constants, whose deviations show only between tiles.
#[test]
fn constant_tiles() {
    for (kind, shape) in every_kind() {
        for (one, other) in [(3e38, -3e38), (2e30, -1e30), (3e-30, 1e-30), (1e-36, -2e-36)] {
            let mut case = Case::new(kind, &shape, 0.0);
            let half = case.x.len() / 2;
            let mut at = 0;
            case.x.map_inplace(|v| {
                *v = if at < half { one } else { other };
                at += 1;
            });
            case.eps = 1e-37;
            if case.running_mean.is_none() {
                case.check();
            }
        }
    }
}

/// Groups of every scale side by side, some of which are done again and some not.
#[test]
fn scales_side_by_side() {
    for (kind, shape) in every_kind() {
        let case = Case::new(kind, &shape, 1.0);
        let shape = case.x.shape().to_vec();
        if case.running_mean.is_some() {
            continue;
        }
        for (eps, least) in [(0.0, 1e-36), (1e-5, 1e-29)] {
            let mut case = Case { eps, ..case.clone() };
            for (index, v) in case.x.indexed_iter_mut() {
                let group: usize = kind.entry().groups.of(&shape, index.slice()).iter().sum();
                *v *= [1.0, 1e-28, 1e30, least, 1e37][group % 5];
            }
            case.x = scaled(&case.x, 1.0);
            case.check();
        }
    }
}

#[test]
fn gradients_at_every_scale() {
    for (kind, shape) in every_kind() {
        if !kind.has_backward() {
            continue;
        }
        let gradient = Gradient::new(kind, &shape, 2.0);
        for &scale in scales() {
            for eps in [0.0, 1e-5] {
                let Some(case) = at_scale(gradient.case.clone(), scale, eps) else { continue };
                Gradient { case, dy: gradient.dy.clone() }.check_all(gpus());
            }
        }
    }
}

/// Of small and large gradients, at every scale of x.
#[test]
fn gradients_of_every_scale() {
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![3, 700]),
        (Kind::Layer { ndim: 1 }, vec![2, 40_000]),
        (Kind::Group { groups: 2, axis: 2 }, vec![2, 333, 4]),
        (Kind::BatchTrain { axis: 1 }, vec![5, 3, 140]),
    ] {
        let gradient = Gradient::new(kind, &shape, 2.0);
        for &scale in part(&[1e-16, 1e17, 1e-30, 1e-18, 1e-15, 1.0, 1e14, 1e30], 3) {
            for of_dy in [1e-17, 1e17] {
                let Some(case) = at_scale(gradient.case.clone(), scale, 0.0) else { continue };
                Gradient { case, dy: gradient.dy.mapv(|v| v * of_dy) }.check_all(gpus());
            }
        }
    }
}

/// As ONNX's LpNormalization: no direction, and no NaN.
#[test]
fn the_zero_vector_stays() {
    let x = [0.0, 0.0, 0.0, 3.0, 4.0, 0.0];
    for (_, gpu) in engines() {
        let y = |norm: LpNorm| gpu.run_blocking(&norm.eps(0.0), Inputs::new(&x[..])).unwrap().y;
        assert_eq!(y(LpNorm::l2(&[2, 3], &[1]).unwrap()), [0.0, 0.0, 0.0, 0.6, 0.8, 0.0]);
        let l1 = y(LpNorm::l1(&[2, 3], &[1]).unwrap());
        assert_eq!(l1[..3], [0.0; 3]);
        assert!((l1[3] - 3.0 / 7.0).abs() < 1e-6 && (l1[4] - 4.0 / 7.0).abs() < 1e-6);
    }
}

/// Running statistics need not be those of the values: a channel that was dead has a variance of 0.
#[test]
fn running_statistics_of_other_values() {
    for (variance, eps) in [(0.0, 1e-30), (1e-32, 0.0), (1e30, 1e-5)] {
        for value in [1e-10, 1.0, 1e10, 1e20] {
            let mut case = Case::new(Kind::BatchEval { axis: 1 }, &[4, 3, 7], 0.0);
            case.x.map_inplace(|v| *v *= value);
            case.running_mean.as_mut().unwrap().fill(0.0);
            case.running_var.as_mut().unwrap().fill(variance);
            case.eps = eps;
            case.check();
        }
    }
}

/// Sums of squares that are at a threshold in one order of merging and not in the other: all lanes must decide alike.
#[test]
fn lanes_decide_alike() {
    for (counts, apart, eps) in [([126.0, 28.0], 235231701368832.0_f32, 1e-5), ([78.0, 123.0], 9.113106e-16, 0.0)] {
        let norm = BatchNorm::new(&[154, 1], 1).unwrap().eps(eps).without_tracking();
        for (label, gpu) in gpus() {
            let mut moments = vec![0.0; 4 * 24];
            (moments[0], moments[4], moments[5]) = (counts[0], counts[1], apart);
            let x = vec![apart; 154];
            let plan = gpu.context().plan_from_moments(&norm, 24).unwrap();
            let [x, moments] = [&x, &moments].map(|values| Tensor::new(gpu, values));
            let (y, rstd) = (Tensor::unwritten(gpu, 154), Tensor::unwritten(gpu, 1));
            run(gpu, &plan, &Operands::new(x.view(), y.view()).moments(moments.view()).rstd(rstd.view()));
            let [n, m] = counts.map(f64::from);
            let (part, apart) = (m / (n + m), f64::from(apart));
            let want = 1.0 / (part * (1.0 - part) * apart * apart + f64::from(eps)).sqrt();
            assert!((f64::from(rstd.read()[0]) / want - 1.0).abs() < 4e-6, "{label}: {:?} {want}", rstd.read());
            let want = (1.0 - part) * apart * want;
            assert!(
                y.read().iter().all(|&y| (f64::from(y) / want - 1.0).abs() < 4e-6),
                "{label}: {:?} {want}",
                y.read()
            );
        }
    }
}

/// The longest rows of one lane, done again: no loop may end early.
#[test]
fn the_longest_rows() {
    for &(width, scale) in part(&[(16_383, 1e30), (16_383, 1e-30), (16_384, 1e30), (16_384, 1e-30)], 1) {
        let case = at_scale(Case::new(Kind::Layer { ndim: 1 }, &[257, width], 1.0), scale, 0.0).unwrap();
        case.check_on("as it is", gpu(), &case.oracle());
        let dy = Data::new(3).normal(case.x.shape(), 0.3, 1.0);
        let gradient = Gradient { case, dy };
        gradient.check_on("as it is", gpu(), Backward::new(), &gradient.oracle());
    }
}
