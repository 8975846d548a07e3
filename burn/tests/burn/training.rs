//! A small transformer and a small ResNet, trained some steps with burn's norms and with ours.

use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::optim::{AdamConfig, GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor};

use crate::models::{with_burn, with_ours};
use crate::support::{device, random, same, tensor};

/// The losses of some steps.
fn train<M: Module, const D: usize>(
    mut model: M,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<D>,
    x: Tensor<D>,
    target: Tensor<D>,
    adam: bool,
) -> Vec<f32> {
    let mut optimizer = if adam { AdamConfig::new().init() } else { SgdConfig::new().init() };
    let mut step = |_| {
        let loss = MseLoss::new().forward(forward(&model, x.clone()), target.clone(), Reduction::Mean);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(if adam { 1e-3 } else { 0.05 }, model.clone(), gradients);
        loss.into_scalar()
    };
    (0..8).map(&mut step).collect()
}

fn check(name: &str, ours: &[f32], burn: &[f32]) {
    same(name, ours, burn, 1e-4);
    assert!(ours[7] < 0.98 * ours[0], "{name} learns nothing: {ours:?}");
}

fn transformer(device: &Device, adam: bool) {
    let burn = with_burn::TransformerConfig::new(2, 32, 4).init(device);
    let ours = with_ours::TransformerConfig::new(2, 32, 4).init(device).load_record(burn.clone().into_record());
    let x = tensor(&random(2 * 8 * 32, 31), [2, 8, 32], device);
    let target = tensor(&random(2 * 8 * 32, 32), [2, 8, 32], device);
    let ours = train(ours, |model, x| model.forward(x), x.clone(), target.clone(), adam);
    let burn = train(burn, |model, x| model.forward(x), x, target, adam);
    check("transformer", &ours, &burn);
}

#[test]
fn a_transformer_learns_as_with_burns_norms() {
    transformer(&device().autodiff(), false);
    transformer(&device().autodiff(), true);
}

#[test]
fn a_transformer_learns_so_with_checkpointing() {
    transformer(&device().autodiff().gradient_checkpointing(), false);
}

#[test]
fn a_resnet_learns_as_with_burns_norms() {
    let device = device().autodiff();
    let burn = with_burn::ResNetConfig::new(8).init(&device);
    let ours = with_ours::ResNetConfig::new(8).init(&device).load_record(burn.clone().into_record());
    let x = tensor(&random(2 * 3 * 8 * 8, 33), [2, 3, 8, 8], &device);
    let target = tensor(&random(2 * 8 * 8 * 8, 34), [2, 8, 8, 8], &device);
    let ours = train(ours, |model, x| model.forward(x), x.clone(), target.clone(), false);
    let burn = train(burn, |model, x| model.forward(x), x, target, false);
    check("ResNet", &ours, &burn);
}
