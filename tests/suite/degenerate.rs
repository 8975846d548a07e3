//! Degenerate input: what the tables of `docs/degenerate.md` say, by hand, is what the oracle and the GPU give.

use std::collections::HashMap;

use wgpu_norm::ndarray::{ArrayD, Dimension};
use wgpu_norm::{Backward, BatchNorm, Inputs, Momentum, VarianceEstimator, reference};

use crate::support::{Case, Gradient, Kind, engines};

/// A line of a table, by the titles of its columns.
type Line = HashMap<&'static str, &'static str>;

/// The tables of the document, by their headings.
fn tables() -> HashMap<&'static str, Vec<Line>> {
    let text = include_str!("../../docs/degenerate.md");
    let mut tables = HashMap::new();
    for section in text.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap();
        let mut rows = section.lines().filter(|line| line.starts_with('|')).map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            cells
        });
        let titles = rows.next().unwrap();
        let lines: Vec<Line> = rows
            .skip(1)
            .map(|cells| {
                assert_eq!(cells.len(), titles.len(), "{cells:?}");
                titles.iter().copied().zip(cells).collect()
            })
            .collect();
        tables.insert(heading, lines);
    }
    tables
}

/// The lines of one table, each with one of the norms it is about; all norms must have some.
fn lines(heading: &str, norms: &[&'static str]) -> Vec<(&'static str, Line)> {
    let mut found = Vec::new();
    for line in &tables()[heading] {
        assert!(line["source"].len() > 3, "{line:?}");
        found.extend(line["norm"].split(", ").map(|norm| (norm, line.clone())));
    }
    for norm in norms {
        assert!(found.iter().filter(|(of, _)| of == norm).count() >= 6, "{heading} of {norm}");
    }
    assert!(found.iter().all(|(norm, _)| norms.contains(norm)), "{heading}: {found:?}");
    found
}

fn numbers(cell: &str) -> Vec<f64> {
    match cell {
        "nothing" | "no group" => Vec::new(),
        cell => cell.split(", ").map(|number| number.parse().unwrap()).collect(),
    }
}

/// A group whose elements are `x`, or two of them, in each layout: the norm, the shape and the axis that they lie along.
fn layouts(norm: &str, x: &str) -> Vec<(Kind, Vec<usize>, usize)> {
    let (n, groups) = if x == "no group" { (4, 0) } else { (numbers(x).len(), 1) };
    let rows = vec![2 * groups, n];
    let columns = vec![n, 2 * groups];
    match norm {
        "Layer" => vec![(Kind::Layer { ndim: 1 }, vec![groups, n], 1)],
        "Rms" => vec![(Kind::Rms { ndim: 1, offset: 0.0 }, vec![groups, n], 1)],
        "Group" => vec![
            (Kind::Group { groups: 2, axis: 1 }, vec![groups, 2, n], 2),
            (Kind::Group { groups: 2, axis: 2 }, vec![groups, n, 2], 1),
        ],
        "Instance" => vec![
            (Kind::Instance { axis: 1 }, vec![groups, 2, n], 2),
            (Kind::Instance { axis: 2 }, vec![groups, n, 2], 1),
        ],
        "Batch" => {
            vec![(Kind::BatchTrain { axis: 1 }, vec![1, 2, n], 2), (Kind::BatchTrain { axis: 1 }, vec![n, 2], 0)]
        }
        "Eval" => vec![(Kind::BatchEval { axis: 1 }, vec![1, 2, n], 2), (Kind::BatchEval { axis: 1 }, vec![n, 2], 0)],
        "Mvn" => vec![(Kind::Mvn { axes: &[1] }, rows, 1), (Kind::Mvn { axes: &[0] }, columns, 0)],
        "L1" => vec![(Kind::Lp { p: 1, axes: &[1] }, rows, 1), (Kind::Lp { p: 1, axes: &[0] }, columns, 0)],
        "L2" => vec![(Kind::Lp { p: 2, axes: &[1] }, rows, 1), (Kind::Lp { p: 2, axes: &[0] }, columns, 0)],
        norm => panic!("no norm {norm}"),
    }
}

/// The case that a line is about, and the axis of its elements.
fn cases(norm: &str, line: &Line) -> Vec<(Case, usize)> {
    let x = numbers(line["x"]);
    let number = |title: &str| line.get(title).map(|cell| numbers(cell)[0] as f32);
    let case = |(kind, shape, along): (Kind, Vec<usize>, usize)| {
        let eps = number("eps").unwrap_or(0.25);
        let parameters = kind.norm(&shape, eps, None).unwrap().parameter_shape();
        let affine = kind.is_affine();
        let of = |value: f32| Some(ArrayD::from_elem(&parameters[..], value));
        let eval = norm == "Eval";
        let case = Case {
            eps,
            x: ArrayD::from_shape_fn(&shape[..], |index| x[index[along]] as f32),
            weight: of(2.0).filter(|_| affine),
            bias: of(0.5).filter(|_| affine),
            running_mean: of(2.0).filter(|_| eval),
            running_var: number("running var").and_then(of).filter(|_| eval),
            ..Case::new(kind, &shape, 0.0)
        };
        (case, along)
    };
    layouts(norm, line["x"]).into_iter().map(case).collect()
}

/// What a column says: one value for all, or those along the axis.
fn check(what: &str, cell: &str, got: &ArrayD<f64>, along: usize) {
    let want = numbers(cell);
    assert_eq!(got.is_empty(), want.is_empty(), "{what}: {got} for {cell}");
    for (index, &got) in got.indexed_iter() {
        let want = if want.len() == 1 { want[0] } else { want[index.slice()[along]] };
        let same = got == want || got.is_nan() && want.is_nan();
        assert!(same || (got - want).abs() <= 4e-6 * want.abs().max(1.0), "{what}: {got} at {index:?} for {cell}");
    }
}

#[test]
fn forward() {
    let norms = ["Layer", "Group", "Instance", "Batch", "Rms", "Mvn", "L1", "L2"];
    let given = lines("Given statistics", &["Eval"]);
    for (norm, line) in lines("Forward", &norms).into_iter().chain(given) {
        for (case, along) in cases(norm, &line) {
            let what = format!("{line:?} {:?}", case.kind);
            let want = case.oracle();
            check(&format!("y of the oracle: {what}"), line["y"], &want.y, along);
            if norm == "Eval" {
                assert!(want.mean.is_none());
            } else {
                match line["mean"] {
                    "–" => assert!(want.mean.is_none(), "{what}"),
                    mean => check(&format!("mean of the oracle: {what}"), mean, want.mean.as_ref().unwrap(), along),
                }
                check(&format!("rstd of the oracle: {what}"), line["rstd"], &want.rstd, along);
            }
            for (label, gpu) in engines() {
                let mut inputs = case.inputs();
                if want.mean.is_some() {
                    inputs = inputs.with_mean();
                }
                if norm != "Eval" {
                    inputs = inputs.with_rstd();
                }
                let out = gpu.run_array_blocking(case.norm().as_ref(), inputs).unwrap();
                check(&format!("y {label}: {what}"), line["y"], &out.y.mapv(f64::from), along);
                for (title, got) in [("mean", out.mean), ("rstd", out.rstd)] {
                    if let Some(got) = got {
                        check(&format!("{title} {label}: {what}"), line[title], &got.mapv(f64::from), along);
                    }
                }
            }
        }
    }
}

#[test]
fn gradients() {
    let given = lines("Given statistics", &["Eval"]);
    for (norm, line) in lines("Gradients", &["Layer", "Rms", "Group", "Instance", "Batch"]).into_iter().chain(given) {
        for (case, along) in cases(norm, &line) {
            let what = format!("{line:?} {:?}", case.kind);
            let dy = ArrayD::from_shape_fn(case.x.shape(), |index| 1.0 + index[along] as f32);
            let gradient = Gradient { case, dy };
            // Where each element has its own weight, the axis of the weights is that of the elements.
            let check_all = |by: &str, [dx, dweight, dbias]: [&ArrayD<f64>; 3]| {
                for (title, got, along) in [("dx", dx, along), ("dweight", dweight, 0), ("dbias", dbias, 0)] {
                    check(&format!("{title} {by}: {what}"), line[title], got, along);
                }
            };
            let want = gradient.oracle();
            check_all("of the oracle", [&want.dx, &want.dweight, &want.dbias]);
            let saved = (!gradient.is_eval()).then(|| Backward::new().saved_statistics());
            for (label, gpu) in engines() {
                for wanted in [Some(Backward::new()), saved].into_iter().flatten() {
                    let out = gradient.try_on(label, gpu, wanted, &want).unwrap();
                    let wide = [out.input, out.weight, out.bias].map(|got| got.unwrap().mapv(f64::from));
                    check_all(&format!("{label} {wanted:?}"), wide.each_ref());
                }
            }
        }
    }
}

#[test]
fn running_statistics() {
    for (norm, line) in lines("Running statistics", &["Batch"]) {
        let estimator = match line["variance"] {
            "biased" => VarianceEstimator::Biased,
            "unbiased" => VarianceEstimator::Unbiased,
            other => panic!("no estimator {other}"),
        };
        for (case, along) in cases(norm, &line) {
            let what = format!("{line:?} {:?}", case.x.shape());
            let [mean, var] = [0.0, 1.0].map(|value| ArrayD::from_elem(&[2][..], value));
            let check_both = |by: &str, [mean, var]: [ArrayD<f64>; 2]| {
                check(&format!("running mean {by}: {what}"), line["running mean"], &mean, along);
                check(&format!("running var {by}: {what}"), line["running var"], &var, along);
            };
            // An empty batch is no batch: nothing is updated.
            if !case.x.is_empty() {
                let batch = case.oracle();
                let variance = batch.variance.unwrap();
                let variance = match estimator {
                    VarianceEstimator::Unbiased => reference::unbiased(variance.view(), case.x.len() / 2),
                    _ => variance,
                };
                let update = |old: &ArrayD<f32>, batch: &ArrayD<f64>| {
                    reference::update_running(old.mapv(f64::from).view(), batch.view(), 0.5, 0.5)
                };
                check_both("of the oracle", [update(&mean, &batch.mean.unwrap()), update(&var, &variance)]);
            }
            for (label, gpu) in engines() {
                let norm = BatchNorm::new(case.x.shape(), 1).unwrap().running_variance(estimator);
                let norm = norm.momentum(Momentum::exponential(0.5));
                let inputs = Inputs::new(case.x.view()).running_mean(mean.view()).running_var(var.view());
                let out = gpu.run_array_blocking(&norm, inputs.num_batches_tracked(7)).unwrap();
                check_both(label, [out.running_mean, out.running_var].map(|got| got.unwrap().mapv(f64::from)));
                assert_eq!(out.num_batches_tracked, Some(if case.x.is_empty() { 7 } else { 8 }), "{what}");
            }
        }
    }
}

/// Vectors of length 0 as every kind of plan, beside others.
#[test]
fn zero_vectors_without_eps() {
    let shapes: [(&'static [isize], Vec<usize>); 6] = [
        (&[1], vec![3, 9]),
        (&[1], vec![3, 700]),
        (&[1], vec![300, 64]),
        (&[1], vec![2, 40_000]),
        (&[0], vec![2_000, 12]),
        (&[0, 2], vec![5, 3, 140]),
    ];
    for (axes, shape) in shapes {
        for p in [1, 2] {
            let mut case = Case::new(Kind::Lp { p, axes }, &shape, 0.5);
            case.eps = if p == 1 { 0.0 } else { -0.0 };
            let group = |index: &[usize]| index[usize::from(axes == [0] || axes == [0, 2])];
            for (index, v) in case.x.indexed_iter_mut() {
                if group(index.slice()) == 0 {
                    *v = 0.0;
                }
            }
            case.check();
            assert_eq!(case.oracle().rstd.iter().next(), Some(&0.0), "{shape:?}");
        }
    }
}
