//! ONNX's own tests of its normalization operators: `tests/onnx/README.md`.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use serde_json::Value;
use wgpu_norm::ndarray::{Array1, ArrayD};
use wgpu_norm::nn::{
    AnyLayer, BatchNormLayer, BatchNormOptions, GroupNormLayer, GroupNormOptions, InstanceNormLayer,
    InstanceNormOptions, LayerNormLayer, LayerNormOptions, RmsNormLayer, RmsNormOptions, StateDict, StateTensor,
    Strictness,
};
use wgpu_norm::{
    BatchNorm, Gpu, GroupNorm, Inputs, InstanceNorm, LayerNorm, LpNorm, MeanVarianceNorm, Momentum, Norm, RmsNorm,
    reference,
};

use crate::golden::{fixture, single};
use crate::support::{self, engines, largest};

/// The promise, and what is expected may itself be off: numpy computed it in float32, rounding at every step of formulas
/// as plain as `mean(x^2) - mean(x)^2`. The worst of it is 2.6e-7 of the scale off float64. (ONNX itself allows 1e-3
/// of each value.)
const TOLERANCE: f64 = support::TOLERANCE + 1e-6;

struct Case {
    name: String,
    operator: String,
    attributes: Value,
    tensors: BTreeMap<String, ArrayD<f32>>,
}

impl Case {
    fn tensor(&self, key: &str) -> Option<ArrayD<f32>> {
        self.tensors.get(key).cloned()
    }

    fn integer(&self, attribute: &str) -> Option<isize> {
        self.attributes[attribute].as_i64().map(|n| n as isize)
    }

    fn trains(&self) -> bool {
        self.operator == "BatchNormalization" && self.integer("training_mode") == Some(1)
    }

    /// The norm; what the test does not set is left at this library's default.
    fn norm(&self, shape: &[usize]) -> Box<dyn Norm> {
        let known = match self.operator.as_str() {
            "LayerNormalization" | "RMSNormalization" => &["axis", "epsilon", "stash_type"][..],
            "GroupNormalization" => &["num_groups", "epsilon", "stash_type"],
            "InstanceNormalization" => &["epsilon"],
            "BatchNormalization" => &["training_mode", "momentum", "epsilon"],
            "MeanVarianceNormalization" => &["axes"],
            "LpNormalization" => &["axis", "p"],
            other => panic!("{}: no operator {other}", self.name),
        };
        let attributes = self.attributes.as_object().unwrap();
        assert!(attributes.keys().all(|key| known.contains(&key.as_str())), "{}: {attributes:?}", self.name);

        // ONNX's attributes are float32.
        let eps = self.attributes["epsilon"].as_f64().map(|eps| eps as f32);
        macro_rules! with_eps {
            ($norm:expr) => {{
                let norm = $norm.unwrap();
                if let Some(eps) = eps { norm.eps(eps) } else { norm }
            }};
        }
        let axis = self.integer("axis").unwrap_or(-1);
        // From `axis` on.
        let normalized = || &shape[if axis < 0 { shape.len() - axis.unsigned_abs() } else { axis.unsigned_abs() }..];
        match self.operator.as_str() {
            "LayerNormalization" => Box::new(with_eps!(LayerNorm::new(shape, normalized()))),
            "RMSNormalization" => Box::new(with_eps!(RmsNorm::new(shape, normalized()))),
            "GroupNormalization" => {
                let groups = self.integer("num_groups").unwrap().unsigned_abs();
                Box::new(with_eps!(GroupNorm::channels_first(shape, groups)))
            }
            "InstanceNormalization" => Box::new(with_eps!(InstanceNorm::channels_first(shape))),
            "BatchNormalization" => {
                let mut norm = with_eps!(BatchNorm::onnx(shape));
                if let Some(momentum) = self.attributes["momentum"].as_f64() {
                    norm = norm.momentum(Momentum::onnx(momentum as f32));
                }
                Box::new(if self.trains() { norm } else { norm.eval() })
            }
            "MeanVarianceNormalization" => {
                let axes = self.attributes["axes"]
                    .as_array()
                    .map_or(vec![0, 2, 3], |axes| axes.iter().map(|axis| axis.as_i64().unwrap() as isize).collect());
                Box::new(MeanVarianceNorm::new(shape, &axes).unwrap())
            }
            _ if self.integer("p") == Some(1) => Box::new(LpNorm::l1(shape, &[axis]).unwrap()),
            _ => Box::new(LpNorm::l2(shape, &[axis]).unwrap()),
        }
    }
}

