//! Checkpoints: those PyTorch wrote, and what PyTorch makes of them in float64; ours, and all that can be wrong with one.
//!
//! `tests/golden/nn/generate.py` wrote the files and says what they are.

use std::collections::BTreeMap;

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::nn::{
    AnyLayer, BatchNormLayer, BatchNormOptions, GroupNormLayer, GroupNormOptions, InstanceNormLayer,
    InstanceNormOptions, LayerNormLayer, LayerNormOptions, RmsNormLayer, RmsNormOptions, StateDict, StateTensor,
    Strictness,
};
use wgpu_norm::safetensors::{self, Dtype, SafeTensors, tensor::TensorView};
use wgpu_norm::{Error, Gpu, Momentum, SpecError};

use crate::golden::{fixture, single, wide};
use crate::nn::instances::running;
use crate::support::{Data, close, gpu, gpus};

fn golden(name: &str) -> Vec<u8> {
    fixture(&format!("golden/nn/{name}"))
}

/// The layers of `generate.py`, as a user would write them here.
fn layers(gpu: &Gpu) -> BTreeMap<&'static str, AnyLayer> {
    let batch = |options| BatchNormLayer::new_blocking(gpu, options).unwrap().into_any();
    let layer = |options| LayerNormLayer::new_blocking(gpu, options).unwrap().into_any();
    let group = |options| GroupNormLayer::new_blocking(gpu, options).unwrap().into_any();
    let instance = |options| InstanceNormLayer::new_blocking(gpu, options).unwrap().into_any();
    let rms = |options| RmsNormLayer::new_blocking(gpu, options).unwrap().into_any();
    BTreeMap::from([
        ("batch1d", batch(BatchNormOptions::pytorch(5).dims(1))),
        ("batch1d_positions", batch(BatchNormOptions::pytorch(3).dims(1).eps(1e-3))),
        ("batch2d", batch(BatchNormOptions::pytorch(4).dims(2).momentum(0.25))),
        ("batch3d", batch(BatchNormOptions::pytorch(3).dims(3))),
        ("batch_cumulative", batch(BatchNormOptions::pytorch(5).dims(1).momentum(Momentum::cumulative()))),
        ("batch_no_bias", batch(BatchNormOptions::pytorch(5).dims(1).bias(false))),
        ("layer", layer(LayerNormOptions::new(&[12]))),
        ("layer_two", layer(LayerNormOptions::new(&[4, 6]).eps(1e-12))),
        ("layer_no_bias", layer(LayerNormOptions::new(&[12]).bias(false))),
        ("group", group(GroupNormOptions::pytorch(3, 6))),
        ("instance1d", instance(InstanceNormOptions::pytorch(4).dims(1).affine(true))),
        ("instance2d", instance(InstanceNormOptions::pytorch(3).dims(2).affine(true))),
        ("rms", rms(RmsNormOptions::pytorch(&[12]))),
        ("rms_eps", rms(RmsNormOptions::pytorch(&[4, 6]).eps(1e-6))),
        // Those without state.
        ("batch_plain", batch(BatchNormOptions::pytorch(64).dims(2).eps(0.0).affine(false).track_running_stats(false))),
        ("layer_plain", layer(LayerNormOptions::new(&[2, 3]).elementwise_affine(false))),
        ("group_plain", group(GroupNormOptions::pytorch(1, 4).eps(1e-4).affine(false))),
        ("group_no_bias", group(GroupNormOptions::pytorch(2, 4).bias(false))),
        ("instance_plain", instance(InstanceNormOptions::pytorch(7).dims(3).eps(2.5e-7))),
        ("rms_plain", rms(RmsNormOptions::pytorch(&[3]).elementwise_affine(false))),
    ])
}

