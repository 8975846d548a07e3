//! Where this package cannot compute a norm: burn's own module does, with one warning, or there is a typed error.

use std::sync::Mutex;

use burn::backend::DispatchDevice;
use burn::module::Param;
use burn::nn;
use burn::tensor::{DType, Device, Tensor};
use burn_cubecl::CubeDevice;
use wgpu_norm_burn::{
    BatchNormConfig, DeviceError, Error, GroupNormConfig, InstanceNormConfig, LayerNormConfig, RmsNormConfig, init,
    register,
};

use crate::support::{another, device, random, same, setup, tensor, tensor_of, values};

#[allow(deprecated)]
fn other_device() -> Device {
    Device::ndarray()
}

fn rows(device: &Device) -> Tensor<2> {
    tensor(&random(4 * 16, 21), [4, 16], device)
}

#[test]
fn a_device_that_is_not_wgpu_takes_burns_modules() {
    let device = other_device();
    let norm = LayerNormConfig::new(16).init(&device);
    let error = norm.try_forward(rows(&device)).unwrap_err();
    assert!(matches!(error, Error::NotWgpu { norm: "LayerNorm", .. }), "{error}");
    let want = nn::LayerNormConfig::new(16).init(&device).forward(rows(&device));
    assert_eq!(values(norm.forward(rows(&device))), values(want));

    // All others, with channels first and last.
    let x: Tensor<3> = tensor(&random(4 * 6 * 5, 22), [4, 6, 5], &device);
    let last = x.clone().swap_dims(1, 2);
    let check = |name: &str, got: Tensor<3>, got_last: Tensor<3>, want: Tensor<3>| {
        assert_eq!(values(got), values(want.clone()), "{name}");
        assert_eq!(values(got_last), values(want.swap_dims(1, 2)), "{name}, channels last");
    };
    let norm = GroupNormConfig::new(3, 6).init(&device);
    let want = nn::GroupNormConfig::new(3, 6).init(&device).forward(x.clone());
    let got_last = norm.clone().with_channels_last(true).forward(last.clone());
    check("GroupNorm", norm.forward(x.clone()), got_last, want);
    let norm = InstanceNormConfig::new(6).init(&device);
    let want = nn::InstanceNormConfig::new(6).init(&device).forward(x.clone());
    let got_last = norm.clone().with_channels_last(true).forward(last.clone());
    check("InstanceNorm", norm.forward(x.clone()), got_last, want);
    let norm = BatchNormConfig::new(6).init(&device);
    let want = nn::BatchNormConfig::new(6).init(&device).forward(x.clone());
    let got_last = norm.clone().with_channels_last(true).forward(last);
    check("BatchNorm", norm.forward(x), got_last, want);
    let want = nn::RmsNormConfig::new(16).init(&device).forward(rows(&device));
    assert_eq!(values(RmsNormConfig::new(16).init(&device).forward(rows(&device))), values(want));
}

#[test]
fn burns_modules_train_ours() {
    let device = other_device().autodiff();
    let x: Tensor<3> = tensor(&random(4 * 6 * 5, 23), [4, 6, 5], &device);
    let (ours, burn) = (BatchNormConfig::new(6).init(&device), nn::BatchNormConfig::new(6).init(&device));
    let gradients = ours.forward(x.clone()).exp().sum().backward();
    let wanted = burn.forward(x).exp().sum().backward();
    let [got, want] =
        [(&ours.gamma, &gradients), (&burn.gamma, &wanted)].map(|(gamma, of)| gamma.val().grad(of).unwrap());
    assert_eq!(values(got), values(want));
    assert_eq!(values(ours.running_mean.value_sync()), values(burn.running_mean.value_sync()));
}

#[test]
fn a_device_that_is_not_registered_is_named() {
    let (device, setup) = another();
    let norm = LayerNormConfig::new(16).init(&device);
    let error = norm.try_forward(rows(&device)).unwrap_err();
    assert!(matches!(error, Error::NotRegistered { .. }), "{error}");
    assert!(error.to_string().contains("wgpu_norm_burn::init"), "{error}");
    let by_burn = values(norm.forward(rows(&device)));
    register(&device, &setup).unwrap();
    same("registered", &values(norm.try_forward(rows(&device)).unwrap()), &by_burn, 1e-5);
}

