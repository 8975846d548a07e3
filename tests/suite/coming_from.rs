//! What `docs/porting.md` tells people who come from PyTorch or ONNX. (That PyTorch's checkpoints give PyTorch's numbers is in
//! `nn_state`, that ONNX's cases give ONNX's in `onnx`.)

use wgpu_norm::ndarray::{ArrayD, IxDyn};
use wgpu_norm::nn::{
    BatchNormLayer, BatchNormOptions, GroupNormOptions, InstanceNormLayer, InstanceNormOptions, LayerNormLayer,
    LayerNormOptions, RmsNormLayer, RmsNormOptions, RunningStatistics,
};
use wgpu_norm::reference;
use wgpu_norm::{BatchNorm, Inputs, Momentum, VarianceEstimator};

use crate::support::{Data, close, gpu};

/// The running statistics after one batch.
fn trained(options: BatchNormOptions, x: &ArrayD<f32>) -> RunningStatistics {
    let layer = BatchNormLayer::new_blocking(gpu(), options).unwrap();
    layer.run_array_blocking(x.view()).unwrap();
    layer.running_statistics_blocking().unwrap().unwrap()
}

#[test]
fn the_named_options_are_the_lines_of_the_table() {
    let new = || BatchNormOptions::new(64);
    assert_eq!(
        BatchNormOptions::pytorch(64),
        new().channels_first().running_variance(VarianceEstimator::Unbiased).momentum(0.1).eps(1e-5)
    );
    assert_eq!(BatchNormOptions::onnx(64), new().channels_first().momentum(Momentum::onnx(0.9)).eps(1e-5));
    assert_eq!(GroupNormOptions::pytorch(4, 64), GroupNormOptions::new(4, 64).channels_first().eps(1e-5));
    assert_eq!(
        InstanceNormOptions::pytorch(64),
        InstanceNormOptions::new(64).channels_first().running_variance(VarianceEstimator::Unbiased).eps(1e-5)
    );
    assert_eq!(
        InstanceNormOptions::new(64),
        InstanceNormOptions::new(64).affine(false).track_running_stats(false).momentum(0.1)
    );
    assert_eq!(
        LayerNormOptions::new(&[64]),
        LayerNormOptions::new(&[64]).eps(1e-5).elementwise_affine(true).bias(true)
    );
    assert_eq!(RmsNormOptions::new(&[64]), RmsNormOptions::new(&[64]).eps(1e-5).elementwise_affine(true));
    // The specifications have the same names.
    assert_eq!(
        BatchNorm::pytorch(&[2, 64, 3]).unwrap(),
        BatchNorm::channels_first(&[2, 64, 3]).unwrap().running_variance(VarianceEstimator::Unbiased)
    );
    assert_eq!(
        BatchNorm::onnx(&[2, 64, 3]).unwrap(),
        BatchNorm::channels_first(&[2, 64, 3]).unwrap().momentum(Momentum::onnx(0.9))
    );
}

#[test]
fn running_variance() {
    let x = Data::new(3).normal(&[10, 4], 1.0, 2.0);
    let variance = reference::batch_norm_train(x.mapv(f64::from).view(), 1, None, None, 1e-5).variance.unwrap();
    for (options, estimate) in [
        (BatchNormOptions::new(4), variance.clone()),
        (BatchNormOptions::new(4).running_variance(VarianceEstimator::Unbiased), &variance * 10.0 / 9.0),
        (BatchNormOptions::pytorch(4), &variance * 10.0 / 9.0),
        (BatchNormOptions::onnx(4), variance.clone()),
    ] {
        let want = estimate.mapv(|v| 0.9 + 0.1 * v);
        let got = ArrayD::from_shape_vec(IxDyn(&[4]), trained(options.clone(), &x).var).unwrap();
        close(&format!("{options:?}"), &got, &want, &want);
    }
}

#[test]
fn layout() {
    let first = Data::new(4).normal(&[5, 3, 7], 1.0, 2.0);
    let last = first.view().permuted_axes(IxDyn(&[0, 2, 1]));
    let run = |options, x| BatchNormLayer::new_blocking(gpu(), options).unwrap().run_array_blocking(x).unwrap();
    let want = run(BatchNormOptions::pytorch(3), first.view());
    let close = |got: ArrayD<f32>| got.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-5);
    assert!(close(run(BatchNormOptions::new(3).channels_first(), first.view())));
    assert!(close(run(BatchNormOptions::new(3), last.clone()).permuted_axes(IxDyn(&[0, 2, 1]))));
    // Unless it is said, three channels are looked for at the end.
    let wrong = BatchNormLayer::new_blocking(gpu(), BatchNormOptions::new(3)).unwrap();
    assert!(wrong.run_array_blocking(first.view()).is_err());
}