/// The layers that the checkpoint is of, loaded.
fn loaded(gpu: &Gpu, checkpoint: &SafeTensors<'_>) -> BTreeMap<&'static str, AnyLayer> {
    let mut layers = layers(gpu);
    layers.retain(|name, _| checkpoint.names().iter().any(|key| key.starts_with(&format!("{name}."))));
    for (name, layer) in &layers {
        let incompatible = layer.load_state_dict_blocking(checkpoint, &format!("{name}."), Strictness::Strict).unwrap();
        assert_eq!(incompatible, Default::default());
    }
    assert_eq!(layers.len(), 14);
    layers
}

/// Within the promise, by the largest magnitude of the tensor.
fn check(what: &str, got: &ArrayD<f32>, want: &ArrayD<f64>) {
    let most = want.iter().fold(0.0f64, |most, v| v.abs().max(most));
    close(what, got, want, &ArrayD::from_elem(want.raw_dim(), most));
}

#[test]
fn a_checkpoint_of_pytorchs_gives_pytorchs_results() {
    let (checkpoint, expected) = (golden("checkpoint.safetensors"), golden("expected.safetensors"));
    let checkpoint = SafeTensors::deserialize(&checkpoint).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    for (label, gpu) in gpus() {
        for suffix in ["", "_eval"] {
            for (name, mut layer) in loaded(gpu, &checkpoint) {
                if suffix == "_eval" {
                    layer.eval();
                }
                let what = |tensor: &str| format!("{tensor}{suffix} of {name} {label}");
                let want = |tensor: &str| wide(&expected, &format!("{name}.{tensor}{suffix}")).unwrap();
                let x = single(&expected, &format!("{name}.x")).unwrap();
                let grad_output = single(&expected, &format!("{name}.grad_output")).unwrap();
                check(&what("y"), &layer.run_array_blocking(x.view()).unwrap(), &want("y"));
                let grad_input = layer.run_backward_array_blocking(grad_output.view(), x.view()).unwrap();
                check(&what("grad_input"), &grad_input, &want("grad_input"));
                let gradients = layer.gradients_blocking().unwrap();
                for (tensor, got) in [("grad_weight", gradients.weight), ("grad_bias", gradients.bias)] {
                    let Some(got) = got else {
                        assert!(wide(&expected, &format!("{name}.{tensor}{suffix}")).is_none(), "{name}");
                        continue;
                    };
                    let want = want(tensor);
                    check(&what(tensor), &ArrayD::from_shape_vec(want.raw_dim(), got).unwrap(), &want);
                }
            }
        }
    }
}

#[test]
fn three_training_steps_give_pytorchs_running_statistics() {
    let (checkpoint, expected) = (golden("checkpoint.safetensors"), golden("expected.safetensors"));
    let checkpoint = SafeTensors::deserialize(&checkpoint).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let mut tracked = 0;
    for (name, layer) in loaded(gpu(), &checkpoint) {
        let x = single(&expected, &format!("{name}.x")).unwrap();
        for batch in [x.clone(), &x * 2.0, &x + 1.0] {
            layer.run_array_blocking(batch.view()).unwrap();
        }
        let running = layer.running_statistics_blocking().unwrap();
        let Some(running) = running else { continue };
        tracked += 1;
        assert_eq!(running.num_batches_tracked, 10, "{name}");
        for (tensor, got) in [("running_mean", running.mean), ("running_var", running.var)] {
            let want = wide(&expected, &format!("{name}.{tensor}")).unwrap();
            check(&format!("{tensor} of {name}"), &ArrayD::from_shape_vec(want.raw_dim(), got).unwrap(), &want);
        }
    }
    assert_eq!(tracked, 6);
}

#[test]
fn debug_is_pytorchs_repr() {
    let want: BTreeMap<String, String> = serde_json::from_slice(&golden("repr.json")).unwrap();
    let got: BTreeMap<String, String> =
        layers(gpu()).into_iter().map(|(name, layer)| (name.to_owned(), format!("{layer:?}"))).collect();
    assert_eq!(got, want);
}

#[test]
fn other_types_convert_as_in_pytorch() {
    let expected = golden("expected.safetensors");
    let expected = SafeTensors::deserialize(&expected).unwrap();
    for dtype in ["f16", "bf16", "f64"] {
        let bytes = golden(&format!("checkpoint_{dtype}.safetensors"));
        let checkpoint = SafeTensors::deserialize(&bytes).unwrap();
        let layers = loaded(gpu(), &checkpoint);
        let state = layers["batch1d"].state_dict_blocking("batch1d.").unwrap();
        assert_eq!(state.len(), 5);
        for (key, tensor) in &state {
            if key.ends_with("num_batches_tracked") {
                assert_eq!(*tensor, StateTensor::number(7));
                continue;
            }
            let want: Vec<f32> = single(&expected, &format!("{dtype}.{key}")).unwrap().iter().copied().collect();
            assert_eq!(tensor.values().unwrap(), want, "{dtype} {key}");
        }
    }
}

/// Key by key, type, shape and bytes.
#[test]
fn what_is_saved_is_what_pytorch_saves() {
    let bytes = golden("checkpoint.safetensors");
    let checkpoint = SafeTensors::deserialize(&bytes).unwrap();
    let mut state = StateDict::new();
    for (name, layer) in loaded(gpu(), &checkpoint) {
        state.extend(layer.state_dict_blocking(&format!("{name}.")).unwrap());
    }
    let want: StateDict = checkpoint.tensors().into_iter().map(|(key, view)| (key, StateTensor::from(view))).collect();
    assert_eq!(state, want);
    // By way of a file.
    let ours = safetensors::serialize(&state, None).unwrap();
    let ours = SafeTensors::deserialize(&ours).unwrap();
    for (key, view) in checkpoint.tensors() {
        assert_eq!(ours.tensor(&key).unwrap(), view, "{key}");
    }
    // And without one.
    let fresh = layers(gpu());
    fresh["batch2d"].load_state_dict_blocking(&state, "batch2d.", Strictness::Strict).unwrap();
    let again = fresh["batch2d"].state_dict_blocking("").unwrap();
    assert!(again.iter().all(|(key, tensor)| state[&format!("batch2d.{key}")] == *tensor));
}

fn f32s(shape: &[usize], value: f32) -> StateTensor {
    StateTensor::f32(shape, &vec![value; shape.iter().product()]).unwrap()
}

/// Of a batch norm of four channels, behind `norm.`.
fn state() -> StateDict {
    let mut state: StateDict = ["weight", "bias", "running_mean", "running_var"]
        .map(|name| (format!("norm.{name}"), f32s(&[4], 3.0)))
        .into_iter()
        .collect();
    state.insert("norm.num_batches_tracked".to_owned(), StateTensor::number(9));
    state.insert("other.weight".to_owned(), f32s(&[2], 1.0));
    state
}

fn batch() -> BatchNormLayer {
    BatchNormLayer::new_blocking(gpu(), BatchNormOptions::new(4)).unwrap()
}

#[test]
fn everything_that_does_not_fit_is_listed_and_nothing_is_loaded() {
    let layer = batch();
    let before = layer.state_dict_blocking("").unwrap();
    let mut state = state();
    state.remove("norm.bias");
    state.insert("norm.scale".to_owned(), f32s(&[4], 0.0));
    state.insert("norm.running_mean".to_owned(), f32s(&[5], 0.0));
    let bytes = [0; 4];
    let view = TensorView::new(Dtype::I8, vec![4], &bytes).unwrap();
    state.insert("norm.running_var".to_owned(), view.into());
    let error = layer.load_state_dict_blocking(&state, "norm.", Strictness::Strict).unwrap_err();
    assert_eq!(
        error.to_string(),
        "BatchNorm: the state dict does not fit: norm.bias is missing; norm.scale is unexpected; norm.running_mean: its \
         shape is [5] but must be [4]; norm.running_var: its type is I8 but must be F32, F16, BF16 or F64"
    );
    let Error::State(error) = error else { panic!("{error:?}") };
    assert_eq!((error.problems.len(), error.hint), (4, None));
    assert_eq!(layer.state_dict_blocking("").unwrap(), before);
}

#[test]
fn strict_or_not() {
    let layer = batch();
    let mut given = state();
    given.remove("norm.bias");
    given.insert("norm.scale".to_owned(), f32s(&[4], 0.0));
    let incompatible = layer.load_state_dict_blocking(&given, "norm.", Strictness::Lenient).unwrap();
    assert_eq!(incompatible.missing, ["norm.bias"]);
    assert_eq!(incompatible.unexpected, ["norm.scale"]);
    let parameters = layer.parameters_blocking().unwrap();
    assert_eq!((parameters.weight.unwrap(), parameters.bias.unwrap()), (vec![3.0; 4], vec![0.0; 4]));
    assert_eq!(layer.running_statistics_blocking().unwrap().unwrap().num_batches_tracked, 9);
    // Another shape is no layer of that kind, whatever one puts up with.
    given.insert("norm.weight".to_owned(), f32s(&[2, 2], 0.0));
    let error = layer.load_state_dict_blocking(&given, "norm.", Strictness::Lenient).unwrap_err();
    assert_eq!(
        error.to_string(),
        "BatchNorm: the state dict does not fit: norm.weight: its shape is [2, 2] but must be [4]"
    );
    // Without a prefix the whole of it is the layer's.
    let error = layer.load_state_dict_blocking(&state(), "", Strictness::Strict).unwrap_err();
    let Error::State(error) = error else { panic!("{error:?}") };
    assert_eq!(error.problems.len(), 4 + 6, "{error}");
    let own: StateDict =
        state().into_iter().filter_map(|(key, tensor)| Some((key.strip_prefix("norm.")?.to_owned(), tensor))).collect();
    layer.load_state_dict_blocking(&own, "", Strictness::Strict).unwrap();
}

/// PyTorch counts since 0.4, and loads what is older.
#[test]
fn an_old_checkpoint_has_no_count() {
    let layer = batch();
    layer.load_state_dict_blocking(&state(), "norm.", Strictness::Strict).unwrap();
    let mut old = state();
    old.remove("norm.num_batches_tracked");
    let incompatible = layer.load_state_dict_blocking(&old, "norm.", Strictness::Strict).unwrap();
    assert_eq!(incompatible, Default::default());
    assert_eq!(layer.running_statistics_blocking().unwrap().unwrap().num_batches_tracked, 9);
}

#[test]
fn numbers_that_no_buffer_holds() {
    let layer = batch();
    let refused = |key: &str, tensor: StateTensor| {
        let mut state = state();
        state.insert(key.to_owned(), tensor);
        layer.load_state_dict_blocking(&state, "norm.", Strictness::Lenient).unwrap_err().to_string()
    };
    let huge: Vec<u8> = [1.0, 2.0, 1e300, f64::INFINITY].iter().flat_map(|v: &f64| v.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F64, vec![4], &huge).unwrap();
    assert!(StateTensor::from(view.clone()).values().is_none());
    assert!(refused("norm.weight", view.into()).contains("norm.weight: it has 1e300, but must be in the range of f32"));
    let count = "norm.num_batches_tracked";
    assert!(refused(count, f32s(&[0], 1.0)).contains("its shape is [0] but must be []"));
    assert!(refused(count, f32s(&[1, 1], 1.0)).contains("its shape is [1, 1] but must be []"));
    let complex = TensorView::new(Dtype::C64, vec![], &[0; 8]).unwrap();
    assert!(refused(count, complex.into()).contains("its type is C64 but must be a number"));
    assert!(StateTensor::f32(&[3], &[1.0; 4]).is_none());
    assert!(StateTensor::f32(&[usize::MAX, 2], &[1.0; 4]).is_none());
    assert_eq!(f32s(&[2, 3], 1.0).shape(), [2, 3]);
    // An infinity is a number of f32 too.
    let infinite: Vec<u8> = [f64::INFINITY; 4].iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut state = state();
    state.insert("norm.weight".to_owned(), TensorView::new(Dtype::F64, vec![4], &infinite).unwrap().into());
    layer.load_state_dict_blocking(&state, "norm.", Strictness::Strict).unwrap();
}

/// To leave them out would give other results than the model's, so nobody may.
#[test]
fn running_statistics_of_instances_that_keep_none_are_refused() {
    let layer = InstanceNormLayer::new_blocking(gpu(), InstanceNormOptions::new(4).affine(true)).unwrap();
    for strictness in [Strictness::Strict, Strictness::Lenient] {
        let error = layer.load_state_dict_blocking(&state(), "norm.", strictness).unwrap_err().to_string();
        for key in ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"] {
            assert!(error.contains(&format!("{key} is refused: this instance norm keeps no running stat")), "{error}");
        }
        assert!(error.contains("InstanceNormOptions::track_running_stats(true) makes one"), "{error}");
    }
    // Those of a batch norm that keeps none can be left out, as in PyTorch.
    let untracked = BatchNormOptions::new(4).track_running_stats(false);
    let layer = BatchNormLayer::new_blocking(gpu(), untracked).unwrap();
    let incompatible = layer.load_state_dict_blocking(&state(), "norm.", Strictness::Lenient).unwrap();
    assert_eq!(incompatible.unexpected.len(), 3);
}

