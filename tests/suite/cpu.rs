//! The CPU as an engine: its bits, its calls on slices, and what it refuses. Its values are held to the oracle where those of the
//! GPU are.

use wgpu_norm::cpu::{Cpu, Operands, Slice as Elements};
use wgpu_norm::half::{bf16, f16};
use wgpu_norm::ndarray::{ArrayD, Axis, Slice};
use wgpu_norm::{
    Activation, Backward, BatchNorm, BindError, Element, Engine, Error, Gpu, GroupNorm, Inputs, LayerNorm, LpNorm,
    Moments, Norm, RmsNorm, Storage, VarianceEstimator,
};

use crate::support::{Case, Data, Gradient, Kind, Runs, close, cpu, gpu};

/// Every layout, in shapes that go to one thread and to several, as slabs and as stages.
fn layouts() -> Vec<(Kind, Vec<usize>)> {
    vec![
        (Kind::Layer { ndim: 1 }, vec![5, 70]),
        (Kind::Layer { ndim: 1 }, vec![6_000, 8]),
        (Kind::Layer { ndim: 1 }, vec![3_000, 65]),
        (Kind::Layer { ndim: 1 }, vec![300, 769]),
        (Kind::Layer { ndim: 1 }, vec![40, 20_001]),
        (Kind::Layer { ndim: 1 }, vec![2, 300_001]),
        (Kind::Rms { ndim: 1, offset: 1.0 }, vec![3, 50_000]),
        (Kind::Rms { ndim: 1, offset: 0.0 }, vec![900, 300]),
        (Kind::LayerOver { axes: &[1] }, vec![40, 30, 90]),
        (Kind::LayerOver { axes: &[1] }, vec![2, 300, 5_000]),
        (Kind::LayerOver { axes: &[1] }, vec![30, 900, 4]),
        (Kind::LayerOver { axes: &[0] }, vec![3, 70_000]),
        (Kind::RmsOver { axes: &[1], offset: 1.0 }, vec![3, 600, 49]),
        (Kind::LayerOver { axes: &[1, 3] }, vec![20, 6, 40, 33]),
        (Kind::LayerOver { axes: &[0, 2] }, vec![60, 70, 5]),
        (Kind::LayerOver { axes: &[1, 3] }, vec![50, 20, 70, 6]),
        (Kind::Group { groups: 4, axis: 1 }, vec![40, 8, 300]),
        (Kind::Group { groups: 4, axis: 1 }, vec![700, 64, 2]),
        (Kind::Group { groups: 4, axis: 1 }, vec![3, 16, 3, 1]),
        (Kind::Group { groups: 4, axis: 2 }, vec![40, 300, 8]),
        (Kind::Group { groups: 2, axis: 2 }, vec![3, 50, 64, 3]),
        (Kind::Group { groups: 2, axis: 2 }, vec![2, 40_000, 6]),
        (Kind::Group { groups: 1, axis: 1 }, vec![1, 4, 100_000]),
        (Kind::Layer { ndim: 1 }, vec![1_100, 1_001]),
        (Kind::Instance { axis: 1 }, vec![20, 8, 1_000]),
        (Kind::Instance { axis: 1 }, vec![90, 70, 4]),
        (Kind::Instance { axis: 1 }, vec![60, 7, 49]),
        (Kind::Instance { axis: 2 }, vec![20, 1_000, 8]),
        (Kind::Instance { axis: 2 }, vec![3, 7, 40, 90]),
        (Kind::Instance { axis: 2 }, vec![3, 2_000, 3]),
        (Kind::BatchTrain { axis: 1 }, vec![12, 5, 3_000]),
        (Kind::BatchTrain { axis: 1 }, vec![20_000, 7]),
        (Kind::BatchTrain { axis: 1 }, vec![300, 5, 20]),
        (Kind::BatchTrain { axis: 1 }, vec![70, 900]),
        (Kind::BatchTrain { axis: 1 }, vec![2, 90, 300]),
        (Kind::BatchEval { axis: 1 }, vec![12, 5, 3_000]),
        (Kind::BatchEval { axis: 1 }, vec![20_000, 7]),
        (Kind::Mvn { axes: &[0, 2] }, vec![50, 7, 200]),
        (Kind::Lp { p: 1, axes: &[1] }, vec![300, 700]),
        (Kind::Lp { p: 2, axes: &[0] }, vec![700, 300]),
    ]
}

fn bits(array: &ArrayD<f32>) -> Vec<u32> {
    array.iter().map(|v| v.to_bits()).collect()
}

/// A layout's 16-bit type, and that of its weight and bias.
fn short(number: usize) -> (Element, Element) {
    let element = if number.is_multiple_of(2) { Element::F16 } else { Element::Bf16 };
    (element, if number % 4 < 2 { Element::F32 } else { element })
}

