//! What the modules give, against the oracle and against burn's own.

use burn::tensor::{DType, Tensor};
use wgpu_norm_burn::{LayerNormConfig, RmsNormConfig};

use crate::support::{cases, close, device, random, same, tensor, tensor_of, values};

#[test]
fn every_norm_gives_what_the_oracle_and_burn_give() {
    for case in cases() {
        let [ours, burn] = [case.ours, case.burn].map(|calls| (calls.forward)(&case.input));
        let (want, _) = case.eval.unwrap_or(case.oracle)(&case.input);
        close(case.name, DType::F32, &ours.y, &want.y, &want.scale, 4e-6);
        same(case.name, &ours.y, &burn.y, 1e-5);
    }
}

/// Without a cast, which in WGSL burn cannot do with bf16.
#[test]
fn f16_and_bf16_go_in_as_they_are() {
    let types =
        [(DType::F16, DType::F16), (DType::F16, DType::F32), (DType::BF16, DType::BF16), (DType::BF16, DType::F32)];
    for (dtype, parameters) in types {
        for case in cases() {
            // Running statistics are f32, or cast.
            if case.name.starts_with("BatchNorm") && parameters == DType::BF16 {
                continue;
            }
            let input = case.input.stored_as(dtype, parameters);
            let name = format!("{} of {dtype:?}, parameters of {parameters:?}", case.name);
            let ours = (case.ours.forward)(&input);
            let (want, _) = case.eval.unwrap_or(case.oracle)(&input);
            close(&name, dtype, &ours.y, &want.y, &want.scale, 4e-6);
            if (dtype, parameters) == (DType::F16, DType::F16) {
                same(&name, &ours.y, &(case.burn.forward)(&input).y, 4e-3);
            }
        }
    }
}

/// Those that burn stores as f32, and mixtures that the library does not take.
#[test]
fn other_types_are_cast_and_cast_back() {
    let types = [(DType::Flex32, DType::Flex32), (DType::F32, DType::F16), (DType::F16, DType::Flex32)];
    for (dtype, parameters) in types {
        for case in cases() {
            let input = case.input.stored_as(dtype, parameters);
            let name = format!("{} of {dtype:?}, parameters of {parameters:?}", case.name);
            let ours = (case.ours.forward)(&input);
            let (want, _) = case.eval.unwrap_or(case.oracle)(&input);
            close(&name, dtype, &ours.y, &want.y, &want.scale, 4e-6);
        }
    }
    for dtype in [DType::F16, DType::BF16, DType::Flex32] {
        let x = tensor_of(dtype, &random(12, 5), [3, 4], &device());
        assert_eq!(LayerNormConfig::new(4).init(&device()).forward(x).dtype(), dtype);
    }
}

#[test]
fn any_order_of_axes_in_memory_gives_the_same() {
    for case in cases() {
        for dtype in [DType::F32, DType::F16] {
            let mut input = case.input.clone().stored_as(dtype, DType::F32);
            let want = (case.ours.forward)(&input);
            let tolerance = if dtype == DType::F32 { 1e-6 } else { 1e-3 };
            for order in [[1, 0, 2, 3], [0, 2, 3, 1], [2, 0, 1, 3], [1, 2, 3, 0], [3, 2, 1, 0], [0, 3, 1, 2]] {
                input.order = order;
                let name = format!("{} of {dtype:?} with axes in the order {order:?}", case.name);
                same(&name, &(case.ours.forward)(&input).y, &want.y, tolerance);
            }
        }
    }
}

#[test]
fn parts_of_a_tensor_are_normalized_alone() {
    let norm = LayerNormConfig::new(16).init(&device());
    let [wide, narrow] = [20, 3].map(|width| LayerNormConfig::new(width).init(&device()));
    for dtype in [DType::F32, DType::F16] {
        let whole = tensor_of(dtype, &random(6 * 8 * 20, 6), [6, 8, 20], &device());
        // A run of rows starts at an offset, a range of columns has gaps, an expanded row has stride 0, and a row of three, of which
        // burn makes no copy, ends within a word of two.
        let run = whole.clone().slice([3..5, 0..8, 0..20]);
        let columns = whole.clone().slice([0..6, 1..7, 3..19]);
        let threes = tensor_of(dtype, &random(513 * 3, 16), [513, 1, 3], &device());
        let three = threes.clone().slice([0..1, 0..1, 0..3]);
        let expanded: Tensor<3> = whole.slice([0..1, 0..1, 0..20]).expand([4, 3, 20]);
        let parts = [
            ("run", &wide, run),
            ("columns", &norm, columns),
            ("expanded", &wide, expanded),
            ("three", &narrow, three),
        ];
        for (name, norm, part) in parts {
            let alone = Tensor::<3>::from_data(part.clone().into_data(), (&device(), dtype));
            same(name, &values(norm.try_forward(part).unwrap()), &values(norm.forward(alone)), 1e-6);
        }
    }
}

#[test]
fn few_and_many_axes() {
    let (x, norm) = (random(2 * 3 * 2 * 2 * 16, 7), RmsNormConfig::new(16).init(&device()));
    let two = values(norm.forward(tensor(&x, [24, 16], &device())));
    same("five axes", &values(norm.forward(tensor(&x, [2, 3, 2, 2, 16], &device()))), &two, 1e-6);
    same("one axis", &values(norm.forward(tensor(&x[..16], [16], &device()))), &two[..16], 1e-6);
}

#[test]
fn who_holds_x_keeps_it() {
    let norm = LayerNormConfig::new(16).init(&device());
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let x = tensor_of(dtype, &random(64 * 16, 8), [64, 16], &device());
        let before = values(x.clone());
        let (held, view) = (x.clone(), x.clone().reshape([16, 64]));
        let first = values(norm.forward(x));
        assert_eq!(values(held.clone()), before);
        assert_eq!(values(view), before);
        assert_eq!(values(norm.forward(held)), first);
    }
}

#[test]
fn large_means_are_right_where_burn_is_off() {
    let x: Vec<f32> = random(8 * 512, 9).iter().map(|x| x + 1e6).collect();
    let mut case = cases().swap_remove(0);
    case.input.shape = [1, 1, 170, 24];
    case.input.x = x[..170 * 24].to_vec();
    case.input.dy.resize(170 * 24, 1.0);
    let ours = (case.ours.forward)(&case.input);
    let (want, _) = (case.oracle)(&case.input);
    close("LayerNorm at 1e6", DType::F32, &ours.y, &want.y, &want.scale, 4e-6);
}

#[test]
fn operations_of_burn_before_and_after_run_in_order() {
    let x = tensor(&random(256 * 64, 10), [256, 64], &device());
    let norm = LayerNormConfig::new(64).init(&device());
    let mut chain = x.clone();
    for _ in 0..20 {
        chain = norm.forward(chain * 3.0 + 1.0).add_scalar(0.5) - 0.5;
    }
    // A row that is normalized stays as it is, up to eps.
    same("chain", &values(chain), &values(norm.forward(x)), 1e-3);
}
