//! Slices and views of 16-bit elements, as they are, on a GPU and the CPU: they give what f32 gives that is rounded on its way.

use half::{bf16, f16};
use wgpu_norm::Element::{Bf16, F16, F32};
use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::{
    Backward, BatchNorm, BindError, Element, Engine, Error, Inputs, LayerNorm, Merged, Norm, Number, Storage,
};

use crate::support::{Data, Gradient, Kind, cpu, every_kind, gpu};

/// A 16-bit type, with what a test needs of it.
trait Short: Number + PartialEq {
    fn of(value: f32) -> Self;
}

impl Short for f16 {
    fn of(value: f32) -> Self {
        Self::from_f32(value)
    }
}

impl Short for bf16 {
    fn of(value: f32) -> Self {
        Self::from_f32(value)
    }
}

fn engines() -> [Engine; 2] {
    [Engine::from(gpu().clone()), Engine::from(cpu().clone())]
}

fn short<T: Short>(array: &ArrayD<f32>) -> ArrayD<T> {
    array.mapv(T::of)
}

/// The same array, otherwise in memory.
fn turned<T: Clone>(array: &ArrayD<T>) -> ArrayD<T> {
    array.t().as_standard_layout().into_owned().reversed_axes()
}

/// Views, of results of that size and of statistics; the types of weight and bias say how they are stored.
fn views_of<T: Short>(kind: Kind, shape: &[usize], parameters: Element) {
    let Gradient { case, dy } = Gradient::new(kind, shape, 2.0).stored_as(T::ELEMENT, parameters);
    let norm = kind.norm(shape, case.eps, None).unwrap();
    let [x, grad_output] = [&case.x, &dy].map(|array| turned(&short::<T>(array)));
    let given = case.parameters();
    let running = given.running_mean.zip(given.running_var);
    let [weight, bias] = [given.weight, given.bias].map(|array| array.map(short::<T>));
    for engine in engines() {
        let what = format!("{} of {shape:?} in {} on {}", norm.name(), T::ELEMENT, engine.describe());
        let mut inputs = Inputs::new(x.view());
        if let Some((mean, var)) = running {
            inputs = inputs.running_mean(mean.view()).running_var(var.view());
        }
        let mut forward = match (&weight, given.weight) {
            (Some(short), _) if parameters != F32 => inputs.clone().weight(short.view()),
            (_, Some(wide)) => inputs.clone().weight(wide.view()),
            _ => inputs.clone(),
        };
        let backward = forward.clone().grad_output(grad_output.view());
        forward = match (&bias, given.bias) {
            (Some(short), _) if parameters != F32 => forward.bias(short.view()),
            (_, Some(wide)) => forward.bias(wide.view()),
            _ => forward,
        };
        let got = engine.run_array_blocking(&norm, forward).unwrap();
        let want = engine.run_array_blocking(&case.norm(), case.inputs()).unwrap();
        assert_eq!(got.y, short::<T>(&want.y), "{what}");
        assert_eq!((got.running_mean, got.running_var), (want.running_mean, want.running_var), "{what}");
        if !kind.has_backward() {
            continue;
        }
        let got = engine.run_backward_array_blocking(&norm, Backward::new(), backward).unwrap();
        let going_back = case.parameters().going_back(kind, None).map(|array| array.view()).beside(case.x.view());
        let inputs = going_back.grad_output(dy.view());
        let want = engine.run_backward_array_blocking(&case.norm(), Backward::new(), inputs).unwrap();
        assert_eq!(got.input, want.input.map(|array| short(&array)), "{what}");
        assert_eq!((got.weight, got.bias), (want.weight, want.bias), "{what}");
    }
}

#[test]
fn views() {
    for (kind, shape) in every_kind() {
        views_of::<f16>(kind, &shape, F32);
    }
    for (kind, shape) in [
        (Kind::Rms { ndim: 1, offset: 1.0 }, vec![5, 33]),
        (Kind::Instance { axis: 2 }, vec![3, 7, 5]),
        (Kind::BatchEval { axis: 1 }, vec![9, 7]),
    ] {
        views_of::<bf16>(kind, &shape, Bf16);
    }
}

/// With a residual, statistics, and gradients that are added to.
#[test]
fn slices() {
    let shape = [6, 33];
    let norm = || LayerNorm::new(&shape, &[33]).unwrap();
    let stored = norm().stored_as(F16);
    let mut data = Data::new(4);
    let [x, residual, dy] =
        [0; 3].map(|_| data.normal(&shape, 1.0, 1.0).mapv(|v| F16.rounded(v)).into_raw_vec_and_offset().0);
    let [short_x, short_residual, short_dy] =
        [&x, &residual, &dy].map(|values| Vec::from_iter(values.iter().map(|&v| f16::of(v))));
    let weight: Vec<f32> = (0..33).map(|i| 1.0 + 0.01 * i as f32).collect();
    let so_far = vec![3.0; 33];
    for engine in engines() {
        let inputs = Inputs::new(&short_x[..]).residual(&short_residual).weight(&weight);
        let got = engine.run_blocking(&norm(), inputs.with_residual_out().with_rstd().with_statistics()).unwrap();
        let inputs = Inputs::new(&x[..]).residual(&residual).weight(&weight);
        let want = engine.run_blocking(&stored, inputs.with_residual_out().with_rstd().with_statistics()).unwrap();
        let wide = |values: &[f16]| Vec::from_iter(values.iter().map(|v| v.to_f32()));
        assert_eq!((wide(&got.y), wide(got.residual_out.as_ref().unwrap())), (want.y, want.residual_out.unwrap()));
        assert_eq!((&got.rstd, &got.statistics), (&want.rstd, &want.statistics));

        let (sum, statistics) = (got.residual_out.unwrap(), got.statistics.unwrap());
        let wanted = Backward::new().saved_statistics().accumulate();
        let inputs = Inputs::new(&sum[..]).grad_output(&short_dy).grad_residual(&short_dy).weight(&weight);
        let inputs = inputs.statistics(&statistics).grad_weight(&so_far).grad_bias(&so_far);
        let got = engine.run_backward_blocking(&norm(), wanted, inputs).unwrap();
        let sum = wide(&sum);
        let inputs = Inputs::new(&sum[..]).grad_output(&dy).grad_residual(&dy).weight(&weight);
        let inputs = inputs.statistics(&statistics).grad_weight(&so_far).grad_bias(&so_far);
        let want = engine.run_backward_blocking(&stored, wanted, inputs).unwrap();
        assert_eq!(got.input.map(|dx| wide(&dx)), want.input);
        assert_eq!((got.weight, got.bias), (want.weight, want.bias));
    }
}