/// The bits of all results, of both directions.
fn all_bits(on: &Cpu, gradient: &Gradient, as_if: Storage) -> Vec<Vec<u32>> {
    let case = &gradient.case;
    let norm = case.norm();
    let centered = case.kind.takes("--save-mean") && !case.kind.is_eval();
    let mut inputs = case.inputs();
    inputs = if centered { inputs.with_mean() } else { inputs };
    inputs = if gradient.is_eval() { inputs } else { inputs.with_rstd().with_statistics() };
    let out = on.run_array(norm.as_ref(), inputs).unwrap();
    // Where nothing else is asked for, another way leads to the same.
    assert!(bits(&out.y) == bits(&on.run_array(norm.as_ref(), case.inputs()).unwrap().y), "{:?}", case.kind);
    // Those of elements of 16 bits are as they would be stored.
    let rounded = |of: &ArrayD<f32>, element: Element| bits(&of.mapv(|v| element.rounded(v)));
    let mut all = vec![rounded(&out.y, as_if.of_output())];
    all.extend([&out.mean, &out.rstd, &out.statistics].into_iter().flatten().map(bits));
    if matches!(case.kind, Kind::Mvn { .. } | Kind::Lp { .. }) {
        return all;
    }
    let saved = out.statistics.map(|statistics| (Backward::new().saved_statistics(), Some(statistics)));
    for (wanted, statistics) in [(Backward::new(), None)].into_iter().chain(saved) {
        let mut inputs = Inputs::new(case.x.view()).grad_output(gradient.dy.view());
        if let Some(weight) = &case.weight {
            inputs = inputs.weight(weight.view());
        }
        if let (Some(mean), Some(var)) = (&case.running_mean, &case.running_var) {
            inputs = inputs.running_mean(mean.view()).running_var(var.view());
        }
        if let Some(statistics) = &statistics {
            inputs = inputs.statistics(statistics.view());
        }
        let out = on.run_backward_array(norm.as_ref(), wanted, inputs).unwrap();
        all.extend(out.input.map(|dx| rounded(&dx, as_if.of_gradients())));
        all.extend([out.weight, out.bias].into_iter().flatten().map(|of| bits(&of)));
    }
    all
}

#[test]
fn every_layout_is_as_promised() {
    for (number, (kind, shape)) in layouts().into_iter().enumerate() {
        let (element, parameters) = short(number);
        let halves = Gradient::new(kind, &shape, 1.0).stored_as(element, parameters);
        for gradient in [Gradient::new(kind, &shape, 0.0), Gradient::new(kind, &shape, 1e6), halves] {
            gradient.case.check_on("on the CPU", cpu(), &gradient.case.oracle());
            if !matches!(kind, Kind::Mvn { .. } | Kind::Lp { .. }) {
                gradient.check_all(&[]);
            }
        }
    }
}

#[test]
fn threads_and_instructions_change_no_bit() {
    let with = |threads: usize, on: &Cpu, gradient: &Gradient, as_if: Storage| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| all_bits(on, gradient, as_if))
    };
    for (number, (kind, shape)) in layouts().into_iter().enumerate() {
        let of_f32 = Gradient::new(kind, &shape, 1.0);
        let (element, parameters) = short(number);
        let halves = Gradient::new(kind, &shape, 1.0).stored_as(element, parameters);
        for gradient in [of_f32, halves] {
            // Those of 16 bits are those of f32, rounded.
            let storage = gradient.case.storage;
            let mut alike = Gradient { case: gradient.case.clone(), dy: gradient.dy.clone() };
            alike.case.storage = Storage::default();
            let want = with(1, cpu(), &alike, storage);
            for threads in [1, 2, 3, 8] {
                let same = want == with(threads, cpu(), &gradient, storage);
                assert!(same, "{kind:?} {shape:?} as {storage:?} with {threads} threads");
            }
            assert!(
                want == with(2, &Cpu::baseline(), &gradient, storage),
                "{kind:?} {shape:?} as {storage:?} as compiled"
            );
        }
    }
}

/// What comes of a group alone is what comes of it beside others: of samples, or of channels in batch norm.
#[test]
fn other_groups_change_no_bit() {
    let along = |kind: Kind| if let Kind::BatchTrain { axis } = kind { axis.unsigned_abs() } else { 0 };
    for (kind, shape) in layouts() {
        let axis = along(kind);
        let reduced = matches!(
            kind,
            Kind::Mvn { axes: [0, ..] } | Kind::Lp { axes: [0, ..], .. } | Kind::LayerOver { axes: [0, ..] }
        );
        if reduced || matches!(kind, Kind::BatchEval { .. }) {
            continue;
        }
        let gradient = Gradient::new(kind, &shape, 1.0).plain();
        let run = |gradient: &Gradient| {
            let norm = gradient.case.norm();
            let mut all = vec![cpu().forward(norm.as_ref(), gradient.case.inputs()).unwrap().y];
            if !matches!(kind, Kind::Mvn { .. } | Kind::Lp { .. }) {
                let inputs = Inputs::new(gradient.case.x.view()).grad_output(gradient.dy.view());
                all.extend(cpu().backward(norm.as_ref(), Backward::new(), inputs).unwrap().input);
            }
            all
        };
        let all = run(&gradient);
        // Of one channel, batch norm is one row, and of another shape.
        let least = if axis == 1 { 2 } else { 1 };
        for part in [0..least, least..shape[axis].min(2 * least)] {
            let cut = |of: &ArrayD<f32>| of.slice_axis(Axis(axis), Slice::from(part.clone())).to_owned();
            let mut alone = Gradient::new(kind, &shape, 1.0).plain();
            (alone.case.x, alone.dy) = (cut(&gradient.case.x), cut(&gradient.dy));
            for (all, alone) in all.iter().zip(run(&alone)) {
                assert!(bits(&cut(all)) == bits(&alone), "{kind:?} {shape:?} {part:?} alone");
            }
        }
    }
}

