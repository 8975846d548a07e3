//! Weights of heads, each its own or shared by segments with an `eps` of their own: each head against the oracle of its own norm.

use wgpu_norm::Element::{self, Bf16, F16, F32};
use wgpu_norm::ndarray::{Array1, ArrayD, ArrayViewD, Axis, Slice};
use wgpu_norm::sample::wide;
use wgpu_norm::{Backward, Gpu, Inputs, LayerNorm, Norm, RmsNorm, SpecError, Strides, reference};

use crate::support::{Data, Runs, close, close_to, cpu, gpu, gpus, part};

/// Which heads have which weights.
#[derive(Debug, Clone)]
enum Weights {
    PerHead,
    Segments(Vec<(usize, f32)>),
}

impl Weights {
    /// The weight of each head, and its eps.
    fn heads(&self, heads: usize) -> Vec<(usize, f32)> {
        match self {
            Self::PerHead => (0..heads).map(|head| (head, 1e-5)).collect(),
            Self::Segments(segments) => {
                let of = segments.iter().enumerate().flat_map(|(n, &(heads, eps))| vec![(n, eps); heads]);
                of.collect()
            }
        }
    }

    fn rms(&self, shape: &[usize], width: usize) -> RmsNorm {
        let norm = RmsNorm::new(shape, &[width]).unwrap();
        match self {
            Self::PerHead => norm.per_head(),
            Self::Segments(segments) => norm.segments(segments),
        }
    }

    fn layer(&self, shape: &[usize], width: usize) -> LayerNorm {
        let norm = LayerNorm::new(shape, &[width]).unwrap();
        match self {
            Self::PerHead => norm.per_head(),
            Self::Segments(segments) => norm.segments(segments),
        }
    }
}

fn head<'a>(array: &'a ArrayD<f64>, axis: usize, head: usize) -> ArrayViewD<'a, f64> {
    array.slice_axis(Axis(axis), Slice::from(head..head + 1))
}

