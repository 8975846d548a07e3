//! Layer and RMS norm over axes that are not the last: weights go down what a group is reduced over, and statistics along what weights are.

use wgpu_norm::{Activation, Backward, Gpu, Inputs, LayerNorm, Norm, RmsNorm};

use crate::support::{Case, Gradient, Kind, Runs, changed, close, cpu, gpu, gpus};

/// Over the channels of images: fused and by columns, wide and narrow, with widths that fold and that do not, many rows and few.
fn channels() -> Vec<(Kind, Vec<usize>)> {
    let over = |shape: &[usize]| (Kind::LayerOver { axes: &[1] }, shape.to_vec());
    vec![
        over(&[2, 3, 40]),
        over(&[3, 8, 7, 9]),
        over(&[2, 9, 16, 16]),
        over(&[2, 40, 7, 7]),
        over(&[1, 768, 7, 7]),
        over(&[2, 200, 33]),
        over(&[5, 64, 14, 14]),
        over(&[40, 30, 5]),
        over(&[3, 700, 2]),
        over(&[1, 17, 9000]),
        over(&[1, 2000, 3]),
        (Kind::LayerOver { axes: &[0] }, vec![50, 70]),
        (Kind::LayerOver { axes: &[-3, 2] }, vec![2, 6, 5, 12]),
        (Kind::RmsOver { axes: &[1], offset: 0.0 }, vec![2, 96, 10, 10]),
        (Kind::RmsOver { axes: &[1], offset: 1.0 }, vec![4, 30, 21]),
    ]
}

/// With axes before and behind those that are kept.
fn apart() -> Vec<(Kind, Vec<usize>)> {
    let over = |shape: &[usize]| (Kind::LayerOver { axes: &[1, 3] }, shape.to_vec());
    vec![
        over(&[2, 5, 6, 7]),
        over(&[2, 30, 9, 64]),
        over(&[3, 4, 50, 100]),
        over(&[2, 3, 40, 3000]),
        over(&[1, 300, 3, 4]),
        over(&[2, 4, 2000, 2]),
        (Kind::LayerOver { axes: &[0, 2] }, vec![7, 9, 11]),
        (Kind::RmsOver { axes: &[-1, 0], offset: 1.0 }, vec![40, 20, 36]),
    ]
}

#[test]
fn axes_are_normalized_where_they_lie() {
    for (kind, shape) in channels().into_iter().chain(apart()) {
        Case::new(kind, &shape, 1e4).check_all(gpus());
        Case::new(kind, &shape, 1.0).plain().check_on("plain", gpu(), &Case::new(kind, &shape, 1.0).plain().oracle());
    }
}

#[test]
fn gradients_go_back_over_axes_where_they_lie() {
    for (kind, shape) in channels().into_iter().chain(apart()) {
        Gradient::new(kind, &shape, 3.0).check_all(gpus());
    }
}

/// On a GPU whose subgroups may be longer, four lanes leave one sum along their part of a row: where they have whole workgroups of it, a part
/// of one, or several rows to one. With a width that leaves no such parts, few bindings, or more sums than one holds, another pass sums up for the weights.
#[test]
fn lanes_of_a_gpu_sum_along_rows_together() {
    let gpu =
        |buffers| changed(|c| (c.software, c.subgroup_sizes, c.max_storage_buffers) = (false, Some((4, 32)), buffers));
    let (usual, few) = (("as a GPU", gpu(8)), ("as a GPU with 6 bindings", gpu(6)));
    let passes = |on: &(&str, Gpu), gradient: &Gradient| {
        let plan = on.1.plan(gradient.case.norm().as_ref(), Some(Backward::new()));
        plan.matches("sums_columns").count() + plan.matches("sums_beside").count()
    };
    let over = |shape: &[usize]| Gradient::new(Kind::LayerOver { axes: &[1] }, shape, 3.0);
    let rms = Gradient::new(Kind::RmsOver { axes: &[1], offset: 1.0 }, &[2, 33, 64], 3.0);
    for gradient in [over(&[2, 5, 16]), over(&[3, 40, 28, 28]), over(&[2, 21, 48, 48]), over(&[1, 700, 96]), rms] {
        assert_eq!(passes(&usual, &gradient), 1);
        gradient.check_all(std::slice::from_ref(&usual));
        gradient.then(Activation::Silu).check_all(std::slice::from_ref(&usual));
    }
    for (on, gradient) in [(&usual, over(&[2, 9, 36])), (&few, over(&[2, 5, 16]))] {
        assert_eq!(passes(on, &gradient), 2);
        gradient.check_all(std::slice::from_ref(on));
    }
    let large = LayerNorm::over_axes(&[16, 96, 512, 512], &[1]).unwrap();
    let gpu = changed(|c| {
        (c.software, c.subgroup_sizes, c.max_binding, c.max_buffer) = (false, Some((4, 32)), 128 << 20, 4 << 30)
    });
    let plan = gpu.context().plan_backward(&large, Backward::new()).unwrap();
    assert!(plan.to_string().contains("sums_beside"), "{plan}");
}