/// Groups that need another scale, or are no numbers, beside ordinary ones: of rows of every length, the first group changes alone.
#[test]
fn a_group_of_another_scale_changes_no_bit_of_others() {
    for width in [1, 3, 4, 16, 17, 40, 1000] {
        let run = |change: &dyn Fn(f32) -> f32| {
            let mut gradient = Gradient::new(Kind::Layer { ndim: 1 }, &[300, width], 0.5);
            gradient.case.x.slice_axis_mut(Axis(0), Slice::from(1..2)).mapv_inplace(change);
            let norm = gradient.case.norm();
            let y = cpu().forward(norm.as_ref(), gradient.case.inputs()).unwrap().y;
            let weight = gradient.case.weight.as_ref().unwrap();
            let inputs = Inputs::new(gradient.case.x.view()).weight(weight.view()).grad_output(gradient.dy.view());
            let dx = cpu().backward(norm.as_ref(), Backward::new(), inputs).unwrap().input.unwrap();
            [y, dx].map(|of| of.slice_axis(Axis(0), Slice::from(2..)).to_owned())
        };
        let want = run(&|v| v);
        let changes: [&dyn Fn(f32) -> f32; 4] = [&|v| v * 1e30, &|v| v * 1e-30, &|_| 0.0, &|_| f32::NAN];
        for change in changes {
            for (got, want) in run(change).iter().zip(&want) {
                assert!(bits(got) == bits(want), "{width} wide");
            }
        }
    }
}

/// Values that make one pass of statistics too coarse, beside others.
#[test]
fn statistics_are_taken_again_where_the_first_elements_mislead() {
    for (kind, shape) in layouts() {
        if matches!(kind, Kind::BatchEval { .. }) {
            continue;
        }
        for change in [|v: f32| v.max(0.0), |v: f32| if v > 1.2 { 1e4 } else { 0.1 }, |v: f32| v * 1e-3 + 7e3] {
            let mut gradient = Gradient::new(kind, &shape, 0.0);
            let length = gradient.case.x.len();
            for (at, v) in gradient.case.x.iter_mut().enumerate() {
                *v = if at % 97 < 66 || at < length / 3 { 0.0 } else { change(*v) };
            }
            gradient.case.check_on("on the CPU", cpu(), &gradient.case.oracle());
            if !matches!(kind, Kind::Mvn { .. } | Kind::Lp { .. }) {
                gradient.check_all(&[]);
            }
        }
    }
}

fn flat(array: &ArrayD<f32>) -> Vec<f32> {
    array.iter().copied().collect()
}

