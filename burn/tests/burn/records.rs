//! Files: burn's records into our modules and back, configurations, and checkpoints of PyTorch.

use burn::config::Config;
use burn::module::Module;
use burn::nn;
use burn::store::{ModuleRecord, ModuleSnapshot, PytorchStore};
use burn::tensor::{Device, Tensor};
use wgpu_norm_burn as ours;

use crate::models::{with_burn, with_ours};
use crate::support::{device, random, same, tensor, values};

#[test]
fn burns_records_fit_ours_and_back() {
    let device = device();
    let x = tensor(&random(2 * 3 * 8 * 8, 51), [2, 3, 8, 8], &device);
    let burn = with_burn::ResNetConfig::new(8).init(&device);
    let (want, file) = (values(burn.forward(x.clone())), burn.into_record().into_bytes().unwrap());
    let ours = with_ours::ResNetConfig::new(8).init(&device);
    let ours = ours.try_load_record(ModuleRecord::from_bytes(file.clone()).unwrap()).unwrap();
    same("ours, from burn's record", &values(ours.forward(x.clone())), &want, 1e-4);
    let ours = ours.into_record().into_bytes().unwrap();
    assert_eq!(ours.len(), file.len());
    let burn = with_burn::ResNetConfig::new(8).init(&device);
    let burn = burn.try_load_record(ModuleRecord::from_bytes(ours).unwrap()).unwrap();
    assert_eq!(values(burn.forward(x)), want);

    let x = tensor(&random(2 * 4 * 16, 52), [2, 4, 16], &device);
    let ours = with_ours::TransformerConfig::new(1, 16, 2).init(&device);
    let (want, file) = (values(ours.forward(x.clone())), ours.into_record().into_bytes().unwrap());
    let burn = with_burn::TransformerConfig::new(1, 16, 2).init(&device);
    let burn = burn.try_load_record(ModuleRecord::from_bytes(file).unwrap()).unwrap();
    same("burn, from our record", &values(burn.forward(x)), &want, 1e-4);
}

#[test]
fn burns_configurations_fit_ours_and_back() {
    macro_rules! check {
        ($($config:ident $given:expr;)*) => { $(
            let burn = nn::$config::load_binary($given.to_string().as_bytes()).unwrap();
            let ours = ours::$config::load_binary(burn.to_string().as_bytes()).unwrap();
            assert_eq!(ours.to_string(), burn.to_string());
        )* };
    }
    check! {
        LayerNormConfig nn::LayerNormConfig::new(8).with_bias(false).with_epsilon(1e-3);
        RmsNormConfig nn::RmsNormConfig::new(8).with_epsilon(1e-3);
        GroupNormConfig nn::GroupNormConfig::new(2, 8).with_affine(false);
        InstanceNormConfig nn::InstanceNormConfig::new(8).with_epsilon(1e-3);
        BatchNormConfig nn::BatchNormConfig::new(8).with_momentum(0.5);
    }
}

/// Every norm once.
macro_rules! norms {
    ($name:ident, $($path:ident)::+) => {
        #[derive(Module, Debug)]
        struct $name {
            layer: $($path)::+::LayerNorm,
            rms: $($path)::+::RmsNorm,
            group: $($path)::+::GroupNorm,
            instance: $($path)::+::InstanceNorm,
            batch: $($path)::+::BatchNorm,
        }
        impl $name {
            fn new(device: &Device) -> Self {
                Self {
                    layer: $($path)::+::LayerNormConfig::new(8).init(device),
                    rms: $($path)::+::RmsNormConfig::new(8).init(device),
                    group: $($path)::+::GroupNormConfig::new(2, 8).init(device),
                    instance: $($path)::+::InstanceNormConfig::new(8).init(device),
                    batch: $($path)::+::BatchNormConfig::new(8).init(device),
                }
            }
            fn forward(&self, x: Tensor<2>) -> [Tensor<2>; 3] {
                [self.layer.forward(x.clone()), self.rms.forward(x.clone()), self.batch.forward(x)]
            }
        }
    };
}
norms!(Ours, ours);
norms!(Burn, nn);

#[test]
fn modules_look_as_burns() {
    let (ours, burn) = (Ours::new(&device()), Burn::new(&device()));
    assert_eq!(ours.to_string(), burn.to_string().replacen("Burn", "Ours", 1));
    let last = ours.group.with_channels_last(true);
    assert!(last.to_string().contains("channels_last: true"), "{last}");
}

/// `norms.py` writes the file.
#[test]
fn checkpoints_of_pytorch_fit() {
    let mut model = Ours::new(&device());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/burn/norms.pt");
    // burn-store renames the parameters of all norms but this one.
    let store = || {
        let store = PytorchStore::from_file(path).with_key_remapping("^instance.weight$", "instance.gamma");
        store.with_key_remapping("^instance.bias$", "instance.beta")
    };
    let result = model.load_from(&mut store()).unwrap();
    assert!(result.missing.is_empty() && result.errors.is_empty(), "{result:?}");
    // What the script put there: 10 times the number of the parameter, and the index.
    let expected = |number: usize| (0..8).map(|i| (10 * number + i) as f32).collect::<Vec<_>>();
    let affine = |gamma: Tensor<1>, beta: Tensor<1>| [values(gamma), values(beta)];
    assert_eq!(affine(model.layer.gamma.val(), model.layer.beta.as_ref().unwrap().val()), [expected(0), expected(1)]);
    assert_eq!(values(model.rms.gamma.val()), expected(2));
    let (group, instance) = (&model.group, &model.instance);
    for (number, gamma, beta) in [(3, &group.gamma, &group.beta), (5, &instance.gamma, &instance.beta)] {
        let (gamma, beta) = (gamma.as_ref().unwrap().val(), beta.as_ref().unwrap().val());
        assert_eq!(affine(gamma, beta), [expected(number), expected(number + 1)]);
    }
    assert_eq!(affine(model.batch.gamma.val(), model.batch.beta.val()), [expected(7), expected(8)]);
    assert_eq!(values(model.batch.running_mean.value()), expected(9));
    assert_eq!(values(model.batch.running_var.value()), expected(10));
    // And burn's own module takes it to mean the same.
    let mut burn = Burn::new(&device());
    burn.load_from(&mut store()).unwrap();
    let x = tensor(&random(4 * 8, 53), [4, 8], &device());
    for (ours, burn) in model.forward(x.clone()).into_iter().zip(burn.forward(x)) {
        same("by burn", &values(ours), &values(burn), 1e-5);
    }
}