impl Case {
    /// The layer that `docs/porting.md` names for the operator, with the case's tensors; none where there is no such layer.
    fn layer(&self, gpu: &Gpu, shape: &[usize]) -> Option<AnyLayer> {
        let eps = self.attributes["epsilon"].as_f64().map_or(1e-5, |eps| eps as f32);
        let axis = self.integer("axis").unwrap_or(-1);
        let normalized = || &shape[if axis < 0 { shape.len() - axis.unsigned_abs() } else { axis.unsigned_abs() }..];
        let mut layer = match self.operator.as_str() {
            "LayerNormalization" => {
                let options = LayerNormOptions::new(normalized()).eps(eps).bias(self.tensor("bias").is_some());
                LayerNormLayer::new_blocking(gpu, options).unwrap().into_any()
            }
            "RMSNormalization" => {
                RmsNormLayer::new_blocking(gpu, RmsNormOptions::new(normalized()).eps(eps)).unwrap().into_any()
            }
            "GroupNormalization" => {
                let groups = self.integer("num_groups").unwrap().unsigned_abs();
                let options = GroupNormOptions::pytorch(groups, shape[1]).eps(eps);
                GroupNormLayer::new_blocking(gpu, options).unwrap().into_any()
            }
            "InstanceNormalization" => {
                let options = InstanceNormOptions::pytorch(shape[1]).affine(true).eps(eps);
                InstanceNormLayer::new_blocking(gpu, options).unwrap().into_any()
            }
            "BatchNormalization" => {
                let mut options = BatchNormOptions::onnx(shape[1]).eps(eps);
                if let Some(momentum) = self.attributes["momentum"].as_f64() {
                    options = options.momentum(Momentum::onnx(momentum as f32));
                }
                BatchNormLayer::new_blocking(gpu, options).unwrap().into_any()
            }
            _ => return None,
        };
        if !self.trains() {
            layer.eval();
        }
        let tensors = ["weight", "bias", "running_mean", "running_var"].into_iter().filter_map(|key| {
            let values = self.tensor(key)?;
            let (shape, values) = (values.shape().to_vec(), values.into_iter().collect::<Vec<_>>());
            Some((key.to_owned(), StateTensor::f32(&shape, &values).unwrap()))
        });
        // ONNX counts no batches.
        layer.load_state_dict_blocking(&tensors.collect::<StateDict>(), "", Strictness::Strict).unwrap();
        Some(layer)
    }
}

fn cases() -> Vec<Case> {
    let index: Value = serde_json::from_slice(&fixture("onnx/cases.json")).expect("JSON");
    let tensors = fixture("onnx/cases.safetensors");
    let tensors = SafeTensors::deserialize(&tensors).expect("cases.safetensors");
    let of = |case: &str| {
        let named = tensors.names().into_iter().filter_map(|name| {
            let key = name.strip_prefix(case)?.strip_prefix('.')?;
            Some((key.to_owned(), single(&tensors, name)?))
        });
        named.collect()
    };
    let string = |value: &Value| value.as_str().expect("a string").to_owned();
    let case = |case: &Value| Case {
        name: string(&case["name"]),
        operator: string(&case["operator"]),
        attributes: case["attributes"].clone(),
        tensors: of(&string(&case["name"])),
    };
    index["cases"].as_array().expect("a list").iter().map(case).collect()
}

