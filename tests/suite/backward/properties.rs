//! Random norms, shapes and plans: gradients as the oracle has them, linear in dy, the same from saved statistics, and, like
//! moments and sums, the same from parts of a batch as from the whole.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestError, TestRunner};
use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::{Activation, Backward, Gradients, Moments};

use crate::support::random::{Device, config, devices, kind, refused, shapes};
use crate::support::{Data, Gradient, close};

const CASES: u32 = 50;

#[derive(Debug, Clone)]
struct Spec {
    shape: Vec<usize>,
    kind: [u8; 3],
    offset: f32,
    mean: f32,
    plain: bool,
    wanted: [bool; 3],
    factor: f32,
    device: Device,
    saved_on: Device,
}

fn specs() -> impl Strategy<Value = Spec> {
    let numbers = (select(vec![0.0f32, 1.0]), select(vec![0.0f32, 3.0, 1e3, 1e6]), select(vec![-2.0f32, 0.5, 1024.0]));
    let choices = (0..6u8, any::<u8>(), any::<u8>());
    let flags = (any::<bool>(), any::<[bool; 3]>());
    (shapes(), choices, numbers, flags, devices(), devices()).prop_map(
        |(shape, (which, place, part), (offset, mean, factor), (plain, wanted), device, saved_on)| Spec {
            shape,
            kind: [which, place, part],
            offset,
            mean,
            plain,
            wanted: if wanted == [false; 3] { [true; 3] } else { wanted },
            factor,
            device,
            saved_on,
        },
    )
}

impl Spec {
    fn gradient(&self) -> Gradient {
        let gradient = Gradient::new(kind(&self.shape, self.kind, self.offset), &self.shape, self.mean);
        let gradient = if self.plain { gradient.plain() } else { gradient };
        // After a third of the norms.
        match Activation::ALL.get(usize::from(self.kind[2]) / 4 % 12) {
            Some(activation) => gradient.then(*activation),
            None => gradient,
        }
    }

    fn wanted(&self) -> Backward {
        let [input, weight, bias] = self.wanted;
        let wanted = if input { Backward::new() } else { Backward::new().without_input() };
        let wanted = if weight { wanted } else { wanted.without_weight() };
        if bias { wanted } else { wanted.without_bias() }
    }

    /// How many times it ran and was not refused.
    fn hold(&self) -> u32 {
        let gradient = self.gradient();
        let want = gradient.oracle();
        let run = |gradient: &Gradient, wanted: Backward, device: Device, want| {
            device.with_gpu(|label, gpu| match gradient.try_on(label, gpu, wanted, want) {
                Ok(gradients) => Some(gradients),
                Err(error) => {
                    refused(error, device, &format!("{self:?}"));
                    None
                }
            })
        };
        let mut runs = 0;
        if !gradient.is_eval() {
            runs += u32::from(run(&gradient, self.wanted().saved_statistics(), self.saved_on, &want).is_some());
        }
        let Some(once) = run(&gradient, self.wanted(), self.device, &want) else { return runs };
        // Powers of two change no rounding.
        if self.factor.abs().log2().fract() == 0.0 {
            let mut scaled = self.gradient();
            scaled.dy.mapv_inplace(|v| v * self.factor);
            let want = scaled.oracle();
            if let Some(more) = run(&scaled, self.wanted(), self.device, &want) {
                let times = |gradients: Gradients<ArrayD<f32>>| {
                    [gradients.input, gradients.weight, gradients.bias].map(|g| g.map(|g| g.mapv(|v| v * self.factor)))
                };
                assert_eq!(times(once), [more.input, more.weight, more.bias], "{self:?}");
                runs += 1;
            }
        }
        runs + 1
    }
}

#[test]
fn random_gradients_are_as_promised() {
    let config = config(CASES);
    let cases = config.cases;
    let runs = std::cell::Cell::new(0);
    let result = TestRunner::new(config).run(&specs(), |spec| {
        runs.set(runs.get() + spec.hold());
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, spec)) => panic!("{reason}\n{spec:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    assert!(runs.get() > cases, "of {cases} cases only {} runs were not refused", runs.get());
}

/// Sums are linear in dy up to rounding.
#[test]
fn the_gradient_of_a_sum_is_the_sum_of_gradients() {
    let spec = |which| Spec {
        shape: vec![6, 8, 30],
        kind: [which, 1, 1],
        offset: 0.0,
        mean: 10.0,
        plain: false,
        wanted: [true; 3],
        factor: 1.0,
        device: Device::Shared(0),
        saved_on: Device::Shared(0),
    };
    for which in 0..6 {
        let mut one = spec(which).gradient();
        let other = Data::new(77).normal(one.dy.shape(), -0.4, 2.0);
        let first = one.dy.clone();
        one.dy = &first + &other;
        let want = one.oracle();
        let run = |dy: &ArrayD<f32>| {
            let mut part = spec(which).gradient();
            part.dy = dy.clone();
            let oracle = part.oracle();
            Device::Shared(0).with_gpu(|label, gpu| part.try_on(label, gpu, Backward::new(), &oracle).unwrap())
        };
        let (a, b) = (run(&first), run(&other));
        for (a, b, want, scale) in [
            (a.input, b.input, &want.dx, &want.dx_scale),
            (a.weight, b.weight, &want.dweight, &want.dweight_scale),
            (a.bias, b.bias, &want.dbias, &want.dbias_scale),
        ] {
            // The parts are larger than their sum where they cancel.
            close(&format!("{which}"), &(a.unwrap() + b.unwrap()), want, &scale.mapv(|s| 4.0 * s));
        }
    }
}

#[test]
fn moments_merge_whatever_the_cuts() {
    let values = (select(vec![0.0f32, 1.0, 1e6]), vec(-1.0f32..1.0, 0..200));
    let cuts = vec(0..200usize, 0..6);
    let result =
        TestRunner::new(config(500)).run(&(values, cuts, any::<bool>()), |((mean, values), mut cuts, reverse)| {
            let values: Vec<f32> = values.into_iter().map(|v| v + mean).collect();
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(values.len()));
            cuts.extend([0, values.len()]);
            cuts.sort_unstable();
            let mut parts: Vec<Moments> = cuts.windows(2).map(|cut| Moments::of(&values[cut[0]..cut[1]])).collect();
            if reverse {
                parts.reverse();
            }
            let merged = parts.into_iter().fold(Moments::default(), |all, part| all.merge(part));
            let whole = Moments::of(&values);
            prop_assert_eq!(merged.count(), whole.count());
            let size = f64::from(mean).abs() + 1.0;
            prop_assert!((merged.mean() - whole.mean()).abs() <= 1e-12 * size + 1e-7, "{:?} {:?}", merged, whole);
            let off = (merged.sum() - whole.sum()).abs();
            prop_assert!(off <= 4e-6 * whole.sum() + 1e-12, "{:?} {:?}", merged, whole);
            Ok(())
        });
    result.unwrap();
}