/// `param.copy_(input)`, for a parameter of type int64 without axes: any number will do, and of one axis the first.
#[test]
fn a_count_of_any_type_counts() {
    fn tensor<const N: usize>(dtype: Dtype, shape: &[usize], bytes: [u8; N]) -> StateTensor {
        let all: Vec<u8> = (0..shape.iter().product()).flat_map(|_| bytes).collect();
        TensorView::new(dtype, shape.to_vec(), &all).unwrap().into()
    }
    let (half, brain) = (0x4700u16.to_le_bytes(), 0x40e0u16.to_le_bytes()); // 7
    let mut three = vec![7.0f32; 3];
    three[1..].fill(9.0);
    for (given, want) in [
        (tensor(Dtype::F32, &[], 7f32.to_le_bytes()), 7),
        (tensor(Dtype::F32, &[1], 7f32.to_le_bytes()), 7),
        (tensor(Dtype::F32, &[], 7.9f32.to_le_bytes()), 7),
        (tensor(Dtype::F32, &[], (-0.9f32).to_le_bytes()), 0),
        (StateTensor::f32(&[3], &three).unwrap(), 7),
        (tensor(Dtype::F64, &[], 3e9f64.to_le_bytes()), 3_000_000_000),
        (tensor(Dtype::F16, &[], half), 7),
        (tensor(Dtype::BF16, &[1], brain), 7),
        (tensor(Dtype::I64, &[1], 7i64.to_le_bytes()), 7),
        (tensor(Dtype::U64, &[], 7u64.to_le_bytes()), 7),
        (tensor(Dtype::I32, &[], 7i32.to_le_bytes()), 7),
        (tensor(Dtype::U32, &[], u32::MAX.to_le_bytes()), u32::MAX),
        (tensor(Dtype::I16, &[], 7i16.to_le_bytes()), 7),
        (tensor(Dtype::U16, &[], 7u16.to_le_bytes()), 7),
        (tensor(Dtype::I8, &[], 7i8.to_le_bytes()), 7),
        (tensor(Dtype::U8, &[], [200]), 200),
        (tensor(Dtype::BOOL, &[], [1]), 1),
    ] {
        let (layer, mut state) = (batch(), state());
        state.insert("norm.num_batches_tracked".to_owned(), given.clone());
        let incompatible = layer.load_state_dict_blocking(&state, "norm.", Strictness::Strict).unwrap();
        assert_eq!(incompatible, Default::default(), "{given:?}");
        assert_eq!(layer.running_statistics_blocking().unwrap().unwrap().num_batches_tracked, want, "{given:?}");
    }
}