/// With weight, bias and running statistics.
fn with<'a>(mut operands: Operands<'a>, given: [&'a Option<Vec<f32>>; 4]) -> Operands<'a> {
    let [weight, bias, mean, var] = given;
    if let Some(weight) = weight {
        operands = operands.weight(weight);
    }
    if let Some(bias) = bias {
        operands = operands.bias(bias);
    }
    if let (Some(mean), Some(var)) = (mean, var) {
        operands = operands.running(mean, var);
    }
    operands
}

#[test]
fn in_place_and_apart_are_the_same() {
    for (kind, shape) in layouts() {
        let gradient = Gradient::new(kind, &shape, 1.0);
        let case = &gradient.case;
        let norm = case.norm();
        let [x, dy] = [&case.x, &gradient.dy].map(flat);
        let of = |array: &Option<ArrayD<f32>>| array.as_ref().map(flat);
        let (weight, bias, mean, var) =
            (of(&case.weight), of(&case.bias), of(&case.running_mean), of(&case.running_var));
        let given = [&weight, &bias, &mean, &var];
        let plan = cpu().plan(norm.as_ref()).unwrap();
        let (mut y, mut over_x) = (vec![f32::NAN; x.len()], x.clone());
        plan.run(with(Operands::new(&x, &mut y), given)).unwrap();
        plan.run(with(Operands::in_place(&mut over_x), given)).unwrap();
        assert!(y == over_x, "{kind:?} {shape:?}");
        if matches!(kind, Kind::Mvn { .. } | Kind::Lp { .. }) {
            continue;
        }
        let given = [&weight, &None, &mean, &var];
        let plan = cpu().plan_backward(norm.as_ref(), Backward::new().without_weight().without_bias()).unwrap();
        let (mut dx, mut over_dy) = (vec![f32::NAN; x.len()], dy.clone());
        plan.run(with(Operands::backward(&dy, &x).grad_input(&mut dx), given)).unwrap();
        plan.run(with(Operands::backward_in_place(&mut over_dy, &x), given)).unwrap();
        assert!(dx == over_dy, "{kind:?} {shape:?}");
        // What is added to, apart and in place.
        let more: Vec<f32> = x.iter().map(|v| v * 0.5).collect();
        let (mut apart, mut added, mut both) = (vec![f32::NAN; x.len()], more.clone(), dy.clone());
        let operands = Operands::backward(&dy, &x).grad_residual(&more).grad_input(&mut apart);
        plan.run(with(operands, given)).unwrap();
        plan.run(with(Operands::backward(&dy, &x).grad_residual_in_place(&mut added), given)).unwrap();
        plan.run(with(Operands::backward_in_place(&mut both, &x).grad_residual(&more), given)).unwrap();
        let want: Vec<f32> = dx.iter().zip(&more).map(|(dx, more)| dx + more).collect();
        assert!(want == apart && want == added && want == both, "{kind:?} {shape:?}");
    }
}

/// Elements of a storage type.
trait Stored: Copy + PartialEq + std::fmt::Debug + Into<f32> {
    const ELEMENT: Element;
    fn of(v: f32) -> Self;
}

impl Stored for f32 {
    const ELEMENT: Element = Element::F32;
    fn of(v: f32) -> Self {
        v
    }
}

impl Stored for f16 {
    const ELEMENT: Element = Element::F16;
    fn of(v: f32) -> Self {
        Self::from_f32(v)
    }
}

impl Stored for bf16 {
    const ELEMENT: Element = Element::Bf16;
    fn of(v: f32) -> Self {
        Self::from_f32(v)
    }
}

fn stored<T: Stored>(values: &[f32]) -> Vec<T> {
    values.iter().map(|&v| T::of(v)).collect()
}

fn wide_of<T: Stored>(values: &[T]) -> Vec<f32> {
    values.iter().map(|&v| v.into()).collect()
}

/// In place and apart, of 16 bits or with f32 beside, the result is that of f32, rounded once.
fn halves_are_f32_rounded<T: Stored>()
where
    Vec<T>: Elements,
{
    for (number, (kind, shape)) in layouts().into_iter().enumerate() {
        let what = format!("{kind:?} {shape:?} as {}", T::ELEMENT);
        let gradient = Gradient::new(kind, &shape, 1.0).stored_as(T::ELEMENT, Element::F32);
        let case = &gradient.case;
        let [norm_of_f32, norm] = [Storage::default(), case.storage].map(|storage| {
            let mut case = case.clone();
            case.storage = storage;
            case.norm()
        });
        let of = |array: &Option<ArrayD<f32>>| array.as_ref().map(flat);
        // Those without a weight go another way.
        let weight = of(&case.weight).filter(|_| number % 3 > 0);
        let (mean, var) = (of(&case.running_mean), of(&case.running_var));
        let given = [&weight, &None, &mean, &var];
        let [x, dy] = [&case.x, &gradient.dy].map(flat);
        let [short_x, short_dy] = [&x, &dy].map(|of| stored::<T>(of));
        let nan = || vec![T::of(f32::NAN); x.len()];
        let run = |norm: &dyn Norm, operands: Operands<'_>| {
            cpu().plan(norm).unwrap().run(with(operands, given)).unwrap();
        };
        let mut want = vec![f32::NAN; x.len()];
        run(norm_of_f32.as_ref(), Operands::new(&x, &mut want));
        let (mut y, mut over_x, mut y_of_f32) = (nan(), short_x.clone(), vec![f32::NAN; x.len()]);
        run(norm.as_ref(), Operands::new(&short_x, &mut y));
        run(norm.as_ref(), Operands::in_place(&mut over_x));
        let f32_beside = Storage::new(T::ELEMENT).output(Element::F32).gradients(Element::F32);
        let beside = case.kind.norm(&shape, case.eps, None).unwrap().stored_as(f32_beside);
        run(&beside, Operands::new(&short_x, &mut y_of_f32));
        assert!(y == stored::<T>(&want) && y == over_x && y_of_f32 == want, "y of {what}");
        if !kind.has_backward() {
            continue;
        }
        let run = |norm: &dyn Norm, operands: Operands<'_>| {
            let plan = cpu().plan_backward(norm, Backward::new().without_weight().without_bias()).unwrap();
            plan.run(with(operands, given)).unwrap();
        };
        let short_more: Vec<T> = x.iter().map(|v| T::of(v * 0.3)).collect();
        let more = wide_of(&short_more);
        let mut want = vec![f32::NAN; x.len()];
        run(norm_of_f32.as_ref(), Operands::backward(&dy, &x).grad_input(&mut want));
        let (mut dx, mut over_dy, mut dx_of_f32) = (nan(), short_dy.clone(), dy.clone());
        run(norm.as_ref(), Operands::backward(&short_dy, &short_x).grad_input(&mut dx));
        run(norm.as_ref(), Operands::backward_in_place(&mut over_dy, &short_x));
        run(&beside, Operands::backward_in_place(&mut dx_of_f32, &short_x));
        assert!(dx == stored::<T>(&want) && dx == over_dy && dx_of_f32 == want, "dx of {what}");
        run(norm_of_f32.as_ref(), Operands::backward(&dy, &x).grad_residual(&more).grad_input(&mut want));
        let (mut apart, mut added, mut both) = (nan(), short_more.clone(), short_dy.clone());
        let operands = Operands::backward(&short_dy, &short_x).grad_residual(&short_more).grad_input(&mut apart);
        run(norm.as_ref(), operands);
        run(norm.as_ref(), Operands::backward(&short_dy, &short_x).grad_residual_in_place(&mut added));
        run(norm.as_ref(), Operands::backward_in_place(&mut both, &short_x).grad_residual(&short_more));
        let want = stored::<T>(&want);
        assert!(want == apart && want == added && want == both, "dx and another of {what}");
    }
}

