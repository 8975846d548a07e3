//! Batches in several parts: moments and sums that are merged give what the whole batch gives.

use wgpu_norm::ndarray::{ArrayD, Axis, Slice, concatenate};
use wgpu_norm::{
    Backward, BatchNorm, Cpu, Error, Gpu, GroupNorm, Inputs, InstanceNorm, LayerNorm, Merged, Moments, Momentum, Norm,
    Operands, Plan, RmsNorm, SpecError, VarianceEstimator, cpu,
};

use crate::support::device::{Tensor, run};
use crate::support::{Gradient, Kind, close, engines, gpu, gpus};

fn flat(array: &ArrayD<f32>) -> Vec<f32> {
    array.iter().copied().collect()
}

/// The batch in parts of so many samples.
fn parts(array: &ArrayD<f32>, sizes: &[usize]) -> Vec<ArrayD<f32>> {
    let mut start = 0;
    let part = |&size: &usize| {
        start += size;
        array.slice_axis(Axis(0), Slice::from(start - size..start)).to_owned()
    };
    sizes.iter().map(part).collect()
}

fn joined(parts: &[ArrayD<f32>]) -> ArrayD<f32> {
    concatenate(Axis(0), &parts.iter().map(|part| part.view()).collect::<Vec<_>>()).unwrap()
}

fn norm(shape: &[usize], axis: isize) -> BatchNorm {
    BatchNorm::new(shape, axis).unwrap().running_variance(VarianceEstimator::Unbiased)
}

fn moments_of(gpu: &Gpu, norm: &dyn Norm, x: &[f32]) -> Vec<f32> {
    let x = Tensor::new(gpu, x);
    let moments = Tensor::unwritten(gpu, 4 * norm.statistics_shape().iter().product::<usize>());
    let plan = gpu.context().plan_moments(norm).unwrap();
    run(gpu, &plan, &Operands::of(x.view()).moments(moments.view()));
    moments.read()
}

