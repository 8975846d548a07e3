//! The float64 oracle against PyTorch in float64.

use wgpu_norm::ndarray::{ArrayD, Zip};
use wgpu_norm::reference::{self, Backward, Forward};

use crate::golden::{self, Case};

/// Relative to the scale of the terms.
const TOLERANCE: f64 = 1e-12;

fn forward(case: &Case) -> Forward {
    case.kind().oracle(&case.exact())
}

pub fn backward(case: &Case, dy: &ArrayD<f32>) -> Backward {
    case.kind().gradients(&case.exact(), &dy.mapv(f64::from)).unwrap()
}

/// The largest distance of two arrays, element by element relative to `scale`.
fn distance(got: &ArrayD<f64>, want: &ArrayD<f64>, scale: &ArrayD<f64>) -> f64 {
    assert_eq!(got.shape(), want.shape());
    assert_eq!(got.shape(), scale.shape());
    Zip::from(got).and(want).and(scale).fold(0.0, |worst, g, w, s| {
        let relative = if g == w { 0.0 } else { (g - w).abs() / s };
        // A NaN is to fail.
        if relative <= worst { worst } else { relative }
    })
}

/// What two correct float64 computations may differ by. A mean far from 0 is rounded coarsely
/// compared to the standard deviation; the oracle does so once, PyTorch several times: it streams
/// the mean, and folds a given one into the bias.
fn tolerance(case: &Case, out: &Forward) -> f64 {
    let given = || Some(case.running_mean.as_ref()?.mapv(f64::from));
    let Some(mean) = out.mean.clone().or_else(given) else { return TOLERANCE };
    let far = Zip::from(&mean).and(&out.rstd).fold(0.0, |f: f64, m, r| f.max((m * r).abs()));
    TOLERANCE + 2.0 * f64::EPSILON * far
}

#[test]
fn the_oracle_agrees_with_pytorch() {
    let cases = golden::cases();
    assert!(cases.len() > 40, "only {} golden cases", cases.len());
    for case in &cases {
        let out = forward(case);
        let name = &case.name;
        let tolerance = tolerance(case, &out);

        let y = distance(&out.y, &case.y, &out.scale);
        assert!(y <= tolerance, "{name}: y is off by {y:e}");
        let rstd = distance(&out.rstd, &case.rstd, &case.rstd);
        assert!(rstd <= tolerance, "{name}: rstd is off by {rstd:e}");
        assert_eq!(out.mean.is_some(), case.mean.is_some(), "{name}");
        if let (Some(got), Some(want)) = (&out.mean, &case.mean) {
            let largest = case.x.iter().fold(0.0_f64, |l, &v| l.max(f64::from(v).abs()));
            let mean = distance(got, want, &want.mapv(|_| largest));
            assert!(mean <= TOLERANCE, "{name}: mean is off by {mean:e}");
        }
    }
}

#[test]
fn the_oracle_updates_running_statistics_as_pytorch_does() {
    let cases = golden::cases();
    let mut checked = 0;
    for case in cases.iter().filter(|case| case.training == Some(true)) {
        let name = &case.name;
        let out = forward(case);
        let (keep, take) = case.keep_and_take();
        let update = |running: &Option<ArrayD<f32>>, batch: &ArrayD<f64>| {
            let running = running.as_ref().expect("a running statistic").mapv(f64::from);
            reference::update_running(running.view(), batch.view(), keep, take)
        };

        let mean = out.mean.as_ref().expect("a mean");
        let got = update(&case.running_mean, mean);
        let want = case.running_mean_out.as_ref().expect("a running mean");
        let largest = case.x.iter().fold(1.0_f64, |l, &v| l.max(f64::from(v).abs()));
        let off = distance(&got, want, &want.mapv(|_| largest));
        assert!(off <= TOLERANCE, "{name}: running mean is off by {off:e}");

        let variance = out.variance.as_ref().expect("a variance");
        let of_channel = case.x.len() / variance.len();
        let variance = match case.estimator.as_deref() {
            Some("unbiased") => reference::unbiased(variance.view(), of_channel),
            Some("population") => variance.clone(),
            other => panic!("{name}: no estimator is called {other:?}"),
        };
        let got = update(&case.running_var, &variance);
        let want = case.running_var_out.as_ref().expect("a running variance");
        let off = distance(&got, want, want);
        assert!(off <= tolerance(case, &out), "{name}: running variance is off by {off:e}");
        checked += 1;
    }
    assert!(checked > 8, "only {checked} training batches");
}

#[test]
fn the_oracle_has_the_gradients_of_pytorch() {
    let cases = golden::cases();
    let mut checked = 0;
    for case in &cases {
        let Some(dy) = &case.grad_output else { continue };
        let (name, out) = (&case.name, backward(case, dy));
        let tolerance = tolerance(case, &forward(case));
        for (what, got, want, scale) in [
            ("grad_input", &out.dx, &case.grad_input, &out.dx_scale),
            ("grad_weight", &out.dweight, &case.grad_weight, &out.dweight_scale),
            ("grad_bias", &out.dbias, &case.grad_bias, &out.dbias_scale),
        ] {
            let want = want.as_ref().expect("every gradient");
            let off = distance(got, want, scale);
            assert!(off <= tolerance, "{name}: {what} is off by {off:e}");
        }
        checked += 1;
    }
    assert!(checked > 20, "only {checked} cases with gradients");
}