#[test]
fn halves_in_place_and_apart_are_f32_rounded() {
    halves_are_f32_rounded::<f16>();
    halves_are_f32_rounded::<bf16>();
}

/// Statistics are of the sum before it is rounded.
fn residuals<T: Stored>()
where
    Vec<T>: Elements,
{
    let shapes = [[5, 8], [3_000, 16], [300, 700], [1_100, 1_001], [2, 300_001]];
    for (shape, rms) in shapes.into_iter().flat_map(|shape| [(shape, false), (shape, true)]) {
        let norm = |element| -> Box<dyn Norm> {
            if rms {
                Box::new(RmsNorm::new(&shape, &shape[1..]).unwrap().stored_as(element))
            } else {
                Box::new(LayerNorm::new(&shape, &shape[1..]).unwrap().stored_as(element))
            }
        };
        let mut data = Data::new(5);
        let [x, residual] = [1.0, -3.0].map(|mean| stored::<T>(&flat(&data.normal(&shape, mean, 1.0))));
        let sum: Vec<f32> = wide_of(&x).iter().zip(wide_of(&residual)).map(|(x, residual)| x + residual).collect();
        let mut y = vec![f32::NAN; sum.len()];
        cpu().plan(norm(Element::F32).as_ref()).unwrap().run(Operands::new(&sum, &mut y)).unwrap();
        let (want, sum) = (stored::<T>(&y), stored::<T>(&sum));
        let plan = cpu().plan(norm(T::ELEMENT).as_ref()).unwrap();
        let run = |operands: Operands<'_>| plan.run(operands).unwrap();
        let what = format!("{} {shape:?} as {}", norm(T::ELEMENT).name(), T::ELEMENT);
        let new = || vec![T::of(f32::NAN); sum.len()];
        let (mut y, mut out) = (new(), new());
        run(Operands::new(&x, &mut y).residual(&residual));
        assert!(y == want, "{what}");
        run(Operands::new(&x, &mut y).residual(&residual).residual_out(&mut out));
        assert!(y == want && out == sum, "{what}, with the sum");
        let mut over = residual.clone();
        run(Operands::new(&x, &mut y).residual_in_place(&mut over));
        assert!(y == want && over == sum, "{what}, over the residual");
        let mut over = x.clone();
        run(Operands::in_place(&mut over).residual(&residual));
        assert!(over == want, "{what}, over x");
        let (mut over, mut over_residual) = (x.clone(), residual.clone());
        run(Operands::in_place(&mut over).residual_in_place(&mut over_residual));
        assert!(over == want && over_residual == sum, "{what}, over both");
        let mut plain = new();
        run(Operands::new(&x, &mut plain));
        run(Operands::new(&x, &mut y).residual_out(&mut out));
        assert!(y == plain && out == x, "{what}, of none");
    }
}

#[test]
fn residuals_are_added_first() {
    residuals::<f32>();
    residuals::<f16>();
    residuals::<bf16>();
}

