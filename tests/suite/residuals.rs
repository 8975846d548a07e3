//! `x + residual` normalized in one pass, by every norm: what the norm gives of the sum.

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::{Activation, Element, Engine, Gpu};

use crate::support::{Case, Data, Kind, close_to, cpu, every_kind, gpus};

/// The case of the sum, `x` and the residual.
fn split(case: &mut Case) -> [ArrayD<f32>; 2] {
    let residual = Data::new(3).normal(case.x.shape(), -3.0, 1.0).mapv(|v| case.storage.of_input().rounded(v));
    let x = std::mem::take(&mut case.x);
    case.x = &x + &residual;
    [x, residual]
}

fn check(mut case: Case, on: &[Engine]) {
    let [x, residual] = split(&mut case);
    let (want, norm) = (case.oracle(), case.norm());
    for engine in on {
        let parameters = case.parameters().map(|array| array.view());
        let with = parameters.beside(x.view()).residual(residual.view()).with_residual_out();
        let out = engine.run_array_blocking(norm.as_ref(), with).unwrap();
        let what = format!("{:?} {:?} {}", case.kind, x.shape(), engine.describe());
        let stored = case.x.mapv(|v| case.storage.of_input().rounded(v));
        assert_eq!(out.residual_out.unwrap(), stored, "{what}");
        close_to(case.storage.of_output(), &what, &out.y, &want.y, &want.scale);
    }
}

fn engines(gpus: &[(&str, Gpu)]) -> Vec<Engine> {
    gpus.iter().map(|(_, gpu)| gpu.clone().into()).chain([cpu().clone().into()]).collect()
}

#[test]
fn every_kind_takes_one() {
    for (kind, shape) in every_kind() {
        check(Case::new(kind, &shape, 1.0), &engines(&[gpus()[0].clone(), gpus()[3].clone()]));
    }
    // Columns that are held.
    for rows in [2, 7] {
        let case = Case::new(Kind::Instance { axis: 2 }, &[3, rows, 20], 1.0);
        check(case.then(Activation::Silu), &engines(&gpus()[..1]));
    }
}

/// Statistics and `y` are those of the sum before it is rounded.
#[test]
fn of_16_bits_as_well() {
    for (kind, shape) in every_kind() {
        let case = Case::new(kind, &shape, 1.0).stored_as(Element::F16, Element::F32);
        check(case, &engines(&gpus()[..1]));
    }
}