/// By hand: two samples of two channels and two pixels, each pixel normalized over its channels, which differ by 2 and by 4.
#[test]
fn channels_of_an_image_by_hand() {
    let norm = LayerNorm::over_axes(&[2, 2, 1, 2], &[1]).unwrap().eps(0.0);
    let x = [1.0, 10.0, 3.0, 6.0, 0.0, -2.0, 4.0, 2.0];
    let inputs = || Inputs::new(&x[..]).weight(&[2.0, 10.0]).bias(&[0.5, -1.0]).with_mean().with_rstd();
    // xhat is -1 and 1 of a pixel's two channels, or 1 and -1.
    let y = [-1.5, 2.5, 9.0, -11.0, -1.5, -1.5, 9.0, 9.0];
    for out in [gpu().run_blocking(&norm, inputs()).unwrap(), cpu().run(&norm, inputs()).unwrap()] {
        assert_eq!(out.y, y);
        assert_eq!(out.mean.unwrap(), [2.0, 8.0, 2.0, 0.0]);
        assert_eq!(out.rstd.unwrap(), [1.0, 0.5, 0.5, 0.5]);
    }
    assert_eq!(norm.parameter_shape(), [2]);
    assert_eq!(norm.statistics_shape(), [2, 1, 1, 2]);
    // dweight is the sum of dy * xhat and dbias that of dy, of a channel; of groups of two, dx is 0.
    let dy = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
    let inputs = || Inputs::new(&x[..]).weight(&[2.0, 10.0]).grad_output(&dy);
    let (gpu, wanted) = (gpu(), Backward::new());
    for out in [
        gpu.run_backward_blocking(&norm, wanted, inputs()).unwrap(),
        cpu().run_backward(&norm, wanted, inputs()).unwrap(),
    ] {
        assert_eq!(out.weight.unwrap(), [-1.0 + 2.0 - 16.0 - 32.0, 4.0 - 8.0 + 64.0 + 128.0]);
        assert_eq!(out.bias.unwrap(), [51.0, 204.0]);
        assert!(out.input.unwrap().iter().all(|dx| dx.abs() < 1e-4));
    }
}

/// By the definition: where all of a group is one value, y is the bias, or with `eps` 0 NaN; of an RMS norm, where all is 0. One channel is
/// such a group. Without channels, or without pixels, there is nothing.
#[test]
fn groups_of_one_value() {
    let constant = [3.0, 7.0, 3.0, 7.0];
    let run = |norm: &dyn Norm, x: &[f32], bias: &[f32]| {
        let inputs = || Inputs::new(x).bias(bias).with_rstd();
        let (on_gpu, on_cpu) = (gpu().run_blocking(norm, inputs()).unwrap(), cpu().run(norm, inputs()).unwrap());
        assert_eq!(
            on_gpu.y.iter().map(|v| v.is_nan()).collect::<Vec<_>>(),
            on_cpu.y.iter().map(|v| v.is_nan()).collect::<Vec<_>>()
        );
        on_gpu.y
    };
    let layer = |eps: f32, shape: &[usize]| LayerNorm::over_axes(shape, &[1]).unwrap().eps(eps);
    assert_eq!(run(&layer(1e-5, &[1, 2, 2]), &constant, &[0.5, -1.0]), [0.5, 0.5, -1.0, -1.0]);
    assert!(run(&layer(0.0, &[1, 2, 2]), &constant, &[0.5, -1.0]).iter().all(|v| v.is_nan()));
    assert_eq!(run(&layer(1e-5, &[2, 1, 2]), &constant, &[0.25]), [0.25; 4]);
    let rms = RmsNorm::over_axes(&[1, 2, 2], &[-2]).unwrap();
    assert_eq!(run(&rms, &[0.0; 4], &[0.5, -1.0]), [0.5, 0.5, -1.0, -1.0]);
    for shape in [[2, 0, 3], [2, 3, 0], [0, 3, 2]] {
        assert!(run(&layer(1e-5, &shape), &[], &vec![0.0; shape[1]]).is_empty());
    }
}