/// Weights and statistics are none the worse for it.
#[test]
fn a_count_beyond_all_counting_is_the_nearest_there_is() {
    let float = |value: f32| StateTensor::f32(&[], &[value]).unwrap();
    for (given, want) in [
        (StateTensor::number(1 << 32), u32::MAX),
        (StateTensor::number(i64::MAX), u32::MAX),
        (StateTensor::number(-1), 0),
        (float(f32::INFINITY), u32::MAX),
        (float(-3e38), 0),
    ] {
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            let (layer, mut state) = (batch(), state());
            state.insert("norm.num_batches_tracked".to_owned(), given.clone());
            let incompatible = layer.load_state_dict_blocking(&state, "norm.", strictness).unwrap();
            assert_eq!(incompatible.clamped, ["norm.num_batches_tracked"]);
            assert!(incompatible.missing.is_empty() && incompatible.unexpected.is_empty());
            assert_eq!(layer.parameters_blocking().unwrap().weight.unwrap(), [3.0; 4]);
            let running = layer.running_statistics_blocking().unwrap().unwrap();
            assert_eq!((running.mean, running.num_batches_tracked), (vec![3.0; 4], want));
            // It does not start over.
            layer.run_blocking(&[2, 4], &[1.0; 8]).unwrap();
            let running = layer.running_statistics_blocking().unwrap().unwrap();
            assert_eq!(running.num_batches_tracked, want.saturating_add(1));
        }
    }
}