/// Statistics are given back as they were, and what has no elements has results of its type.
#[test]
fn nothing() {
    let norm = BatchNorm::new(&[0, 3], 1).unwrap();
    for engine in engines() {
        let inputs = Inputs::new(&[f16::ONE; 0][..]).running_mean(&[1.0; 3]).running_var(&[2.0; 3]);
        let out = engine.run_blocking(&norm, inputs).unwrap();
        assert_eq!((out.y, out.running_mean), (Vec::<f16>::new(), Some(vec![1.0; 3])));
        let inputs = Inputs::new(&[f16::ONE; 0][..]).grad_output(&[f16::ONE; 0]);
        let out = engine.run_backward_blocking(&norm, Backward::new(), inputs).unwrap();
        assert_eq!((out.input, out.weight), (Some(Vec::<f16>::new()), Some(vec![0.0; 3])));
    }
}

/// A batch of one part.
#[test]
fn parts() {
    let Gradient { case, dy } = Gradient::new(Kind::BatchTrain { axis: 1 }, &[40, 6], 3.0).stored_as(Bf16, F32);
    let norm = BatchNorm::new(&[40, 6], 1).unwrap().without_tracking();
    let [x, dy] = [&case.x, &dy].map(|array| short::<bf16>(array).into_raw_vec_and_offset().0);
    let weight = case.weight.as_ref().unwrap().as_slice().unwrap();
    for engine in engines() {
        let inputs = Inputs::new(&x[..]).weight(weight);
        let moments = engine.run_moments_blocking(&norm, inputs).unwrap();
        let merged = Merged::new(&norm, &moments).unwrap();
        let statistics = merged.statistics();
        let y = engine.run_from_statistics_blocking(&norm, inputs.statistics(statistics)).unwrap();
        let back = inputs.grad_output(&dy).statistics(statistics);
        let (sums, gradients) = engine.run_backward_sums_blocking(&norm, Backward::new(), back).unwrap();
        let dx = engine.run_backward_from_sums_blocking(&norm, back, &sums).unwrap();

        let want = engine.run_blocking(&norm, inputs).unwrap();
        let back = engine.run_backward_blocking(&norm, Backward::new(), inputs.grad_output(&dy)).unwrap();
        // Statistics are merged otherwise: their last bits may differ, and so may those of what is rounded by them.
        let near = |got: &[bf16], want: &[bf16]| {
            let apart = got.iter().zip(want).filter(|(got, want)| got != want).count();
            assert!(got.len() == want.len() && apart * 50 <= got.len(), "{apart} of {}", got.len());
        };
        near(&y, &want.y);
        near(&dx, &back.input.unwrap());
        assert!(gradients.input.is_none() && gradients.weight.is_some());
    }
}

/// Types that contradict what the norm says.
#[test]
fn other_types_are_refused() {
    let norm = |storage: Storage| LayerNorm::new(&[2, 3], &[3]).unwrap().stored_as(storage);
    fn refused<O: std::fmt::Debug>(result: Result<O, Error>, tensor: &'static str, is: Element, must: Element) {
        let error = result.unwrap_err();
        assert_eq!(error, Error::Bind(BindError::Element { tensor, is, must }));
        assert_eq!(
            error.to_string(),
            format!("{tensor}: its elements are {is} here, but the norm stores them as {must}")
        );
    }
    let (x, other) = ([f16::ONE; 6], [bf16::ONE; 3]);
    let inputs = Inputs::new(&x[..]);
    for engine in engines() {
        refused(engine.run_blocking(&norm(Bf16.into()), inputs), "x", F16, Bf16);
        refused(engine.run_blocking(&norm(Storage::new(F16).output(F32)), inputs), "y", F16, F32);
        let of_f32 = norm(Storage::new(F16).gradients(F32));
        refused(
            engine.run_backward_blocking(&of_f32, Backward::new(), inputs.grad_output(&x)),
            "grad_output",
            F16,
            F32,
        );
        // Of the other type, weights are stored as f32, which they are exactly.
        engine.run_blocking(&norm(F16.into()), inputs.weight(&other)).unwrap();
        engine.run_blocking(&norm(F32.into()), inputs.weight(&other)).unwrap();
        let short = norm(Storage::new(F16).parameters(F16));
        refused(engine.run_blocking(&short, inputs.weight(&other)), "weight", Bf16, F16);
        refused(engine.run_blocking(&short, Inputs::new(&[1.0; 6][..]).bias(&other)), "bias", Bf16, F16);
    }
}