/// A batch over `sizes.len()` devices, each with its part.
fn synchronized(gpu: &Gpu, gradient: &Gradient, axis: isize, sizes: &[usize]) {
    let whole = &gradient.case;
    let want = whole.oracle();
    let want_back = gradient.oracle();
    let channels = whole.x.shape()[axis as usize];
    let (xs, dys) = (parts(&whole.x, sizes), parts(&gradient.dy, sizes));
    let (weight, bias) = (flat(whole.weight.as_ref().unwrap()), flat(whole.bias.as_ref().unwrap()));
    let (weight, bias) = (Tensor::new(gpu, &weight), Tensor::new(gpu, &bias));
    let count = sizes.len();
    let gathered: Vec<f32> = xs.iter().flat_map(|x| moments_of(gpu, &norm(x.shape(), axis), &flat(x))).collect();
    let gathered = Tensor::new(gpu, &gathered);

    let (mut ys, mut saved, mut running) = (Vec::new(), Vec::new(), Vec::new());
    for x in &xs {
        let plan = gpu.context().plan_from_moments(&norm(x.shape(), axis), count).unwrap();
        let (input, y) = (Tensor::new(gpu, &flat(x)), Tensor::unwritten(gpu, x.len()));
        let statistics = Tensor::unwritten(gpu, 4 * channels);
        let [mean, var] = [0.0, 1.0].map(|start| Tensor::new(gpu, &vec![start; channels]));
        let operands = Operands::new(input.view(), y.view()).weight(weight.view()).bias(bias.view());
        let operands = operands.moments(gathered.view()).statistics(statistics.view());
        run(gpu, &plan, &operands.running_mean(mean.view()).running_var(var.view()));
        ys.push(ArrayD::from_shape_vec(x.shape(), y.read()).unwrap());
        saved.push(statistics);
        running.push((mean.bits(), var.bits()));
    }
    let what = format!("{:?} in {sizes:?} along {axis}", whole.x.shape());
    close(&format!("y of {what}"), &joined(&ys), &want.y, &want.scale);
    assert!(running.iter().all(|statistics| statistics == &running[0]), "{what}");
    let (n, batch) = (whole.x.len() / channels, want.variance.unwrap());
    for (c, &var) in running[0].1.iter().enumerate() {
        let unbiased = if n > 1 { batch[c] * n as f64 / (n as f64 - 1.0) } else { batch[c] };
        let (got, want) = (f64::from(f32::from_bits(var)), 0.9 + 0.1 * unbiased);
        assert!((got - want).abs() <= 4e-6 * want, "{got} {want} {what}");
    }

    // The sums of all parts, as they are and added up.
    let (mut sums, mut dweight, mut dbias) = (Vec::new(), vec![0.0f64; channels], vec![0.0f64; channels]);
    for ((x, dy), statistics) in xs.iter().zip(&dys).zip(&saved) {
        let plan = gpu.context().plan_backward_sums(&norm(x.shape(), axis), Backward::new()).unwrap();
        let (input, grad) = (Tensor::new(gpu, &flat(x)), Tensor::new(gpu, &flat(dy)));
        let [grad_weight, grad_bias] = [(); 2].map(|()| Tensor::unwritten(gpu, channels));
        let part = Tensor::unwritten(gpu, 2 * channels);
        let operands = Operands::backward(grad.view(), input.view()).weight(weight.view());
        let operands = operands.statistics(statistics.view()).sums(part.view());
        run(gpu, &plan, &operands.grad_weight(grad_weight.view()).grad_bias(grad_bias.view()));
        sums.push(part.read());
        dweight.iter_mut().zip(grad_weight.read()).for_each(|(sum, v)| *sum += f64::from(v));
        dbias.iter_mut().zip(grad_bias.read()).for_each(|(sum, v)| *sum += f64::from(v));
    }
    let as_array = |values: Vec<f64>| ArrayD::from_shape_vec(vec![channels], values).unwrap().mapv(|v| v as f32);
    close(&format!("dweight of {what}"), &as_array(dweight), &want_back.dweight, &want_back.dweight_scale);
    close(&format!("dbias of {what}"), &as_array(dbias), &want_back.dbias, &want_back.dbias_scale);
    let added: Vec<f32> = (0..2 * channels).map(|at| sums.iter().map(|part| part[at]).sum()).collect();
    for (given, sums) in [(count, sums.concat()), (1, added)] {
        let sums = Tensor::new(gpu, &sums);
        let mut dxs = Vec::new();
        for ((x, dy), statistics) in xs.iter().zip(&dys).zip(&saved) {
            let plan = gpu.context().plan_backward_from_sums(&norm(x.shape(), axis), given).unwrap();
            let (input, grad) = (Tensor::new(gpu, &flat(x)), Tensor::new(gpu, &flat(dy)));
            let dx = Tensor::unwritten(gpu, x.len());
            let operands = Operands::backward(grad.view(), input.view()).weight(weight.view());
            run(gpu, &plan, &operands.statistics(statistics.view()).sums(sums.view()).grad_input(dx.view()));
            dxs.push(ArrayD::from_shape_vec(x.shape(), dx.read()).unwrap());
        }
        close(&format!("dx of {what} by {given}"), &joined(&dxs), &want_back.dx, &want_back.dx_scale);
    }
}

#[test]
fn parts_of_a_batch_give_what_the_whole_gives() {
    for (shape, axis) in [(vec![37, 6], 1), (vec![37, 4, 25], 1), (vec![37, 25, 3], 2)] {
        for mean in [0.0, 1e6] {
            let gradient = Gradient::new(Kind::BatchTrain { axis }, &shape, mean);
            for sizes in [vec![37], vec![20, 17], vec![1, 36], vec![0, 30, 7], vec![2, 3, 5, 7, 11, 9]] {
                synchronized(gpu(), &gradient, axis, &sizes);
            }
            synchronized(&gpus()[2].1, &gradient, axis, &[20, 17]);
        }
    }
}