/// Forward and backward, on slices or arrays, of `x` of `[tokens, heads, width]`.
fn check(weights: &Weights, [tokens, heads, width]: [usize; 3], mean_too: bool, element: Element, on: &[(&str, Gpu)]) {
    let shape = [tokens, heads, width];
    let mut data = Data::new(97 + tokens as u64 * 31 + width as u64);
    let of_heads = weights.heads(heads);
    let count = 1 + of_heads.iter().map(|&(number, _)| number).max().unwrap();
    let round = |mut values: ArrayD<f32>| {
        values.mapv_inplace(|v| element.rounded(v));
        values
    };
    let (x, dy) = (round(data.normal(&shape, 2.0, 1.0)), round(data.normal(&shape, 0.3, 1.0)));
    let (weight, bias) = (data.normal(&[count, width], 1.0, 0.5), data.normal(&[count, width], 0.0, 1.0));
    let norm: Box<dyn Norm> = match mean_too {
        true => Box::new(weights.layer(&shape, width).stored_as(element)),
        false => Box::new(weights.rms(&shape, width).stored_as(element)),
    };
    assert_eq!(norm.parameter_shape(), [count, width]);
    let (x64, dy64, weight64, bias64) = (wide(&x), wide(&dy), wide(&weight), wide(&bias));
    let row = |array: &ArrayD<f64>, number: usize| {
        Array1::from_iter(array.index_axis(Axis(0), number).iter().copied()).into_dyn()
    };
    let engines = on.iter().map(|(label, gpu)| (*label, gpu as &dyn Runs)).chain([("on the CPU", cpu() as &dyn Runs)]);
    for (label, engine) in engines {
        let what = format!("{weights:?} {shape:?} of {element:?} {label}\n{}", engine.plan(norm.as_ref(), None));
        let inputs = Inputs::new(x.view()).weight(weight.view()).bias(bias.view()).with_rstd().with_statistics();
        let out = engine.forward(norm.as_ref(), inputs).unwrap();
        for saved in [false, true] {
            let mut wanted = Backward::new();
            let mut inputs = Inputs::new(x.view()).grad_output(dy.view()).weight(weight.view());
            let statistics = out.statistics.clone().unwrap();
            if saved {
                wanted = wanted.saved_statistics();
                inputs = inputs.statistics(statistics.view());
            }
            let back = engine.backward(norm.as_ref(), wanted, inputs).unwrap();
            let what = format!("{what}\n{}", engine.plan(norm.as_ref(), Some(wanted)));
            let zeros = || ArrayD::<f64>::zeros(vec![count, width]);
            let (mut dweight, mut dbias, mut of_dweight, mut of_dbias) = (zeros(), zeros(), zeros(), zeros());
            for (number, &(of, eps)) in of_heads.iter().enumerate() {
                let (x, dy) = (head(&x64, 1, number), head(&dy64, 1, number));
                let (weight, bias) = (row(&weight64, of), row(&bias64, of));
                let (weight, bias, eps) = (Some(weight.view()), Some(bias.view()), f64::from(eps));
                let (want, gradients) = if mean_too {
                    (
                        reference::layer_norm(x.view(), 1, weight.clone(), bias, eps),
                        reference::layer_norm_backward(x.view(), dy.view(), 1, weight, eps),
                    )
                } else {
                    (
                        reference::rms_norm(x.view(), 1, weight.clone(), bias, eps, 0.0),
                        reference::rms_norm_backward(x.view(), dy.view(), 1, weight, eps, 0.0),
                    )
                };
                let mine = |array: &ArrayD<f32>| array.slice_axis(Axis(1), Slice::from(number..number + 1)).to_owned();
                close_to(element, &format!("head {number} of {what}"), &mine(&out.y), &want.y, &want.scale);
                let rstd = mine(out.rstd.as_ref().unwrap());
                close(&format!("rstd of head {number} of {what}"), &rstd, &want.rstd, &want.rstd);
                let dx = mine(back.input.as_ref().unwrap());
                close_to(element, &format!("dx of head {number} of {what}"), &dx, &gradients.dx, &gradients.dx_scale);
                let add = |to: &mut ArrayD<f64>, of_head: &ArrayD<f64>| {
                    let mut row = to.index_axis_mut(Axis(0), of);
                    row += of_head;
                };
                add(&mut dweight, &gradients.dweight);
                add(&mut dbias, &gradients.dbias);
                add(&mut of_dweight, &gradients.dweight_scale);
                add(&mut of_dbias, &gradients.dbias_scale);
            }
            close(&format!("dweight of {what}"), back.weight.as_ref().unwrap(), &dweight, &of_dweight);
            close(&format!("dbias of {what}"), back.bias.as_ref().unwrap(), &dbias, &of_dbias);
        }
    }
}

fn some() -> Vec<(&'static str, Gpu)> {
    gpus().iter().step_by(2).cloned().collect()
}

#[test]
fn every_head_has_its_weights() {
    for &shape in part(&[[40, 4, 80], [3, 5, 33], [1, 3, 64], [5, 2, 128], [300, 2, 8]], 2) {
        check(&Weights::PerHead, shape, true, F32, &some());
        check(&Weights::PerHead, shape, false, F16, &some()[..1]);
    }
}

#[test]
fn segments_share_weights_and_eps() {
    let segments = |segments: &[(usize, f32)]| Weights::Segments(segments.to_vec());
    for &shape in part(&[[40, 3, 80], [130, 3, 33], [1, 3, 64], [5, 3, 96], [9, 3, 256]], 2) {
        check(&segments(&[(2, 1e-6), (1, 0.5)]), shape, false, F32, &some());
        check(&segments(&[(1, 1e-2), (2, 2.0)]), shape, true, Bf16, &some()[..1]);
    }
    check(&segments(&[(1, 1e-6), (3, 0.1), (1, 1.0), (2, 3.0)]), [7, 7, 16], true, F32, &some());
    check(&segments(&[(4, 1e-5)]), [7, 4, 16], false, F32, &some());
}