#[test]
fn momentum() {
    let x = Data::new(5).normal(&[10, 4], 3.0, 2.0);
    let mean = reference::batch_norm_train(x.mapv(f64::from).view(), 1, None, None, 1e-5).mean.unwrap();
    let new = || BatchNormOptions::new(4);
    for (options, take) in [
        (new(), 0.1),
        (new().momentum(0.25), 0.25),
        (new().momentum(Momentum::onnx(0.75)), 0.25),
        (BatchNormOptions::pytorch(4), 0.1),
        (BatchNormOptions::onnx(4), 0.1),
        // The average of one batch is that batch.
        (new().momentum(Momentum::cumulative()), 1.0),
    ] {
        let want = mean.mapv(|v| take * v);
        let got = ArrayD::from_shape_vec(IxDyn(&[4]), trained(options.clone(), &x).mean).unwrap();
        close(&format!("{options:?}"), &got, &want, &mean.mapv(f64::abs));
    }
}

#[test]
fn eps_of_rms_norm() {
    // So small that eps says what comes out.
    let x = [3e-4, 4e-4];
    let run = |options| RmsNormLayer::new_blocking(gpu(), options).unwrap().run_blocking(&[1, 2], &x).unwrap();
    let square = 12.5e-8;
    for (options, eps) in [(RmsNormOptions::new(&[2]), 1e-5), (RmsNormOptions::pytorch(&[2]), f64::from(f32::EPSILON))]
    {
        for (got, x) in run(options).into_iter().zip([3e-4, 4e-4]) {
            let want: f64 = x / (square + eps).sqrt();
            assert!((f64::from(got) - want).abs() < 1e-6 * want, "{got} instead of {want}");
        }
    }
}

/// Where PyTorch refuses to train.
#[test]
fn one_value_a_channel() {
    let layer = BatchNormLayer::new_blocking(gpu(), BatchNormOptions::pytorch(3)).unwrap();
    assert_eq!(layer.run_blocking(&[1, 3], &[5.0, 6.0, 7.0]).unwrap(), [0.0; 3]);
    assert_eq!(layer.running_statistics_blocking().unwrap().unwrap().var, [0.9; 3]);
}

#[test]
fn what_layers_start_with() {
    let gpu = gpu();
    let batch = BatchNormLayer::new_blocking(gpu, BatchNormOptions::new(2)).unwrap();
    let parameters = batch.parameters_blocking().unwrap();
    assert_eq!((parameters.weight, parameters.bias), (Some(vec![1.0; 2]), Some(vec![0.0; 2])));
    let gradients = batch.gradients_blocking().unwrap();
    assert_eq!((gradients.weight, gradients.bias), (Some(vec![0.0; 2]), Some(vec![0.0; 2])));
    assert!(batch.is_training());
    let instance = InstanceNormLayer::new_blocking(gpu, InstanceNormOptions::new(2)).unwrap();
    assert!(instance.weight().is_none() && instance.bias().is_none());
    let rms = RmsNormLayer::new_blocking(gpu, RmsNormOptions::new(&[2])).unwrap();
    assert!(rms.weight().is_some() && rms.bias().is_none());
    // A weight that is added to 1 starts at 0.
    let centred = RmsNormLayer::new_blocking(gpu, RmsNormOptions::new(&[2]).weight_offset(1.0)).unwrap();
    assert_eq!(centred.parameters_blocking().unwrap().weight, Some(vec![0.0; 2]));
}

/// The specification for those who call `torch.nn.functional`, the layer for those who have modules.
#[test]
fn functional_or_module() {
    let x = Data::new(6).normal(&[5, 8], 1.0, 2.0);
    let layer = LayerNormLayer::new_blocking(gpu(), LayerNormOptions::new(&[8])).unwrap();
    let norm = wgpu_norm::LayerNorm::new(&[5, 8], &[8]).unwrap();
    let function = gpu().run_array_blocking(&norm, Inputs::new(x.view())).unwrap();
    let module = layer.run_array_blocking(x.view()).unwrap();
    assert!(function.y.iter().zip(&module).all(|(one, other)| (one - other).abs() < 1e-6));
}

/// Both modules in one `use`.
mod together {
    #[allow(unused_imports)]
    use wgpu_norm::{nn::*, *};

    #[test]
    fn specifications_and_layers_have_names_of_their_own() {
        let _: fn(&[usize]) -> Result<BatchNorm, SpecError> = BatchNorm::pytorch;
        let _: fn(usize) -> BatchNormOptions = BatchNormOptions::pytorch;
        let _: Option<(BatchNormLayer, LayerNormLayer, GroupNormLayer, InstanceNormLayer, RmsNormLayer)> = None;
        let _: Option<(LayerNorm, GroupNorm, InstanceNorm, RmsNorm)> = None;
    }
}