/// A batch on slices, each part by another engine, merged on the host.
#[test]
fn engines_take_a_part_each() {
    let engines = engines();
    for (shape, axis) in [(vec![37, 6], 1), (vec![37, 4, 25], 1), (vec![37, 25, 3], 2)] {
        let gradient = Gradient::new(Kind::BatchTrain { axis }, &shape, 1e6);
        let whole = &gradient.case;
        let (want, want_back) = (whole.oracle(), gradient.oracle());
        let (weight, bias) = (flat(whole.weight.as_ref().unwrap()), flat(whole.bias.as_ref().unwrap()));
        for (turn, sizes) in [vec![37], vec![20, 17], vec![0, 30, 7], vec![2, 0, 5, 7, 14, 9]].into_iter().enumerate() {
            let what = format!("{shape:?} in {sizes:?} along {axis}");
            let (xs, dys) = (parts(&whole.x, &sizes), parts(&gradient.dy, &sizes));
            let norms: Vec<BatchNorm> = xs.iter().map(|x| norm(x.shape(), axis)).collect();
            let flats: Vec<[Vec<f32>; 2]> = xs.iter().zip(&dys).map(|(x, dy)| [flat(x), flat(dy)]).collect();
            let each = || norms.iter().zip(&flats).zip(engines.iter().cycle().skip(turn));
            let moments: Vec<Moments> = each()
                .flat_map(|((norm, [x, _]), (_, on))| on.run_moments_blocking(norm, Inputs::new(x)).unwrap())
                .collect();
            let merged = Merged::new(&norms[0], &moments).unwrap();
            let mut ys = Vec::new();
            let (mut sums, mut dweight, mut dbias) = (Vec::new(), vec![0.0; weight.len()], vec![0.0; weight.len()]);
            for ((norm, [x, dy]), (_, on)) in each() {
                let inputs = Inputs::new(&x[..]).weight(&weight[..]).statistics(merged.statistics());
                ys.push(on.run_from_statistics_blocking(norm, inputs.bias(&bias)).unwrap());
                let inputs = inputs.grad_output(dy);
                let (of_part, gradients) = on.run_backward_sums_blocking(norm, Backward::new(), inputs).unwrap();
                sums.extend(of_part);
                for (sum, part) in [(&mut dweight, gradients.weight), (&mut dbias, gradients.bias)] {
                    sum.iter_mut().zip(part.unwrap()).for_each(|(sum, v)| *sum += f64::from(v));
                }
            }
            let dxs = each().map(|((norm, [x, dy]), (_, on))| {
                let inputs = Inputs::new(&x[..]).weight(&weight[..]).statistics(merged.statistics());
                on.run_backward_from_sums_blocking(norm, inputs.grad_output(dy), &sums).unwrap()
            });
            let dxs: Vec<Vec<f32>> = dxs.collect();
            let together = |of: Vec<Vec<f32>>| {
                let of = of.into_iter().zip(&xs).map(|(of, x)| ArrayD::from_shape_vec(x.shape(), of).unwrap());
                joined(&of.collect::<Vec<_>>())
            };
            close(&format!("y of {what}"), &together(ys), &want.y, &want.scale);
            close(&format!("dx of {what}"), &together(dxs), &want_back.dx, &want_back.dx_scale);
            let array = |of: Vec<f64>| ArrayD::from_shape_vec(vec![of.len()], of).unwrap().mapv(|v| v as f32);
            close(&format!("dweight of {what}"), &array(dweight), &want_back.dweight, &want_back.dweight_scale);
            close(&format!("dbias of {what}"), &array(dbias), &want_back.dbias, &want_back.dbias_scale);

            // One device that merges the same parts has the same bits.
            let (mut statistics, mut running) =
                (vec![0.0; 4 * weight.len()], [(); 2].map(|()| vec![1.0; weight.len()]));
            let ([x, _], mut tracked, mut batches) = (&flats[0], running.clone(), 0);
            let mut y = vec![0.0; x.len()];
            let [mean, var] = &mut running;
            let operands = cpu::Operands::new(x, &mut y).moments(bytemuck::cast_slice(&moments)).tracked(mean, var);
            let plan = Cpu::new().plan_from_moments(&norms[0], sizes.len()).unwrap();
            plan.run(operands.statistics_out(&mut statistics)).unwrap();
            let [mean, var] = &mut tracked;
            merged.track(mean, var, Some(&mut batches)).unwrap();
            assert_eq!((merged.statistics(), tracked, batches), (&statistics[..], running, 1), "{what}");
        }
    }
}

