//! Tensors that are parts of larger ones: every norm against the oracle with strides of every kind, what lies between as it was.

use half::{bf16, f16};
use wgpu_norm::Element::{self, F16, F32};
use wgpu_norm::ndarray::{ArrayD, Dimension, IxDyn};
use wgpu_norm::{
    Backward, BindError, Engine, Error, Gpu, Inputs, LayerNorm, Norm, Operands, RmsNorm, SpecError, Strides, View, wgpu,
};

use crate::support::device::{bytes_of, run};
use crate::support::{Data, Gradient, Kind, changed, close, close_to, cpu, gpu, gpus, part};

/// What lies around and between: a NaN of either type.
const GUARD: u32 = 0x7e55_7e55;

/// A tensor with strides in a buffer that is its own, after so many elements.
struct Spread<'a> {
    gpu: &'a Gpu,
    element: Element,
    buffer: wgpu::Buffer,
    at: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// Row-major strides.
fn dense(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

fn place(index: &[usize], strides: &[usize]) -> usize {
    index.iter().zip(strides).map(|(i, step)| i * step).sum()
}

/// From the first element to the last.
fn extent(shape: &[usize], strides: &[usize]) -> usize {
    1 + shape.iter().zip(strides).map(|(n, step)| (n - 1) * step).sum::<usize>()
}

impl<'a> Spread<'a> {
    fn new(gpu: &'a Gpu, element: Element, at: usize, strides: &[usize], values: &ArrayD<f32>) -> Self {
        let size = element.size() as usize;
        let length = at + extent(values.shape(), strides) + 5;
        let mut image = vec![GUARD; (length * size).div_ceil(4)];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut image);
        for (index, &v) in values.indexed_iter() {
            let from = (at + place(index.slice(), strides)) * size;
            match element {
                F32 => bytes[from..from + 4].copy_from_slice(&v.to_ne_bytes()),
                F16 => bytes[from..from + 2].copy_from_slice(&f16::from_f32(v).to_ne_bytes()),
                _ => bytes[from..from + 2].copy_from_slice(&bf16::from_f32(v).to_ne_bytes()),
            }
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let descriptor =
            wgpu::BufferDescriptor { label: None, size: 4 * image.len() as u64, usage, mapped_at_creation: true };
        let buffer = gpu.device().create_buffer(&descriptor);
        buffer.get_mapped_range_mut(..).unwrap().copy_from_slice(bytemuck::cast_slice(&image));
        buffer.unmap();
        Self { gpu, element, buffer, at, shape: values.shape().to_vec(), strides: strides.to_vec() }
    }

    fn unwritten(gpu: &'a Gpu, element: Element, at: usize, strides: &[usize], shape: &[usize]) -> Self {
        Self::new(gpu, element, at, strides, &ArrayD::from_elem(IxDyn(shape), 7.0))
    }

    fn view(&self) -> View<'_> {
        View::new(&self.buffer, self.element.size() * self.at as u64)
    }

    /// Its values; between and around them nothing may have changed.
    fn read(&self) -> ArrayD<f32> {
        let mut bytes = bytes_of(self.gpu, &self.buffer);
        let step = self.element.size() as usize;
        let values = ArrayD::from_shape_fn(IxDyn(&self.shape), |index| {
            let from = (self.at + place(index.slice(), &self.strides)) * step;
            let cell = &mut bytes[from..from + step];
            let v = match self.element {
                F32 => f32::from_ne_bytes(cell.try_into().unwrap()),
                F16 => f16::from_ne_bytes(cell.try_into().unwrap()).to_f32(),
                _ => bf16::from_ne_bytes(cell.try_into().unwrap()).to_f32(),
            };
            cell.copy_from_slice(&GUARD.to_ne_bytes()[..step]);
            v
        });
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        assert!(words.iter().all(|&word| word == GUARD), "written between or around a tensor");
        values
    }
}