#[test]
fn parts_of_a_batch_of_halves_are_those_of_f32() {
    let shape = [37, 25, 3];
    let gradient = Gradient::new(Kind::BatchTrain { axis: 2 }, &shape, 1.0).stored_as(Element::F16, Element::F16);
    let norm = || BatchNorm::new(&shape, 2).unwrap().without_tracking();
    let halves = norm().stored_as(Storage::new(Element::F16).parameters(Element::F16));
    let weight = flat(gradient.case.weight.as_ref().unwrap());
    let [x, dy] = [&gradient.case.x, &gradient.dy].map(flat);
    let [short_x, short_dy, short_weight] = [&x, &dy, &weight].map(|of| stored::<f16>(of));
    let (mut y, mut dx) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
    let (mut short_y, mut short_dx) = (vec![f16::NAN; x.len()], vec![f16::NAN; x.len()]);
    fn run<'a>(
        norm: &dyn Norm,
        [x, dy, weight]: [&'a (impl Elements + 'a); 3],
        y: &'a mut impl Elements,
        dx: &'a mut impl Elements,
    ) -> [Vec<f32>; 4] {
        let (mut moments, mut sums, mut saved) = (vec![0.0; 12], vec![0.0; 6], vec![0.0; 12]);
        let mut parameters = vec![0.0; 6];
        let (dweight, dbias) = parameters.split_at_mut(3);
        cpu().plan_moments(norm).unwrap().run(Operands::of(x).moments_out(&mut moments)).unwrap();
        let operands = Operands::new(x, y).weight(weight).moments(&moments).statistics_out(&mut saved);
        cpu().plan_from_moments(norm, 1).unwrap().run(operands).unwrap();
        let operands = Operands::backward(dy, x).weight(weight).statistics(&saved).sums_out(&mut sums);
        let plan = cpu().plan_backward_sums(norm, Backward::new()).unwrap();
        plan.run(operands.grad_weight(dweight).grad_bias(dbias)).unwrap();
        let operands = Operands::backward(dy, x).weight(weight).statistics(&saved).sums(&sums);
        cpu().plan_backward_from_sums(norm, 1).unwrap().run(operands.grad_input(dx)).unwrap();
        [moments, sums, saved, parameters]
    }
    let want = run(&norm(), [&x, &dy, &weight], &mut y, &mut dx);
    let got = run(&halves, [&short_x, &short_dy, &short_weight], &mut short_y, &mut short_dx);
    assert_eq!(got, want);
    assert!(short_y == stored::<f16>(&y) && short_dx == stored::<f16>(&dx));
}

#[test]
fn elements_of_another_type_are_refused() {
    let norm = || LayerNorm::new(&[2, 3], &[3]).unwrap();
    let (x, weight, mut y, mut y_of_f32) = ([f16::ONE; 6], [f16::ONE; 3], [f16::ONE; 6], [0.0; 6]);
    let refused = |norm: &dyn Norm, operands: Operands<'_>, tensor: &'static str, is: Element, must: Element| {
        let error = cpu().plan(norm).unwrap().run(operands).unwrap_err();
        assert_eq!(error, BindError::Element { tensor, is, must });
    };
    let (f32, f16, bf16) = (Element::F32, Element::F16, Element::Bf16);
    refused(&norm(), Operands::in_place(&mut y), "y", f16, f32);
    refused(&norm().stored_as(f16), Operands::new(&[0.0; 6], &mut y), "x", f32, f16);
    refused(&norm().stored_as(bf16), Operands::new(&x, &mut y), "x", f16, bf16);
    refused(&norm().stored_as(f16), Operands::new(&x, &mut y_of_f32), "y", f32, f16);
    let plan = cpu().plan(&norm().stored_as(f16)).unwrap();
    let error = plan.run(Operands::new(&x, &mut y).weight(&weight)).unwrap_err();
    assert_eq!(error.to_string(), "weight: its elements are f16 here, but the norm stores them as f32");
}