#[test]
fn what_would_help() {
    let hint = |layer: &AnyLayer, state: &StateDict, prefix: &str| {
        let error = layer.load_state_dict_blocking(state, prefix, Strictness::Strict).unwrap_err();
        let text = error.to_string();
        let Error::State(error) = error else { panic!("{error:?}") };
        assert!(error.hint.as_ref().is_none_or(|hint| text.ends_with(&format!(" ({hint})"))), "{text}");
        error.hint.unwrap_or_default()
    };
    let named =
        |names: &[&str]| -> StateDict { names.iter().map(|name| (format!("bert.{name}"), f32s(&[4], 1.0))).collect() };
    let batch = batch().into_any();
    let layer = LayerNormLayer::new_blocking(gpu(), LayerNormOptions::new(&[4])).unwrap().into_any();
    assert_eq!(
        hint(&layer, &named(&["LayerNorm.gamma", "LayerNorm.beta"]), "bert.LayerNorm."),
        "of an older version or another library? rename bert.LayerNorm.gamma to bert.LayerNorm.weight, \
         bert.LayerNorm.beta to bert.LayerNorm.bias"
    );
    let keras = hint(&batch, &named(&["gamma", "beta", "moving_mean", "moving_variance"]), "bert.");
    assert!(
        keras.contains("bert.moving_mean to bert.running_mean, bert.moving_variance to bert.running_var"),
        "{keras}"
    );
    assert_eq!(
        hint(&batch, &state(), "norm"),
        "there is norm.weight: let the prefix be \"norm\" with a dot at its end"
    );
    assert_eq!(
        hint(&layer, &named(&["layers.9.weight", "layers.10.weight", "head.weight", "x", "y"]), "bert.layers.1."),
        "the nearest keys to bert.layers.1.weight are bert.layers.10.weight, bert.layers.9.weight, bert.head.weight"
    );
    // Nothing helps where there is nothing, or where the layer is there but for a part.
    assert_eq!(hint(&layer, &StateDict::new(), "bert."), "");
    assert_eq!(hint(&layer, &named(&["weight"]), "bert."), "");
}