#[test]
fn onnx_node_tests() {
    let mut operators = BTreeMap::new();
    for case in cases() {
        let x = case.tensor("x").expect("every case has an x");
        let norm = case.norm(x.shape());
        let [weight, bias, running_mean, running_var] =
            ["weight", "bias", "running_mean", "running_var"].map(|key| case.tensor(key));
        for (label, gpu) in engines() {
            let mut inputs = Inputs::new(x.view());
            if let Some(weight) = &weight {
                inputs = inputs.weight(weight.view());
            }
            if let Some(bias) = &bias {
                inputs = inputs.bias(bias.view());
            }
            if let (Some(mean), Some(var)) = (&running_mean, &running_var) {
                inputs = inputs.running_mean(mean.view()).running_var(var.view());
            }
            if case.tensor("mean").is_some() {
                inputs = inputs.with_mean().with_rstd();
            }
            let out =
                gpu.run_array_blocking(norm.as_ref(), inputs).unwrap_or_else(|e| panic!("{} {label}: {e}", case.name));
            let scale = bias.iter().chain([&out.y]).map(largest).fold(0.0, f64::max);
            for (key, got, scale) in [
                ("y", Some(out.y), scale),
                ("mean", out.mean, largest(&x)),
                ("rstd", out.rstd, 0.0),
                ("running_mean_out", out.running_mean, 0.0),
                ("running_var_out", out.running_var, 0.0),
            ] {
                let want = case.tensor(key);
                assert_eq!(got.is_some(), want.is_some(), "{key} of {} {label}", case.name);
                let (Some(got), Some(want)) = (got, want) else { continue };
                // Of a statistic without a scale, its own largest.
                let scale = ArrayD::from_elem(want.raw_dim(), if scale > 0.0 { scale } else { largest(&want) });
                let worst = reference::largest_error(got.view(), want.mapv(f64::from).view(), scale.view()).unwrap();
                assert!(worst.relative <= TOLERANCE, "{key} of {} {label}\n{worst:?}", case.name);
            }
        }
        *operators.entry(case.operator).or_insert(0) += 1;
    }
    let counts: Vec<(&str, i32)> = operators.iter().map(|(operator, &count)| (operator.as_str(), count)).collect();
    assert_eq!(
        counts,
        [
            ("BatchNormalization", 4),
            ("GroupNormalization", 2),
            ("InstanceNormalization", 2),
            ("LayerNormalization", 19),
            ("LpNormalization", 6),
            ("MeanVarianceNormalization", 1),
            ("RMSNormalization", 19),
        ]
    );
}

#[test]
fn onnx_node_tests_as_layers() {
    let mut layers = 0;
    for case in cases() {
        let x = case.tensor("x").expect("every case has an x");
        let Some(layer) = case.layer(support::gpu(), x.shape()) else { continue };
        layers += 1;
        let check = |key: &str, got: ArrayD<f32>, bias: Option<ArrayD<f32>>| {
            let want = case.tensor(key).unwrap();
            let scale = bias.iter().chain([&want]).map(largest).fold(0.0, f64::max);
            let scale = ArrayD::from_elem(want.raw_dim(), scale);
            let worst = reference::largest_error(got.view(), want.mapv(f64::from).view(), scale.view()).unwrap();
            assert!(worst.relative <= TOLERANCE, "{key} of {}\n{worst:?}", case.name);
        };
        check("y", layer.run_array_blocking(x.view()).unwrap(), case.tensor("bias"));
        if case.trains() {
            let running = layer.running_statistics_blocking().unwrap().unwrap();
            check("running_mean_out", running.mean.into_iter().collect::<Array1<f32>>().into_dyn(), None);
            check("running_var_out", running.var.into_iter().collect::<Array1<f32>>().into_dyn(), None);
        }
    }
    assert_eq!(layers, 46);
}