/// Kinds with shapes, and strides that each can have: even and odd ones, of one axis and of two, in another order.
fn layouts() -> Vec<(Kind, Vec<usize>, Vec<Vec<usize>>)> {
    let layer = Kind::Layer { ndim: 1 };
    vec![
        // Rows with a pitch, heads in a packed projection, heads first, single elements.
        (layer, vec![5, 64], vec![vec![96, 1], vec![67, 1], vec![1, 5]]),
        (layer, vec![5, 33], vec![vec![40, 1], vec![34, 1], vec![99, 3]]),
        (layer, vec![3, 700], vec![vec![704, 1]]),
        (layer, vec![2, 40_000], vec![vec![40_004, 1]]),
        (
            Kind::Rms { ndim: 1, offset: 1.0 },
            vec![7, 4, 64],
            vec![vec![3 * 256, 64, 1], vec![3 * 256, 3 * 64, 1], vec![64, 7 * 64, 1], vec![531, 65, 1]],
        ),
        (Kind::Layer { ndim: 2 }, vec![6, 5, 8], vec![vec![48, 8, 1], vec![60, 12, 1], vec![43, 8, 1]]),
        (Kind::LayerOver { axes: &[1] }, vec![3, 12, 40], vec![vec![600, 44, 1], vec![500, 41, 1], vec![40, 120, 1]]),
        (Kind::Group { groups: 2, axis: 1 }, vec![3, 4, 9], vec![vec![36 + 9, 9, 1], vec![36 + 8, 9, 1]]),
        (Kind::Group { groups: 2, axis: 2 }, vec![3, 50, 8], vec![vec![800, 16, 1], vec![600, 11, 1]]),
        (Kind::Instance { axis: 1 }, vec![2, 3, 700], vec![vec![3000, 900, 1]]),
        (Kind::Instance { axis: 2 }, vec![2, 30, 3], vec![vec![200, 4, 1], vec![150, 5, 1]]),
        (Kind::Instance { axis: 2 }, vec![2, 5, 8], vec![vec![80, 12, 1], vec![47, 9, 1]]),
        (Kind::BatchTrain { axis: 1 }, vec![700, 3], vec![vec![5, 1], vec![1, 700]]),
        (Kind::BatchTrain { axis: 1 }, vec![50, 64], vec![vec![128, 1]]),
        (Kind::BatchTrain { axis: 1 }, vec![5, 3, 140], vec![vec![600, 140, 1], vec![140, 700, 1]]),
        (Kind::BatchEval { axis: 1 }, vec![9, 8], vec![vec![12, 1], vec![9, 1]]),
        (Kind::Mvn { axes: &[0, 2] }, vec![5, 3, 140], vec![vec![140, 700, 1]]),
        (Kind::Lp { p: 2, axes: &[1] }, vec![3, 700], vec![vec![801, 1]]),
    ]
}