/// One dispatch, over the heads of q and k of packed projections; what is v is not touched.
#[test]
fn qk_norm_in_place() {
    let (tokens, q, k, v, width) = (6, 4, 2, 2, 64);
    let heads = q + k;
    let packed = Data::new(3).normal(&[tokens, heads + v, width], 1.0, 1.0);
    let x = packed.slice_axis(Axis(1), Slice::from(0..heads)).to_owned();
    let weight = Data::new(4).normal(&[2, width], 1.0, 0.3);
    let weight = weight.as_slice().unwrap();
    let weights = Weights::Segments(vec![(q, 1e-6), (k, 1e-3)]);
    let strided =
        weights.rms(&[tokens, heads, width], width).with_strides(Strides::all(&[(heads + v) * width, width, 1]));
    let alone = weights.rms(&[tokens, heads, width], width);
    for (label, gpu) in gpus() {
        let plan = gpu.context().plan(&strided).unwrap();
        assert!(plan.passes().len() == 1 && plan.to_string().contains(", strides by row"), "{label}: {plan}");
        let contiguous: Vec<f32> = x.iter().copied().collect();
        let want = gpu.run_blocking(&alone, Inputs::new(&contiguous[..]).weight(weight)).unwrap().y;
        let all: Vec<f32> = packed.iter().copied().collect();
        let length = all.len() - v * width;
        let got = gpu.run_blocking(&strided, Inputs::new(&all[..length]).weight(weight)).unwrap().y;
        for (token, want) in want.chunks(heads * width).enumerate() {
            let from = token * (heads + v) * width;
            assert_eq!(got[from..from + heads * width], *want, "{label}");
            let between = from + heads * width..(from + (heads + v) * width).min(length);
            assert_eq!(got[between.clone()], all[between], "{label}");
        }
    }
}

/// On the CPU, where segments are taken one after the other: each head has the bits of its own norm, in place, and what is v stays.
#[test]
fn qk_norm_on_the_cpu() {
    let (tokens, q, k, v, width) = (700, 4, 2, 2, 64);
    let heads = q + k + v;
    let packed = Data::new(5).normal(&[tokens, heads, width], 1.0, 1.0);
    let weight = Data::new(6).normal(&[2, width], 1.0, 0.3);
    let weight = weight.as_slice().unwrap();
    let weights = Weights::Segments(vec![(q, 1e-6), (k, 1e-3)]);
    let both = weights.rms(&[tokens, q + k, width], width).with_strides(Strides::all(&[heads * width, width, 1]));
    let mut got: Vec<f32> = packed.iter().copied().collect();
    let length = got.len() - v * width;
    let mut rstd = vec![0.0; tokens * (q + k)];
    let operands = wgpu_norm::cpu::Operands::in_place(&mut got[..length]).weight(weight).rstd(&mut rstd);
    cpu().plan(&both).unwrap().run(operands).unwrap();
    let row = RmsNorm::new(&[1, width], &[width]).unwrap();
    for (number, (got, x)) in got.chunks(width).zip(packed.as_slice().unwrap().chunks(width)).enumerate() {
        let (token, head) = (number / heads, number % heads);
        if head >= q + k {
            assert_eq!(got, x);
            continue;
        }
        let (of, eps) = if head < q { (0, 1e-6) } else { (1, 1e-3) };
        let inputs = Inputs::new(x).weight(&weight[of * width..][..width]).with_rstd();
        let want = cpu().run(&row.clone().eps(eps), inputs).unwrap();
        assert_eq!(got, want.y, "token {token}, head {head}");
        assert_eq!(rstd[token * (q + k) + head], want.rstd.unwrap()[0], "token {token}, head {head}");
    }
}

#[test]
fn heads_that_are_not_there() {
    let plan = |norm: RmsNorm| gpu().context().plan(&norm).map(|_| ()).unwrap_err();
    let rows = || RmsNorm::new(&[5, 6, 8], &[8]).unwrap();
    let error = plan(RmsNorm::new(&[8], &[8]).unwrap().per_head());
    assert_eq!(
        error.to_string(),
        "RmsNorm: weight and bias are per_head, but must be of a shape with an axis before those that are normalized, which are the last, \
         for shape [8]"
    );
    assert_eq!(
        plan(rows().segments(&[(4, 1e-6), (1, 1e-6)])).to_string(),
        "RmsNorm: segments of heads are [(4, 1e-6), (1, 1e-6)], with their eps, but must be as many heads together as the axis before \
         those that are normalized, for shape [5, 6, 8]"
    );
    for segments in [vec![], vec![(6, 0.0), (0, 0.0)], vec![(1, 0.0), (1, 0.0), (1, 0.0), (1, 0.0), (2, 0.0)]] {
        assert!(matches!(plan(rows().segments(&segments)), SpecError::Heads { .. }), "{segments:?}");
    }
    assert!(matches!(plan(rows().segments(&[(6, f32::NAN)])), SpecError::Parameter { .. }));
}