/// A batch in parts, as over several devices.
#[test]
fn parts_of_a_batch_give_what_the_whole_gives() {
    for (shape, axis) in [(vec![37, 6], 1), (vec![37, 4, 25], 1), (vec![37, 25, 3], 2), (vec![37, 900, 40], 1)] {
        let gradient = Gradient::new(Kind::BatchTrain { axis }, &shape, 1e6);
        let (case, channels) = (&gradient.case, shape[axis.unsigned_abs()]);
        let (want, want_back) = (case.oracle(), gradient.oracle());
        let (weight, bias) = (flat(case.weight.as_ref().unwrap()), flat(case.bias.as_ref().unwrap()));
        for sizes in [vec![37], vec![20, 17], vec![0, 30, 7]] {
            let norm = |n: usize| {
                let shape: Vec<usize> = std::iter::once(n).chain(shape[1..].iter().copied()).collect();
                let norm = BatchNorm::new(&shape, axis).unwrap();
                norm.running_variance(VarianceEstimator::Unbiased)
            };
            let mut start = 0;
            let parts: Vec<[Vec<f32>; 2]> = sizes
                .iter()
                .map(|&size| {
                    let part = Slice::from(start..start + size);
                    start += size;
                    [&case.x, &gradient.dy].map(|of| flat(&of.slice_axis(Axis(0), part).to_owned()))
                })
                .collect();
            let mut gathered = Vec::new();
            for ([x, _], &size) in parts.iter().zip(&sizes) {
                let mut moments = vec![f32::NAN; 4 * channels];
                let plan = cpu().plan_moments(&norm(size)).unwrap();
                plan.run(Operands::of(x).moments_out(&mut moments)).unwrap();
                gathered.extend(moments);
            }
            let (mut ys, mut sums, mut saved) = (Vec::new(), Vec::new(), Vec::new());
            let (mut dweight, mut dbias) = (vec![0.0; channels], vec![0.0; channels]);
            for ([x, dy], &size) in parts.iter().zip(&sizes) {
                let (mut y, mut statistics) = (vec![f32::NAN; x.len()], vec![f32::NAN; 4 * channels]);
                let (mut mean, mut var, mut batches) = (vec![0.0; channels], vec![1.0; channels], 0);
                let operands = Operands::new(x, &mut y).weight(&weight).bias(&bias).moments(&gathered);
                let operands = operands.statistics_out(&mut statistics).tracked(&mut mean, &mut var);
                let plan = cpu().plan_from_moments(&norm(size), sizes.len()).unwrap();
                plan.run(operands.num_batches_tracked(&mut batches)).unwrap();
                assert_eq!(batches, 1);
                let n = (case.x.len() / channels) as f64;
                for (var, batch) in var.iter().zip(want.variance.as_ref().unwrap()) {
                    let want = 0.9 + 0.1 * batch * n / (n - 1.0);
                    assert!((f64::from(*var) - want).abs() <= 4e-6 * want, "{var} {want}");
                }
                let mut part = vec![f32::NAN; 2 * channels];
                let wanted = Backward::new().accumulate();
                let plan = cpu().plan_backward_sums(&norm(size), wanted).unwrap();
                let operands = Operands::backward(dy, x).weight(&weight).statistics(&statistics);
                let operands = operands.sums_out(&mut part).grad_weight(&mut dweight).grad_bias(&mut dbias);
                plan.run(operands).unwrap();
                ys.extend(y);
                sums.extend(part);
                saved.push(statistics);
            }
            let what = format!("{shape:?} in {sizes:?}");
            let array = |values: Vec<f32>, like: &ArrayD<f64>| ArrayD::from_shape_vec(like.raw_dim(), values).unwrap();
            close(&format!("y of {what}"), &array(ys, &want.y), &want.y, &want.scale);
            let mut dxs = Vec::new();
            for (([x, dy], &size), statistics) in parts.iter().zip(&sizes).zip(&saved) {
                let mut dx = vec![f32::NAN; x.len()];
                let plan = cpu().plan_backward_from_sums(&norm(size), sizes.len()).unwrap();
                let operands = Operands::backward(dy, x).weight(&weight).statistics(statistics).sums(&sums);
                plan.run(operands.grad_input(&mut dx)).unwrap();
                dxs.extend(dx);
            }
            close(&format!("dx of {what}"), &array(dxs, &want_back.dx), &want_back.dx, &want_back.dx_scale);
            let scale = &want_back.dweight_scale;
            close(&format!("dweight of {what}"), &array(dweight, scale), &want_back.dweight, scale);
            let scale = &want_back.dbias_scale;
            close(&format!("dbias of {what}"), &array(dbias, scale), &want_back.dbias, scale);
        }
    }
}