/// Forward and backward, of which tensor by tensor some have strides, and all.
fn check(kind: Kind, shape: &[usize], strides: &[usize], element: Element, gpu: &Gpu, label: &str) {
    let gradient = Gradient::new(kind, shape, 2.0).stored_as(element, F32);
    let case = &gradient.case;
    let want = case.oracle();
    let (dense, at) = (dense(shape), if element == F32 { 3 } else { 1 });
    let parameters = case.parameters();
    let given = |array: Option<&ArrayD<f32>>| array.map(|it| Spread::new(gpu, F32, 0, &self::dense(it.shape()), it));
    let (weight, bias) = (given(parameters.weight), given(parameters.bias));
    let (mean, var) = (given(parameters.running_mean), given(parameters.running_var));
    for &(of_x, of_y) in part(&[(strides, strides), (strides, &dense[..]), (&dense[..], strides)], 1) {
        let what = format!("{kind:?} {shape:?} of {element:?} {label}, x {of_x:?}, y {of_y:?}");
        let norm = case.norm().with_strides(Strides::new().x(of_x).y(of_y).grad_output(of_x).grad_input(of_y));
        let plan = match gpu.context().plan(&norm) {
            // Words of pieces that touch would be written by two lanes.
            Err(SpecError::Strides { must, .. }) if element != F32 && of_y.contains(&1) && must.contains("touch") => {
                continue;
            }
            plan => plan.unwrap(),
        };
        let x = Spread::new(gpu, element, at, of_x, &case.x);
        let y = Spread::unwritten(gpu, element, 0, of_y, shape);
        let mut operands = Operands::new(x.view(), y.view());
        let fresh = |array: Option<&ArrayD<f32>>, fill: f32| {
            let channels = array.map_or(norm.statistics_shape(), |it| it.shape().to_vec());
            let values = array.cloned().unwrap_or(ArrayD::from_elem(channels, fill));
            Spread::new(gpu, F32, 0, &self::dense(values.shape()), &values)
        };
        let (new_mean, new_var) = (fresh(parameters.running_mean, 0.0), fresh(parameters.running_var, 1.0));
        if let Some(weight) = &weight {
            operands = operands.weight(weight.view());
        }
        if let Some(bias) = &bias {
            operands = operands.bias(bias.view());
        }
        if kind.is_eval() {
            operands = operands.running_mean(new_mean.view()).running_var(new_var.view());
        }
        run(gpu, &plan, &operands);
        close_to(element, &format!("{what}\n{plan}"), &y.read(), &want.y, &want.scale);
        if !kind.has_backward() {
            continue;
        }
        let want = gradient.oracle();
        let plan = gpu.context().plan_backward(&norm, Backward::new()).unwrap();
        let dy = Spread::new(gpu, element, 2, of_x, &gradient.dy);
        let result = |want: &ArrayD<f64>| Spread::unwritten(gpu, F32, 0, &self::dense(want.shape()), want.shape());
        let [dweight, dbias] = [result(&want.dweight), result(&want.dbias)];
        let mut operands = Operands::backward(dy.view(), x.view());
        operands = operands.grad_weight(dweight.view()).grad_bias(dbias.view());
        if let Some(weight) = &weight {
            operands = operands.weight(weight.view());
        }
        if let (Some(mean), Some(var), true) = (&mean, &var, kind.is_eval()) {
            operands = operands.running_mean(mean.view()).running_var(var.view());
        }
        let mut dx = Spread::unwritten(gpu, element, at, of_y, shape);
        if let Err(BindError::Strides(error)) = gpu.context().bind(&plan, &operands.grad_input(dx.view())) {
            // As above, of pieces that begin within a word.
            assert!(element != F32 && error.to_string().contains("touch"), "{error}");
            dx = Spread::unwritten(gpu, element, at + 1, of_y, shape);
        }
        run(gpu, &plan, &operands.grad_input(dx.view()));
        close_to(element, &format!("dx of {what}\n{plan}"), &dx.read(), &want.dx, &want.dx_scale);
        close(&format!("dweight of {what}\n{plan}"), &dweight.read(), &want.dweight, &want.dweight_scale);
        close(&format!("dbias of {what}\n{plan}"), &dbias.read(), &want.dbias, &want.dbias_scale);
    }
}

/// On slices, which hold what lies between: the CPU, and the device.
fn check_slices(kind: Kind, shape: &[usize], strides: &[usize], element: Element) {
    let gradient = Gradient::new(kind, shape, 2.0).stored_as(element, F32);
    let case = &gradient.case;
    let norm = case.norm().with_strides(Strides::new().x(strides).grad_output(strides));
    let spread = |values: &ArrayD<f32>| {
        let mut all = vec![f32::NAN; extent(shape, strides)];
        values.indexed_iter().for_each(|(index, &v)| all[place(index.slice(), strides)] = v);
        all
    };
    let (x, dy) = (spread(&case.x), spread(&gradient.dy));
    for engine in [Engine::from(cpu().clone()), gpu().clone().into()] {
        let what = format!("{kind:?} {shape:?} of {element:?} {strides:?} on {}", engine.describe());
        let want = case.oracle();
        let inputs = case.parameters().map(|array| array.as_slice().unwrap()).beside(&x[..]);
        let y = engine.run_blocking(&norm, inputs).unwrap().y;
        let y = ArrayD::from_shape_vec(shape, y).unwrap();
        close_to(element, &what, &y, &want.y, &want.scale);
        if !kind.has_backward() {
            continue;
        }
        let want = gradient.oracle();
        let given = case.parameters().going_back(kind, None);
        let inputs = given.map(|array| array.as_slice().unwrap()).beside(&x[..]).grad_output(&dy[..]);
        let got = engine.run_backward_blocking(&norm, Backward::new(), inputs).unwrap();
        let dx = ArrayD::from_shape_vec(shape, got.input.unwrap()).unwrap();
        close_to(element, &format!("dx of {what}"), &dx, &want.dx, &want.dx_scale);
    }
}