#[test]
fn merged_moments_refuse_what_does_not_fit() {
    let norm = norm(&[4, 3], 1);
    let part = [Moments::of(&[1.0, 2.0]); 3];
    let refused = |moments: &[Moments], must: &str| {
        let error = Merged::new(&norm, moments).unwrap_err().to_string();
        assert!(error.contains(must), "{error}");
    };
    refused(&[], "parts is 0 but must be at least 1");
    refused(&[part, part].concat()[..4], "moments: it has 16 elements but must have 24, those of shape [2, 3, 4]");
    assert!(matches!(Merged::new(&norm.clone().eval(), &part), Err(Error::Spec(SpecError::RunningMoments { .. }))));

    let merged = Merged::new(&norm, &part).unwrap();
    let (mut mean, mut var) = ([0.0; 3], [1.0; 3]);
    let error = merged.track(&mut mean[..2], &mut var, None).unwrap_err();
    assert!(error.to_string().contains("running_mean: it has 2 elements but must have 3"), "{error}");
    let untracked = Merged::new(&norm.clone().without_tracking(), &part).unwrap();
    let error = untracked.track(&mut mean, &mut var, None).unwrap_err();
    assert!(error.to_string().contains("without_tracking()"), "{error}");
    let cumulative = Merged::new(&norm.clone().momentum(Momentum::cumulative()), &part).unwrap();
    let error = cumulative.track(&mut mean, &mut var, None).unwrap_err();
    assert!(error.to_string().contains("num_batches_tracked is missing"), "{error}");
    assert_eq!((mean, var), ([0.0; 3], [1.0; 3]));

    // Whatever the engine: what belongs to another way to call.
    for (label, engine) in engines() {
        let (x, ones) = ([1.0; 12], [1.0; 3]);
        let inputs = Inputs::new(&x[..]).statistics(merged.statistics());
        let refused = |error: Error, must: &str| assert!(error.to_string().contains(must), "{label}: {error}");
        let run = |inputs: Inputs<&[f32]>| engine.run_from_statistics_blocking(&norm, inputs).unwrap_err();
        refused(run(Inputs::new(&x[..])), "statistics is missing");
        refused(run(inputs.running_mean(&ones)), "Merged::track updates running ones");
        refused(run(inputs.with_rstd()), "the statistics are given");
        refused(
            engine.run_moments_blocking(&norm, Inputs::new(&x[..5])).unwrap_err(),
            "x: it has 5 elements but must have 12",
        );
        let sums = [0.0; 7];
        let error = engine.run_backward_from_sums_blocking(&norm, inputs.grad_output(&x), &sums).unwrap_err();
        refused(error, "sums: it has 7 elements but must have 12, those of shape [2, 3, 2]");
    }
}