#[test]
fn running_statistics_of_instances() {
    let options = InstanceNormOptions::pytorch(4).dims(2).track_running_stats(true).momentum(0.25);
    let layer = InstanceNormLayer::new_blocking(gpu(), options.clone()).unwrap();
    let repr = "InstanceNorm2d(4, eps=1e-05, momentum=0.25, affine=False, bias=False, track_running_stats=True)";
    assert_eq!(format!("{layer:?}"), repr);
    let of = |value| StateTensor::f32(&[4], &[value; 4]).unwrap();
    let state = StateDict::from([
        ("norm.running_mean".to_owned(), of(2.0)),
        ("norm.running_var".to_owned(), of(3.0)),
        ("norm.num_batches_tracked".to_owned(), StateTensor::number(5)),
    ]);
    layer.load_state_dict_blocking(&state, "norm.", Strictness::Strict).unwrap();
    assert_eq!(layer.state_dict_blocking("norm.").unwrap(), state);
    layer.run_blocking(&[1, 4, 1, 2], &[2.0; 8]).unwrap();
    let seen = running(&layer);
    assert_eq!((seen.mean, seen.var, seen.num_batches_tracked), (vec![2.0; 4], vec![2.25; 4], 5));
    let error = InstanceNormLayer::new_blocking(gpu(), options.momentum(1.5)).map(drop).unwrap_err();
    assert!(matches!(error, Error::Spec(SpecError::Parameter { parameter: "momentum", .. })), "{error:?}");
}

/// What is not finite spoils running statistics of instances until others are loaded, and not for good.
#[test]
fn spoiled_running_statistics_of_instances() {
    let options = || InstanceNormOptions::pytorch(3).track_running_stats(true);
    let [layer, twin] = [(); 2].map(|()| InstanceNormLayer::new_blocking(gpu(), options()).unwrap());
    let x = Data::new(3).normal(&[4, 3, 50], 2.0, 1.5);
    layer.run_array_blocking(x.view()).unwrap();
    twin.run_array_blocking(x.view()).unwrap();
    let state = layer.state_dict_blocking("").unwrap();
    let mut broken = x.clone();
    broken[[1, 2, 3]] = f32::INFINITY;
    layer.run_array_blocking(broken.view()).unwrap();
    assert_eq!(running(&layer).mean.iter().map(|mean| mean.is_finite()).collect::<Vec<_>>(), [true, true, false]);
    layer.load_state_dict_blocking(&state, "", Strictness::Strict).unwrap();
    layer.run_array_blocking(x.view()).unwrap();
    twin.run_array_blocking(x.view()).unwrap();
    assert_eq!(running(&layer), running(&twin));
}