/// x, residual and their sum, each with strides of its own.
#[test]
fn residuals() {
    let shape = [6, 40];
    let [x, residual] = [5, 6].map(|seed| Data::new(seed).normal(&shape, 1.0, 1.0));
    let spread = |values: &ArrayD<f32>, strides: &[usize]| {
        let mut all = vec![f32::NAN; extent(&shape, strides)];
        values.indexed_iter().for_each(|(index, &v)| all[place(index.slice(), strides)] = v);
        all
    };
    let sum = &x + &residual;
    let alone = LayerNorm::new(&shape, &[40]).unwrap();
    for [of_x, of_residual, of_sum] in
        [[[44, 1], [40, 1], [48, 1]], [[41, 1], [43, 1], [40, 1]], [[40, 1], [1, 6], [44, 1]]]
    {
        let strides = Strides::new().x(&of_x).residual(&of_residual).residual_out(&of_sum);
        let norm = LayerNorm::new(&shape, &[40]).unwrap().with_strides(strides);
        let (x, residual) = (spread(&x, &of_x), spread(&residual, &of_residual));
        for engine in [Engine::from(cpu().clone()), gpu().clone().into()] {
            let inputs = Inputs::new(&x[..]).residual(&residual[..]).with_residual_out();
            let out = engine.run_blocking(&norm, inputs).unwrap();
            let got = out.residual_out.unwrap();
            assert!(sum.indexed_iter().all(|(index, &v)| got[place(index.slice(), &of_sum)] == v), "{of_x:?}");
            let want = engine.run_blocking(&alone, Inputs::new(sum.as_slice().unwrap())).unwrap().y;
            assert!(out.y.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-5), "{of_x:?}");
        }
    }
}

/// On the CPU a tensor that lies apart has the bits of a contiguous one, whatever is beside it, and what lies between keeps its own: a few rows
/// at a time, neighbours as they are, and all at once.
#[test]
fn apart_or_not_the_cpu_gives_the_same_bits() {
    let layer = Kind::Layer { ndim: 1 };
    let rms = Kind::Rms { ndim: 1, offset: 0.0 };
    let heads = vec![1500, 3, 64];
    for (kind, shape, strides) in [
        (layer, vec![300, 1100], vec![1200, 1]),
        (layer, vec![4000, 70], vec![71, 1]),
        (layer, vec![30, 70], vec![96, 1]),
        (rms, heads.clone(), vec![3 * 192, 64, 1]),
        (rms, heads.clone(), vec![9 * 64, 3 * 64, 1]),
        // Heads first in memory; single elements.
        (rms, heads, vec![64, 1500 * 64, 1]),
        (layer, vec![300, 70], vec![1, 300]),
        (Kind::Group { groups: 4, axis: 1 }, vec![70, 8, 600], vec![9000, 700, 1]),
        (Kind::Group { groups: 4, axis: 2 }, vec![70, 90, 8], vec![1000, 9, 1]),
        (Kind::Instance { axis: 1 }, vec![90, 7, 490], vec![9 * 490, 490, 1]),
        (Kind::BatchTrain { axis: 1 }, vec![3000, 40], vec![50, 1]),
    ] {
        for element in [F32, F16] {
            match element {
                F32 => same_bits(kind, &shape, &strides, |v| v),
                _ => same_bits(kind, &shape, &strides, f16::from_f32),
            }
        }
    }
}