/// On the CPU as on the GPU, whatever the order and the cuts.
#[test]
fn moments_merge_in_any_order() {
    let gradient = Gradient::new(Kind::BatchTrain { axis: 1 }, &[90, 5], 1e6);
    let x = &gradient.case.x;
    let of = |part: &ArrayD<f32>| -> Vec<Moments> {
        let words = moments_of(gpu(), &norm(part.shape(), 1), &flat(part));
        bytemuck::cast_slice(&words).to_vec()
    };
    let whole = of(x);
    for (c, moments) in whole.iter().enumerate() {
        let column: Vec<f32> = x.index_axis(Axis(1), c).iter().copied().collect();
        let want = Moments::of(&column);
        assert_eq!(moments.count(), 90.0);
        assert!((moments.mean() - want.mean()).abs() < 1e-6, "{moments:?} {want:?}");
        assert!((moments.variance() / want.variance() - 1.0).abs() < 4e-6, "{moments:?} {want:?}");
    }
    for sizes in [vec![1, 89], vec![30, 30, 30], vec![0, 7, 80, 3], vec![89, 0, 1]] {
        let parts: Vec<Vec<Moments>> = parts(x, &sizes).iter().map(of).collect();
        let merge = |order: &mut dyn Iterator<Item = &Vec<Moments>>, c: usize| {
            order.fold(Moments::default(), |merged, part| merged.merge(part[c]))
        };
        for (c, want) in whole.iter().enumerate() {
            for merged in [merge(&mut parts.iter(), c), merge(&mut parts.iter().rev(), c)] {
                assert_eq!(merged.count(), want.count());
                assert!((merged.mean() - want.mean()).abs() < 1e-6, "{merged:?} {want:?} {sizes:?}");
                assert!((merged.variance() / want.variance() - 1.0).abs() < 4e-6, "{merged:?} {want:?} {sizes:?}");
            }
        }
    }
}

/// Any norm's groups may be in parts: those of a row, say.
#[test]
fn moments_of_every_norm_are_those_of_its_groups() {
    let shape = [3, 8, 10];
    let norms: [Box<dyn Norm>; 3] = [
        Box::new(LayerNorm::new(&shape, &[10]).unwrap()),
        Box::new(GroupNorm::channels_first(&shape, 2).unwrap()),
        Box::new(RmsNorm::new(&shape, &[10]).unwrap()),
    ];
    let x = flat(&Gradient::new(Kind::Layer { ndim: 1 }, &shape, 100.0).case.x);
    for norm in &norms {
        let words = moments_of(gpu(), norm.as_ref(), &x);
        let moments: &[Moments] = bytemuck::cast_slice(&words);
        let size = x.len() / moments.len();
        for (group, got) in x.chunks(size).zip(moments) {
            let want = Moments::of(group);
            let squares: f64 = group.iter().map(|&v| f64::from(v).powi(2)).sum();
            let (mean, m2) = if norm.name() == "RmsNorm" { (0.0, squares) } else { (want.mean(), want.sum()) };
            assert_eq!(got.count() as usize, size);
            assert!((got.mean() - mean).abs() < 1e-5, "{} {got:?}", norm.name());
            assert!((got.sum() / m2 - 1.0).abs() < 4e-6, "{} {got:?} {m2}", norm.name());
        }
    }
}

/// A part without samples adds nothing: its gradients and sums are 0, as where it is all there is, whether it has groups
/// of its own or not.
#[test]
fn empty_parts_have_gradients_of_zero() {
    let gpu = gpu();
    let norms: [Box<dyn Norm>; 6] = [
        Box::new(GroupNorm::channels_first(&[0, 8, 2], 2).unwrap()),
        Box::new(GroupNorm::channels_last(&[0, 2, 8], 2).unwrap()),
        Box::new(InstanceNorm::channels_first(&[0, 8, 2]).unwrap()),
        Box::new(LayerNorm::new(&[0, 8], &[8]).unwrap()),
        Box::new(RmsNorm::new(&[0, 8], &[8]).unwrap()),
        Box::new(norm(&[0, 8, 2], 1)),
    ];
    for norm in &norms {
        for (wanted, kept) in [(Backward::new(), 0.0), (Backward::new().accumulate(), 7.0)] {
            let norm = norm.as_ref();
            let groups: usize = norm.statistics_shape().iter().product();
            let [x, dy] = [(); 2].map(|()| Tensor::new(gpu, &[]));
            let statistics = Tensor::new(gpu, &vec![1.0; 4 * groups]);
            let sums = Tensor::unwritten(gpu, 2 * groups);
            let run_and_read = |plan: &Plan, operands: Operands<'_>| {
                let [weight, bias] = [(); 2].map(|()| Tensor::new(gpu, &[7.0; 8]));
                run(gpu, plan, &operands.grad_weight(weight.view()).grad_bias(bias.view()));
                [weight.read(), bias.read()]
            };
            let operands = Operands::backward(dy.view(), x.view());
            let whole = gpu.context().plan_backward(norm, wanted.without_input()).unwrap();
            let whole = run_and_read(&whole, operands);
            let part = gpu.context().plan_backward_sums(norm, wanted).unwrap();
            let part = run_and_read(&part, operands.statistics(statistics.view()).sums(sums.view()));
            let name = norm.name();
            assert_eq!(part, [[kept; 8], [kept; 8]], "{name} {wanted:?}");
            assert_eq!(part, whole, "{name} {wanted:?}");
            assert_eq!(sums.read(), vec![0.0; 2 * groups], "{name} {wanted:?}");
        }
    }
}

