//! Gradients, against the oracle and against burn's own.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use wgpu_norm_burn::{BatchNormConfig, LayerNormConfig};

use crate::support::{Case, Given, Input, cases, close, device, random, same, tensor, values};

/// Holds what ours gives to the oracle. Gradients of gamma and beta are right to `of_parameters`.
fn hold(case: &Case, input: &Input, ours: &Given, of_parameters: f64) {
    let (want, gradients) = (case.oracle)(input);
    close(case.name, input.dtype, &ours.y, &want.y, &want.scale, 4e-6);
    let [dx, dgamma, dbeta] = &ours.gradients;
    let name = |of| format!("{}, gradient of {of}", case.name);
    close(&name("x"), input.dtype, dx.as_ref().unwrap(), &gradients.dx, &gradients.dx_scale, 4e-6);
    let parameter = |of, got: &Option<Vec<f32>>, want, scale| {
        if let Some(got) = got {
            close(&name(of), input.parameters, got, want, scale, of_parameters);
        }
    };
    parameter("gamma", dgamma, &gradients.dweight, &gradients.dweight_scale);
    parameter("beta", dbeta, &gradients.dbias, &gradients.dbias_scale);
}

/// By the oracle and by burn.
fn check(case: &Case, device: &Device) -> Given {
    let [ours, burn] = [&case.ours, &case.burn].map(|calls| (calls.backward)(&case.input, device));
    hold(case, &case.input, &ours, 4e-6);
    for (i, (ours, burn)) in ours.gradients.iter().zip(&burn.gradients).enumerate() {
        assert_eq!(ours.is_some(), burn.is_some(), "{}, gradient {i}", case.name);
        if let (Some(ours), Some(burn)) = (ours, burn) {
            same(&format!("{}, gradient {i}, by burn", case.name), ours, burn, 4e-5);
        }
    }
    if let (Some(ours), Some(burn)) = (&ours.running, &burn.running) {
        for (ours, burn) in ours.iter().zip(burn) {
            same(&format!("{}, running statistics, by burn", case.name), ours, burn, 1e-6);
        }
    }
    ours
}

#[test]
fn every_gradient_is_that_of_the_oracle_and_of_burn() {
    for case in cases() {
        check(&case, &device().autodiff());
    }
}

#[test]
fn checkpointing_changes_nothing() {
    for case in cases() {
        let want = (case.ours.backward)(&case.input, &device().autodiff());
        let given = check(&case, &device().autodiff().gradient_checkpointing());
        assert_eq!(given, want, "{}", case.name);
    }
}

#[test]
fn an_input_that_is_computed_again_gives_the_same_gradients() {
    let device = device().autodiff();
    let gradient = |device: &Device| {
        let norm = LayerNormConfig::new(16).init(device);
        let x = tensor(&random(32 * 16, 11), [32, 16], device).require_grad();
        // Both are cheap, so they are computed again when checkpointing.
        let normalized = norm.forward((x.clone() * 2.0).exp().swap_dims(0, 1).reshape([32, 16]));
        let gradients = (normalized.clone() * normalized.exp()).sum().backward();
        values(x.grad(&gradients).unwrap())
    };
    same("recomputed", &gradient(&device.clone().gradient_checkpointing()), &gradient(&device), 1e-5);
}

#[test]
fn any_order_of_axes_in_memory_gives_the_same_gradients() {
    for case in cases() {
        let want = (case.ours.backward)(&case.input, &device().autodiff());
        for order in [[1, 0, 2, 3], [0, 2, 3, 1], [3, 2, 1, 0]] {
            let mut input = case.input.clone();
            input.order = order;
            let given = (case.ours.backward)(&input, &device().autodiff());
            for (given, want) in given.gradients.iter().zip(&want.gradients) {
                if let (Some(given), Some(want)) = (given, want) {
                    same(&format!("{} with axes in the order {order:?}", case.name), given, want, 1e-5);
                }
            }
        }
    }
}

/// Of f16: burn has no kernels for bf16 in WGSL, and so no gradient to start from.
#[test]
fn half_precision_has_gradients() {
    // Gradients of f16 parameters are rounded by burn, which may be to either side.
    for (parameters, tolerance) in [(DType::F32, 4e-6), (DType::F16, 1e-3)] {
        for case in cases() {
            let input = case.input.clone().stored_as(DType::F16, parameters);
            let given = (case.ours.backward)(&input, &device().autodiff());
            hold(&case, &input, &given, tolerance);
        }
    }
}

#[test]
fn every_run_gives_the_same_bits() {
    for case in cases() {
        let run = || (case.ours.backward)(&case.input, &device().autodiff());
        let first = run();
        for _ in 0..3 {
            assert_eq!(run(), first, "{}", case.name);
        }
    }
}

#[test]
fn only_what_is_wanted_has_a_gradient() {
    let device = device().autodiff();
    let norm = LayerNormConfig::new(16).init(&device);
    let x = tensor(&random(64, 12), [4, 16], &device);
    // Of an input, gamma and beta alone.
    let gradients = norm.forward(x.clone()).sum().backward();
    assert!(x.grad(&gradients).is_none());
    assert!(norm.gamma.val().grad(&gradients).is_some());
    same("beta", &values(norm.beta.as_ref().unwrap().val().grad(&gradients).unwrap()), &[4.0; 16], 1e-6);
    // Of a frozen module, x alone.
    let (frozen, x) = (norm.freeze(), x.require_grad());
    let gradients = (frozen.forward(x.clone()) * x.clone()).sum().backward();
    assert!(x.grad(&gradients).is_some());
    assert!(frozen.gamma.val().grad(&gradients).is_none());
    // Of neither, none.
    let quiet: Tensor<2> = frozen.forward(x.detach());
    assert!(!quiet.is_require_grad());
}

#[test]
fn running_statistics_are_never_written_in_place() {
    let device = device().autodiff();
    let norm = BatchNormConfig::new(4).init(&device);
    let (mean, variance) = (norm.running_mean.value_sync(), norm.running_var.value_sync());
    for _ in 0..3 {
        let _ = norm.forward(tensor(&random(8 * 4 * 3, 13), [8, 4, 3], &device));
    }
    assert_eq!(values(mean), [0.0; 4]);
    assert_eq!(values(variance), [1.0; 4]);
    assert_ne!(values(norm.running_mean.value_sync()), [0.0; 4]);
}

#[test]
fn the_module_for_inference_uses_what_training_left() {
    let device = device().autodiff();
    let norm = BatchNormConfig::new(4).with_momentum(1.0).init(&device);
    let x = tensor(&random(8 * 4 * 3, 14), [8, 4, 3], &device);
    let trained = values(norm.forward(x.clone()));
    let valid = norm.valid();
    same("the same batch again", &values(valid.forward(x.inner())), &trained, 1e-5);
}