fn same_bits<T: Copy + PartialEq + std::fmt::Debug + bytemuck::Pod>(
    kind: Kind,
    shape: &[usize],
    strides: &[usize],
    stored: fn(f32) -> T,
) where
    [T]: wgpu_norm::cpu::Slice,
{
    let element = if size_of::<T>() == 4 { F32 } else { F16 };
    let gradient = Gradient::new(kind, shape, 2.0).stored_as(element, F32);
    let (norm, apart) = (gradient.case.norm(), gradient.case.norm().with_strides(Strides::all(strides)));
    let [plan, plan_apart] = [cpu().plan(norm.as_ref()), cpu().plan(&apart)].map(Result::unwrap);
    let dense: Vec<T> = gradient.case.x.iter().map(|&v| stored(v)).collect();
    let residual: Vec<T> = gradient.dy.iter().map(|&v| stored(v)).collect();
    let guard = stored(7.0);
    let places: Vec<usize> = gradient.case.x.indexed_iter().map(|(index, _)| place(index.slice(), strides)).collect();
    let spread = |values: &[T]| {
        let mut all = vec![guard; extent(shape, strides)];
        places.iter().zip(values).for_each(|(&place, &v)| all[place] = v);
        all
    };
    let parameters = gradient.case.parameters().map(|array| array.as_slice().unwrap().to_vec());
    let groups: usize = norm.statistics_shape().iter().product();
    // In place and out of place, with a residual and its sum and without.
    for (in_place, summed) in [(false, false), (true, false), (false, true), (true, true)] {
        let run = |plan: &wgpu_norm::cpu::Plan, x: &[T], residual: &[T]| {
            let (mut y, mut sum) =
                if in_place { (x.to_vec(), residual.to_vec()) } else { (vec![guard; x.len()], vec![guard; x.len()]) };
            let [mut rstd, mut statistics] = [groups, 4 * groups].map(|length| vec![0.0; length]);
            let mut operands = if in_place {
                wgpu_norm::cpu::Operands::in_place(&mut y[..])
            } else {
                wgpu_norm::cpu::Operands::new(x, &mut y[..])
            };
            operands = operands.rstd(&mut rstd).statistics_out(&mut statistics);
            if summed && in_place {
                operands = operands.residual_in_place(&mut sum[..]);
            } else if summed {
                operands = operands.residual(residual).residual_out(&mut sum[..]);
            }
            if let Some(weight) = &parameters.weight {
                operands = operands.weight(weight);
            }
            if let Some(bias) = &parameters.bias {
                operands = operands.bias(bias);
            }
            plan.run(operands).unwrap();
            (y, sum, [rstd, statistics])
        };
        let what = format!("{kind:?} {shape:?} {strides:?} of {element:?}, in place: {in_place}, summed: {summed}");
        let want = run(&plan, &dense, &residual);
        let got = run(&plan_apart, &spread(&dense), &spread(&residual));
        assert!(bits(&got.0) == bits(&spread(&want.0)), "y of {what}");
        assert!(!summed || bits(&got.1) == bits(&spread(&want.1)), "sum of {what}");
        assert!(got.2 == want.2, "statistics of {what}");
    }
}

fn bits<T: bytemuck::Pod>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}

#[test]
fn slices_with_gaps() {
    for (kind, shape, strides) in layouts() {
        for strides in &strides {
            for &element in part(&[F32, F16], 1) {
                check_slices(kind, &shape, strides, element);
            }
        }
    }
    // What lies between is part of the slice.
    let norm = RmsNorm::new(&[2, 3], &[3]).unwrap().with_strides(Strides::new().x(&[5, 1]));
    let error = gpu().run_blocking(&norm, Inputs::new(&[1.0; 6][..])).unwrap_err();
    let says = "x: it has 6 elements but must have 8, those of shape [2, 3] and, by its strides, what lies between";
    assert_eq!(error.to_string(), says);
}

/// What lies between the elements of a result is that of the tensor which it is in the place of, else 0: on a GPU and on the CPU.
#[test]
fn slices_keep_what_lies_between() {
    let norm = || LayerNorm::new(&[2, 2], &[2]).unwrap().eps(0.0);
    let x = [1.0, 3.0, 7.0, 8.0, 3.0, 1.0];
    let residual = [2.0, 2.0, 5.0, 6.0, 2.0, 2.0];
    let apart = norm().with_strides(Strides::all(&[4, 1]));
    // Where `y` has other strides it is in the place of nothing.
    let moved = norm().with_strides(Strides::new().y(&[3, 1]));
    let near = |y: &[f32], wanted: &[f32]| y.iter().zip(wanted).all(|(y, wanted)| (y - wanted).abs() < 1e-6);
    for on_cpu in [false, true] {
        let run =
            |norm: &dyn Norm, inputs| if on_cpu { cpu().run(norm, inputs) } else { gpu().run_blocking(norm, inputs) };
        let out = run(&apart, Inputs::new(&x[..]).residual(&residual).with_residual_out()).unwrap();
        assert!(near(&out.y, &[-1.0, 1.0, 7.0, 8.0, 1.0, -1.0]) && out.y[2..4] == [7.0, 8.0], "{:?}", out.y);
        assert_eq!(out.residual_out.unwrap(), [3.0, 5.0, 5.0, 6.0, 5.0, 3.0]);
        let out = run(&moved, Inputs::new(&[1.0, 3.0, 3.0, 1.0][..])).unwrap();
        assert!(near(&out.y, &[-1.0, 1.0, 0.0, 1.0, -1.0]) && out.y[2] == 0.0, "{:?}", out.y);
    }
}