/// The last axes are those that `new` takes: the same plan, and the same bits.
#[test]
fn the_last_axes_are_those_of_new() {
    let (shape, context) = ([6, 5, 4, 7], gpu().context());
    for (axes, last) in [(&[-1][..], 1), (&[2, 3], 2), (&[3, 1, 2], 3), (&[0, 1, 2, 3], 4)] {
        let lengths = &shape[shape.len() - last..];
        let pairs: [[Box<dyn Norm>; 2]; 2] = [
            [Box::new(LayerNorm::new(&shape, lengths).unwrap()), Box::new(LayerNorm::over_axes(&shape, axes).unwrap())],
            [Box::new(RmsNorm::new(&shape, lengths).unwrap()), Box::new(RmsNorm::over_axes(&shape, axes).unwrap())],
        ];
        for [one, other] in &pairs {
            assert_eq!(one.parameter_shape(), other.parameter_shape());
            assert_eq!(one.statistics_shape(), other.statistics_shape());
            let plans = [one, other].map(|norm| format!("{:?}", context.plan(norm.as_ref()).unwrap()));
            assert_eq!(plans[0], plans[1]);
            let plans = [one, other]
                .map(|norm| format!("{:?}", context.plan_backward(norm.as_ref(), Backward::new()).unwrap()));
            assert_eq!(plans[0], plans[1]);
        }
    }
}

/// A residual is added by columns and by rows, and the sum is stored, by fused passes and by others.
#[test]
fn residuals_are_added_over_any_axes() {
    for shape in
        [&[2, 5, 4, 6][..], &[3, 3, 8, 4], &[2, 40, 10, 10], &[2, 9, 7, 7], &[3, 20, 5, 300], &[2, 40, 5, 1000]]
    {
        for axes in [&[1][..], &[1, 3]] {
            let kind = Kind::LayerOver { axes: if axes.len() == 1 { &[1] } else { &[1, 3] } };
            let mut case = Case::new(kind, shape, 2.0);
            let x = case.x.clone();
            let residual = Case::new(kind, &[shape, &[1]].concat()[..4], 5.0).x.mapv(|v| v * 0.5);
            case.x = &x + &residual;
            let want = case.oracle();
            let norm = case.norm();
            for (label, on) in
                gpus().iter().map(|(label, gpu)| (*label, gpu as &dyn Runs)).chain([("on the CPU", cpu() as _)])
            {
                let inputs = case.parameters().map(|array| array.view()).beside(x.view());
                let inputs = inputs.residual(residual.view()).with_residual_out();
                let out = on.forward(norm.as_ref(), inputs).unwrap();
                let what = format!("{kind:?} {shape:?} {label}");
                close(&what, &out.y, &want.y, &want.scale);
                assert_eq!(out.residual_out.unwrap(), case.x, "{what}");
            }
            // Where the sum is not kept, columns may go another way.
            let inputs = case.parameters().map(|array| array.view()).beside(x.view()).residual(residual.view());
            let out = cpu().forward(norm.as_ref(), inputs).unwrap();
            close(&format!("{kind:?} {shape:?} without the sum"), &out.y, &want.y, &want.scale);
        }
    }
}