#[test]
fn devices_are_refused_with_a_reason() {
    let cuda = Device::new(DispatchDevice::Cube(CubeDevice::Cuda(Default::default())));
    for device in [other_device(), cuda] {
        let error = register(&device, setup()).unwrap_err();
        assert!(matches!(error, DeviceError::NotWgpu { .. }), "{error}");
    }
    // The tests' device has been started.
    let _ = device();
    let error = init(Device::wgpu_options()).unwrap_err();
    assert!(matches!(error, DeviceError::Init(_)), "{error}");
}

#[test]
fn bad_input_has_typed_errors() {
    let device = device();
    let norm = LayerNormConfig::new(8).init(&device);
    let error = norm.try_forward(rows(&device)).unwrap_err();
    assert!(matches!(error, Error::Shape { axis: 1, length: 8, .. }), "{error}");
    assert_eq!(error.to_string(), "LayerNorm: x has shape [4, 16], but its axis 1 must be of length 8");

    let norm = GroupNormConfig::new(2, 16).init(&device);
    assert!(norm.try_forward(rows(&device)).is_ok());
    let error = norm.clone().with_channels_last(true).try_forward(tensor(&[0.0; 16], [16], &device)).err();
    assert!(error.is_none(), "one sample, channels last: {error:?}");
    let error = norm.try_forward(tensor(&[0.0; 16], [16], &device)).unwrap_err();
    assert!(matches!(error, Error::Shape { axis: 1, length: 16, .. }), "{error}");

    let mut norm = GroupNormConfig::new(2, 16).init(&device);
    norm.num_groups = 3;
    let error = norm.try_forward(rows(&device)).unwrap_err();
    assert!(matches!(error, Error::Spec(_)), "{error}");
    norm.num_groups = 2;
    norm.beta = Some(Param::from_tensor(tensor(&[0.0; 8], [8], &device)));
    let error = norm.try_forward(rows(&device)).unwrap_err();
    assert_eq!(error.to_string(), "GroupNorm: beta has length 8, but must have 16");
    norm.beta = None;
    let error = norm.try_forward(rows(&device)).unwrap_err();
    assert!(matches!(error, Error::Affine { norm: "GroupNorm" }), "{error}");

    let norm = RmsNormConfig { d_model: 16, epsilon: f64::INFINITY }.init(&device);
    let error = norm.try_forward(rows(&device)).unwrap_err();
    assert!(matches!(error, Error::Spec(_)), "{error}");

    let mut norm = RmsNormConfig::new(16).init(&device);
    let error = norm.try_forward(rows(&device).cast(DType::F64)).unwrap_err();
    assert!(matches!(error, Error::ElementType { tensor: "x", dtype: DType::F64, .. }), "{error}");
    norm.gamma = Param::from_tensor(norm.gamma.val().cast(DType::F64));
    let error = norm.try_forward(rows(&device)).unwrap_err();
    assert!(matches!(error, Error::ElementType { tensor: "gamma", .. }), "{error}");

    // Beside x of bf16 it is taken as it is.
    norm.gamma = Param::from_tensor(tensor_of(DType::BF16, &[1.0; 16], [16], &device));
    let error = norm.try_forward(rows(&device)).unwrap_err();
    assert!(matches!(error, Error::Cast { tensor: "gamma", dtype: DType::BF16, must: DType::F32, .. }), "{error}");
    assert!(norm.try_forward(tensor_of(DType::BF16, &random(16, 24), [1, 16], &device)).is_ok());
}

#[test]
#[should_panic(expected = "axis 1 expected 8, got 16")]
fn a_wrong_shape_panics_as_burn_does() {
    let _ = LayerNormConfig::new(8).init(&device()).forward(rows(&device()));
}

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("wgpu_norm_burn")
    }
    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            WARNINGS.lock().unwrap().push(record.args().to_string());
        }
    }
    fn flush(&self) {}
}

#[test]
fn each_reason_is_warned_of_once() {
    log::set_logger(&Warnings).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    // No other test computes an f64 on wgpu by `forward`.
    let mut norm = RmsNormConfig::new(16).init(&device());
    norm.gamma = Param::from_tensor(norm.gamma.val().cast(DType::F64));
    for _ in 0..3 {
        let _ = norm.forward(rows(&device()).cast(DType::F64));
    }
    let warnings = WARNINGS.lock().unwrap();
    let of_type = warnings.iter().filter(|warning| warning.contains("F64")).collect::<Vec<_>>();
    assert_eq!(
        of_type,
        [
            "RmsNorm: x is of type F64, but must be f32, f16, bf16 or flex32. burn's own module computes it, here and from now on."
        ]
    );
}
