//! What the modules give, against the oracle and against burn's own.

use burn::tensor::{DType, Tensor};
use wgpu_norm_burn::{LayerNormConfig, RmsNormConfig};

use crate::support::{cases, close, device, random, same, tensor, values};

#[test]
fn every_norm_gives_what_the_oracle_and_burn_give() {
    for case in cases() {
        let [ours, burn] = (case.forward)(&case.input);
        let (want, _) = case.eval.unwrap_or(case.oracle)(&case.input);
        close(case.name, &ours.y, &want.y, &want.scale, 4e-6);
        same(case.name, &ours.y, &burn.y, 1e-5);
    }
}

#[test]
fn other_types_are_cast_and_cast_back() {
    for (dtype, tolerance) in [(DType::F16, 2e-3), (DType::Flex32, 2e-3)] {
        for case in cases() {
            let mut input = case.input;
            input.dtype = dtype;
            // What f16 can hold.
            input.x.iter_mut().for_each(|x| *x = (*x * 256.0).round() / 256.0);
            let name = format!("{} of {dtype:?}", case.name);
            let [ours, burn] = (case.forward)(&input);
            let (want, _) = case.eval.unwrap_or(case.oracle)(&input);
            close(&name, &ours.y, &want.y, &want.scale, tolerance);
            same(&name, &ours.y, &burn.y, 4e-3);
        }
    }
    let half = tensor(&random(12, 5), [3, 4], &device()).cast(DType::F16);
    assert_eq!(LayerNormConfig::new(4).init(&device()).forward(half).dtype(), DType::F16);
}

#[test]
fn any_order_of_axes_in_memory_gives_the_same() {
    for case in cases() {
        let [want, _] = (case.forward)(&case.input);
        for order in [[1, 0, 2, 3], [0, 2, 3, 1], [2, 0, 1, 3], [1, 2, 3, 0], [3, 2, 1, 0], [0, 3, 1, 2]] {
            let mut input = case.input.clone();
            input.order = order;
            let [ours, _] = (case.forward)(&input);
            same(&format!("{} with axes in the order {order:?}", case.name), &ours.y, &want.y, 1e-6);
        }
    }
}

#[test]
fn parts_of_a_tensor_are_normalized_alone() {
    let whole = tensor(&random(6 * 8 * 20, 6), [6, 8, 20], &device());
    let norm = LayerNormConfig::new(16).init(&device());
    // A run of rows starts at an offset, a range of columns has gaps, an expanded row has stride 0.
    let wide = LayerNormConfig::new(20).init(&device());
    let run = whole.clone().slice([3..5, 0..8, 0..20]);
    let columns = whole.clone().slice([0..6, 1..7, 3..19]);
    let expanded: Tensor<3> = whole.slice([0..1, 0..1, 0..20]).expand([4, 3, 20]);
    for (name, norm, part) in [("run", &wide, run), ("columns", &norm, columns), ("expanded", &wide, expanded)] {
        let alone = Tensor::<3>::from_data(part.clone().into_data(), &device());
        same(name, &values(norm.try_forward(part).unwrap()), &values(norm.forward(alone)), 1e-6);
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
    let x = tensor(&random(64 * 16, 8), [64, 16], &device());
    let before = values(x.clone());
    let norm = LayerNormConfig::new(16).init(&device());
    let (held, view) = (x.clone(), x.clone().reshape([16, 64]));
    let first = values(norm.forward(x));
    assert_eq!(values(held.clone()), before);
    assert_eq!(values(view), before);
    assert_eq!(values(norm.forward(held)), first);
}

#[test]
fn large_means_are_right_where_burn_is_off() {
    let x: Vec<f32> = random(8 * 512, 9).iter().map(|x| x + 1e6).collect();
    let mut case = cases().swap_remove(0);
    case.input.shape = [1, 1, 170, 24];
    case.input.x = x[..170 * 24].to_vec();
    case.input.dy.resize(170 * 24, 1.0);
    let [ours, _] = (case.forward)(&case.input);
    let (want, _) = (case.oracle)(&case.input);
    close("LayerNorm at 1e6", &ours.y, &want.y, &want.scale, 4e-6);
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