/// A batch without samples in any part is none: running statistics, and the number of batches, stay as they were.
#[test]
fn nothing_in_all_parts_leaves_running_statistics() {
    let channels = 5;
    for momentum in [Momentum::exponential(0.1), Momentum::cumulative()] {
        for parts in [1, 3] {
            let norm = norm(&[0, channels], 1).momentum(momentum);
            let moments = vec![0.0; 4 * channels * parts];
            for (label, gpu) in gpus() {
                let given = Tensor::new(gpu, &moments);
                let [nothing, y] = [(); 2].map(|()| Tensor::new(gpu, &[]));
                let [mean, var] = [3.0, 2.0].map(|start| Tensor::new(gpu, &vec![start; channels]));
                let batches = Tensor::new(gpu, &[f32::from_bits(7)]);
                let plan = gpu.context().plan_from_moments(&norm, parts).unwrap();
                let operands = Operands::new(nothing.view(), y.view()).moments(given.view());
                let operands = operands.running_mean(mean.view()).running_var(var.view());
                run(gpu, &plan, &operands.num_batches_tracked(batches.view()));
                assert_eq!((mean.read(), var.read()), (vec![3.0; channels], vec![2.0; channels]), "{label} {parts}");
                assert_eq!(batches.bits(), [7], "{label} {parts}");
            }
            let (mut mean, mut var, mut batches) = (vec![3.0; channels], vec![2.0; channels], 7);
            let operands = cpu::Operands::new(&[0.0; 0], &mut [0.0; 0]).moments(&moments).tracked(&mut mean, &mut var);
            let plan = Cpu::new().plan_from_moments(&norm, parts).unwrap();
            plan.run(operands.num_batches_tracked(&mut batches)).unwrap();
            assert_eq!((mean, var, batches), (vec![3.0; channels], vec![2.0; channels], 7), "cpu {parts}");
        }
    }
}

#[test]
fn what_has_no_moments_is_refused() {
    let context = gpu().context();
    let eval = BatchNorm::new(&[4, 3], 1).unwrap().eval();
    let refused = |error: SpecError| assert!(matches!(error, SpecError::RunningMoments { .. }), "{error}");
    refused(context.plan_moments(&eval).unwrap_err());
    refused(context.plan_from_moments(&eval, 2).unwrap_err());
    refused(context.plan_backward_sums(&eval, Backward::new()).unwrap_err());
    refused(context.plan_backward_from_sums(&eval, 2).unwrap_err());
    let train = BatchNorm::new(&[4, 3], 1).unwrap();
    for error in
        [context.plan_from_moments(&train, 0).unwrap_err(), context.plan_backward_from_sums(&train, 0).unwrap_err()]
    {
        assert!(error.to_string().contains("parts is 0 but must be at least 1"), "{error}");
    }
    let plan = context.plan_from_moments(&train, usize::MAX);
    assert!(matches!(plan.unwrap_err(), SpecError::Parts { .. }));
}