/// Of every norm, as those of the values themselves.
#[test]
fn moments_are_those_of_groups() {
    let shape = [3, 8, 10];
    let x = flat(&Data::new(9).normal(&shape, 100.0, 1.0));
    let norms: [Box<dyn Norm>; 3] = [
        Box::new(LayerNorm::new(&shape, &[10]).unwrap()),
        Box::new(GroupNorm::channels_first(&shape, 2).unwrap()),
        Box::new(LpNorm::l1(&shape, &[2]).unwrap()),
    ];
    for norm in &norms {
        let groups: usize = norm.statistics_shape().iter().product();
        let mut moments = vec![Moments::default(); groups];
        let plan = cpu().plan_moments(norm.as_ref()).unwrap();
        plan.run(Operands::of(&x).moments_out(bytemuck::cast_slice_mut(&mut moments))).unwrap();
        for (group, got) in x.chunks(x.len() / groups).zip(moments) {
            let want = Moments::of(group);
            let magnitudes: f64 = group.iter().map(|v| f64::from(v.abs())).sum();
            let (mean, sum) = if norm.name() == "LpNorm" { (0.0, magnitudes) } else { (want.mean(), want.sum()) };
            assert_eq!(got.count(), want.count());
            assert!((got.mean() - mean).abs() < 1e-5 && (got.sum() / sum - 1.0).abs() < 4e-6, "{got:?} {want:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |error: &dyn std::fmt::Display, what: &str| {
        assert!(error.to_string().contains(what), "{error}");
    };
    let norm = LayerNorm::new(&[2, 3], &[3]).unwrap();
    let (x, mut y) = ([0.0; 6], [0.0; 6]);
    let run = |operands: Operands<'_>| cpu().plan(&norm).unwrap().run(operands).unwrap_err();
    refused(&run(Operands::of(&x)), "y is missing");
    refused(&run(Operands::new(&x[..5], &mut y)), "x: it has 5 elements but must have 6, those of shape [2, 3]");
    refused(&run(Operands::new(&x, &mut y).weight(&x)), "weight: it has 6 elements but must have 3");
    refused(&run(Operands::new(&x, &mut y).running(&x, &x)), "running_mean was given, but");
    let (mut other, mut r) = ([0.0; 6], [0.0; 6]);
    refused(
        &run(Operands::new(&x, &mut y).residual_in_place(&mut r).residual_out(&mut other)),
        "residual_out was given twice",
    );
    let norm = BatchNorm::new(&[2, 3], 1).unwrap();
    let error = cpu().plan(&norm).unwrap().run(Operands::new(&x, &mut y).running(&[0.0; 3], &[1.0; 3])).unwrap_err();
    refused(&error, "BatchNorm: running_mean is written, so it must be given as a mutable slice");
    assert!(cpu().plan_moments(&norm.clone().eval()).is_err());
    assert!(cpu().plan_from_moments(&norm, 0).is_err());
    assert!(cpu().plan_backward(&LpNorm::l1(&[2, 3], &[1]).unwrap(), Backward::new()).is_err());
    let error = cpu().run(&norm, Inputs::new(&x[..])).unwrap_err();
    assert!(matches!(error, Error::Bind(_)), "{error}");
}

#[test]
fn an_engine_says_what_it_is() {
    let x = [1.0, 3.0];
    let norm = LayerNorm::new(&[1, 2], &[2]).unwrap();
    let chosen = Engine::new_blocking().unwrap();
    // Software is used only where it is asked for.
    let software = |gpu: &Gpu| gpu.adapter_info().device_type == wgpu_norm::wgpu::DeviceType::Cpu;
    let asked = std::env::var_os("WGPU_ADAPTER_NAME").is_some_and(|name| !name.is_empty());
    assert!(chosen.gpu().is_none_or(|gpu| !software(gpu) || asked), "{}", chosen.describe());
    assert!(!chosen.reason().is_empty());
    for engine in [chosen, gpu().clone().into(), cpu().clone().into()] {
        assert_ne!(engine.gpu().is_some(), engine.cpu().is_some());
        let out = engine.run_blocking(&norm, Inputs::new(&x[..])).unwrap();
        assert!((out.y[1] - 1.0).abs() < 1e-4, "{}", engine.describe());
        let inputs = Inputs::new(&x[..]).grad_output(&[1.0, 1.0]);
        let out = engine.run_backward_blocking(&norm, Backward::new(), inputs).unwrap();
        assert_eq!(out.bias, Some(vec![1.0, 1.0]), "{}", engine.describe());
    }
}

/// The least there is, by given statistics: dx = dy * weight / sqrt(var), of 2 by mean 1 and variance 1/4.
#[test]
fn one_element_by_running_statistics() {
    for (axes, dims) in [(1, vec![1, 1]), (0, vec![1]), (1, vec![1, 1, 1, 1])] {
        let norm = BatchNorm::new(&dims, axes).unwrap().eval().eps(0.0);
        let inputs = Inputs::new(&[2.0][..]).grad_output(&[3.0]).running_mean(&[1.0]).running_var(&[0.25]);
        let out = cpu().run_backward(&norm, Backward::new(), inputs.weight(&[2.0])).unwrap();
        assert_eq!((out.input, out.weight, out.bias), (Some(vec![12.0]), Some(vec![6.0]), Some(vec![3.0])), "{dims:?}");
        // Of y = 4 and a bias of -4.5 nothing is left, of one of -3 it is 1.
        for (bias, left) in [(-4.5, 0.0), (-3.0, 12.0)] {
            let norm = norm.clone().then(Activation::Relu);
            let out = cpu().run_backward(&norm, Backward::new(), inputs.weight(&[2.0]).bias(&[bias])).unwrap();
            assert_eq!(out.input, Some(vec![left]), "{dims:?}, {bias}");
        }
    }
}

/// All of a training batch of no samples: nothing is updated, and gradients are 0.
#[test]
fn empty_tensors() {
    let norm = BatchNorm::new(&[0, 3], 1).unwrap();
    let inputs = Inputs::new(&[0.0; 0][..]).running_mean(&[1.0; 3]).running_var(&[2.0; 3]).num_batches_tracked(4);
    let out = cpu().run(&norm, inputs.with_mean()).unwrap();
    assert_eq!((out.running_mean, out.running_var), (Some(vec![1.0; 3]), Some(vec![2.0; 3])));
    assert_eq!(out.num_batches_tracked, Some(4));
    assert!(out.y.is_empty() && out.mean.unwrap().iter().all(|v| v.is_nan()));
    let inputs = Inputs::new(&[0.0; 0][..]).grad_output(&[]).grad_weight(&[7.0; 3]).grad_bias(&[8.0; 3]);
    let out = cpu().run_backward(&norm, Backward::new().accumulate(), inputs).unwrap();
    assert_eq!((out.weight, out.bias), (Some(vec![7.0; 3]), Some(vec![8.0; 3])));
    let case = Case::new(Kind::Layer { ndim: 1 }, &[0, 5], 0.0);
    assert!(cpu().forward(case.norm().as_ref(), case.inputs()).unwrap().y.is_empty());
}