/// An array says itself where its elements lie.
#[test]
fn arrays_have_strides_of_their_own() {
    let norm = RmsNorm::new(&[2, 3], &[3]).unwrap().with_strides(Strides::new().y(&[1, 2]));
    let (x, wanted) = (Data::new(1).normal(&[2, 3], 0.0, 1.0), Backward::new().without_bias());
    let says = "RmsNorm: with_strides was given, but an array says itself where its elements lie; a norm with strides takes slices, by `run` \
                and `run_backward`";
    let inputs = || Inputs::new(x.view());
    let back = || inputs().grad_output(x.view());
    for error in [
        gpu().run_array_blocking(&norm, inputs()).unwrap_err(),
        cpu().run_array(&norm, inputs()).unwrap_err(),
        gpu().run_backward_array_blocking(&norm, wanted, back()).unwrap_err(),
        cpu().run_backward_array(&norm, wanted, back()).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Bind(BindError::Unexpected { .. })) && error.to_string() == says, "{error}");
    }
}

#[test]
fn every_norm() {
    for (kind, shape, strides) in layouts() {
        for strides in &strides {
            for (label, gpu) in gpus().iter().step_by(2) {
                check(kind, &shape, strides, F32, gpu, label);
            }
        }
    }
}

#[test]
fn every_norm_in_16_bits() {
    for (kind, shape, strides) in layouts() {
        for strides in &strides {
            check(kind, &shape, strides, F16, gpu(), "as it is");
        }
    }
}

/// Runs of 16-bit elements that touch share a word where one begins within it, and no two lanes may write one: by strides in the plan, and by
/// where the tensor starts when it is bound. `[heads, tokens, 64]` in memory, runs that touch by both steps together, and runs with gaps.
#[test]
fn no_word_has_two_owners() {
    let gpu = gpu();
    for (shape, strides, starts) in [
        ([7, 4, 64], [64, 448, 1], &[0][..]),
        ([2, 2, 64], [194, 130, 1], &[0]),
        ([2, 2, 64], [195, 131, 1], &[]),
        ([2, 2, 65], [65, 130, 1], &[]),
        ([7, 4, 64], [66, 462, 1], &[0, 1]),
        ([7, 4, 63], [64, 448, 1], &[0, 1]),
    ] {
        let norm = RmsNorm::new(&shape, &[shape[2]]).unwrap().stored_as(F16).with_strides(Strides::new().y(&strides));
        let plan = match gpu.context().plan(&norm) {
            Err(SpecError::Strides { must, tensor, .. }) => {
                assert!(starts.is_empty() && must.contains("touch") && tensor == "y", "{strides:?}: {must}");
                continue;
            }
            plan => plan.unwrap(),
        };
        let zeros = ArrayD::zeros(IxDyn(&shape));
        for start in [0, 1] {
            let (x, y) = (
                Spread::new(gpu, F16, 0, &dense(&shape), &zeros),
                Spread::unwritten(gpu, F16, start, &strides, &shape),
            );
            let bound = gpu.context().bind(&plan, &Operands::new(x.view(), y.view()));
            assert_eq!(bound.is_ok(), starts.contains(&start), "{strides:?} from {start}: {bound:?}");
            if let Err(error) = bound {
                assert!(
                    matches!(&error, BindError::Strides(_)) && error.to_string().contains("odd element"),
                    "{error}"
                );
            }
        }
    }
}

/// The heads of q and of k, each where it lies among packed projections, in place: what is between them stays, and bits are those of a
/// tensor of their own.
#[test]
fn heads_in_a_packed_projection() {
    let (tokens, heads, width) = (5, 3, 64);
    let shape = [tokens, heads, width];
    let x = Data::new(7).normal(&shape, 1.0, 2.0);
    for (label, gpu) in gpus() {
        let alone =
            gpu.run_blocking(&RmsNorm::new(&shape, &[width]).unwrap(), Inputs::new(x.as_slice().unwrap())).unwrap().y;
        // [tokens, 3, heads, width], and [tokens, heads, 3, width].
        for strides in [[3 * heads * width, width, 1], [3 * heads * width, 3 * width, 1]] {
            let norm = RmsNorm::new(&shape, &[width]).unwrap().with_strides(Strides::all(&strides));
            let packed = Spread::new(gpu, F32, width, &strides, &x);
            let plan = gpu.context().plan(&norm).unwrap();
            assert_eq!(plan.passes().len(), 1, "{label}");
            run(gpu, &plan, &Operands::in_place(packed.view()));
            assert_eq!(packed.read().into_raw_vec_and_offset().0, alone, "{label}");
        }
    }
}

/// Tensors that lie in each other's gaps are apart.
#[test]
fn tensors_between_each_other() {
    let gpu = gpu();
    let x = Data::new(8).normal(&[4, 8], 1.0, 2.0);
    let norm = LayerNorm::new(&[4, 8], &[8]).unwrap().with_strides(Strides::all(&[24, 1]));
    let plan = gpu.context().plan(&norm).unwrap();
    let buffer = Spread::new(gpu, F32, 0, &[24, 1], &x);
    let at = |elements: u64| View::new(&buffer.buffer, 4 * elements);
    let over = |x: u64, y: u64| gpu.context().bind(&plan, &Operands::new(at(x), at(y))).map(|_| ());
    over(0, 0).unwrap();
    over(0, 4).unwrap_err();
    assert!(matches!(over(0, 4), Err(BindError::Overlap { written: "y", other: "x", .. })));
    // The buffer ends with the last row; another place between rows begins before x does.
    over(5, 0).unwrap_err();
    let buffer = Spread::new(gpu, F32, 8, &[24, 1], &x);
    let at = |elements: u64| View::new(&buffer.buffer, 4 * elements);
    gpu.context().bind(&plan, &Operands::new(at(8), at(0))).unwrap();
}

/// A tensor larger than a binding, with a pitch: in windows, each of which reaches from its first row to its last.
#[test]
fn windows_with_a_pitch() {
    for &software in part(&[true, false], 1) {
        let gpu = changed(|c| (c.max_binding, c.software) = (1 << 16, software));
        check(Kind::Layer { ndim: 1 }, &[600, 64], &[128, 1], F32, &gpu, "in windows");
        check(Kind::Instance { axis: 2 }, &[2, 600, 8], &[600 * 20, 20, 1], F32, &gpu, "in windows");
    }
}

#[test]
fn strides_that_say_nothing() {
    let norm =
        |strides: Strides| gpu().context().plan(&LayerNorm::new(&[2, 3, 4, 8], &[8]).unwrap().with_strides(strides));
    let error = |strides: Strides| norm(strides).unwrap_err().to_string();
    assert_eq!(
        error(Strides::new().x(&[8, 1])),
        "LayerNorm: strides of x are [8, 1], but must be one for each axis, for shape [2, 3, 4, 8]"
    );
    assert!(error(Strides::new().y(&[12, 32, 8, 1])).contains("no two elements lie in one place, as it is written"));
    assert!(error(Strides::new().x(&[1000, 200, 40, 4])).contains("at two places at most"));
    assert!(error(Strides::new().x(&[usize::MAX, 32, 8, 1])).contains("within 2^32"));
    // What is read may lie over itself; of an axis of one element no step is taken.
    norm(Strides::new().x(&[0, 32, 8, 1])).unwrap();
    let one = LayerNorm::new(&[1, 8], &[8]).unwrap().with_strides(Strides::all(&[3, 1]));
    assert_eq!(gpu().run_blocking(&one, Inputs::new(&[1.0; 8][..])).unwrap().y, [0.0; 8]);
    let empty = LayerNorm::new(&[0, 8], &[8]).unwrap().with_strides(Strides::all(&[9, 1]));
    assert!(gpu().run_blocking(&empty, Inputs::new(&[0.0; 0])).unwrap().y.is_empty());
}
