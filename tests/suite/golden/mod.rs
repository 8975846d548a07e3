//! The golden files: small inputs, and what PyTorch computes from them in float64.
//!
//! `tests/golden/generate.py` wrote them and says what they are.

mod gpu;
#[cfg(feature = "safetensors")]
mod onnx;
mod oracle;

use std::fs;
use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use wgpu_norm::Element;
use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::sample::{Arguments, Exact, Kind, Parameters};

/// One call of a norm: its arguments and its results. What the norm does not have is `None`.
pub struct Case {
    pub name: String,
    /// `layer`, `rms`, `group`, `instance` or `batch`.
    pub norm: String,
    /// Layer and RMS: the shape of the last axes, which are normalized.
    pub normalized_shape: Option<Vec<usize>>,
    /// Group, instance and batch: negative counts from the end. 0 (instance only) is unbatched.
    pub channel_axis: Option<isize>,
    /// Group.
    pub num_groups: Option<usize>,
    pub eps: f64,
    /// RMS.
    pub weight_offset: Option<f64>,
    /// Batch: whether with the statistics of the batch.
    pub training: Option<bool>,
    /// Batch training: as PyTorch's, the weight of the new batch. `None` is the average of all.
    pub momentum: Option<f64>,
    /// Batch training: how many batches came before this one.
    pub num_batches_tracked: Option<usize>,
    /// Batch training: the variance that goes into the running one, `unbiased` or `population`.
    pub estimator: Option<String>,

    pub x: ArrayD<f32>,
    pub weight: Option<ArrayD<f32>>,
    pub bias: Option<ArrayD<f32>>,
    pub running_mean: Option<ArrayD<f32>>,
    pub running_var: Option<ArrayD<f32>>,

    pub y: ArrayD<f64>,
    pub mean: Option<ArrayD<f64>>,
    pub rstd: ArrayD<f64>,
    pub running_mean_out: Option<ArrayD<f64>>,
    pub running_var_out: Option<ArrayD<f64>>,

    /// The gradient of some loss with respect to `y`, in some of the cases.
    pub grad_output: Option<ArrayD<f32>>,
    /// What it makes of `x`, `weight` and `bias`, where there is a `grad_output`; of a weight or bias that is left out,
    /// as if it were there and multiplied by 1 or added 0.
    pub grad_input: Option<ArrayD<f64>>,
    pub grad_weight: Option<ArrayD<f64>>,
    pub grad_bias: Option<ArrayD<f64>>,
}

impl Case {
    /// The norm; batch norm that trains is one that keeps no running statistics.
    pub fn kind(&self) -> Kind {
        let kind = Kind::named(&self.norm).unwrap_or_else(|| panic!("no norm is called {}", self.norm));
        kind.with(&Arguments {
            ndim: self.normalized_shape.as_ref().map(Vec::len),
            offset: self.weight_offset.map(|offset| offset as f32),
            groups: self.num_groups,
            axis: self.channel_axis,
            train: self.training == Some(true),
            ..Arguments::default()
        })
    }

    pub fn parameters(&self) -> Parameters<&ArrayD<f32>> {
        let Self { weight, bias, running_mean, running_var, .. } = self;
        let [weight, bias, running_mean, running_var] =
            [weight, bias, running_mean, running_var].map(|array| array.as_ref());
        Parameters { weight, bias, running_mean, running_var, ..Parameters::default() }
    }

    pub fn exact(&self) -> Exact {
        let parameters = self.parameters().map(|array| array.mapv(f64::from));
        let (element, activation) = (Element::F32, None);
        Exact { x: self.x.mapv(f64::from), parameters, eps: self.eps, element, offset: 1.0, activation }
    }

    /// How much of the running statistics stays, and how much of the batch's is taken.
    pub fn keep_and_take(&self) -> (f64, f64) {
        let batches = self.num_batches_tracked.expect("a training batch");
        let take = self.momentum.unwrap_or(1.0 / (batches + 1) as f64);
        (1.0 - take, take)
    }
}

/// All golden cases, in the order of `cases.json`.
pub fn cases() -> Vec<Case> {
    let index: Vec<Value> = serde_json::from_slice(&fixture("golden/cases.json")).expect("a JSON list");
    let arrays = fixture("golden/cases.safetensors");
    let arrays = SafeTensors::deserialize(&arrays).expect("cases.safetensors");
    index.iter().map(|case| load(case, &arrays)).collect()
}

/// A file under `tests`.
pub fn fixture(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An array of float32, where there is one of this name.
pub fn single(arrays: &SafeTensors<'_>, name: &str) -> Option<ArrayD<f32>> {
    let view = arrays.tensor(name).ok()?;
    assert_eq!(view.dtype(), Dtype::F32, "{name}");
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    Some(ArrayD::from_shape_vec(view.shape(), values).unwrap())
}

/// An array of float64, or one of float32 widened, where there is one of this name.
pub fn wide(arrays: &SafeTensors<'_>, name: &str) -> Option<ArrayD<f64>> {
    let view = arrays.tensor(name).ok()?;
    if view.dtype() != Dtype::F64 {
        return Some(single(arrays, name)?.mapv(f64::from));
    }
    let values = view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
    Some(ArrayD::from_shape_vec(view.shape(), values).unwrap())
}

fn load(case: &Value, arrays: &SafeTensors<'_>) -> Case {
    let name = case["name"].as_str().expect("every case has a name");
    let single = |key: &str| single(arrays, &format!("{name}.{key}"));
    let wide = |key: &str| wide(arrays, &format!("{name}.{key}"));
    let string = |key: &str| case[key].as_str().map(str::to_owned);
    let count = |key: &str| case[key].as_u64().map(|n| n as usize);
    let counts = |key: &str| -> Option<Vec<usize>> {
        let list = case[key].as_array()?;
        Some(list.iter().map(|n| n.as_u64().expect("a count") as usize).collect())
    };
    let x = single("x").expect("every case has an x");
    assert_eq!(counts("shape").as_deref(), Some(x.shape()));
    Case {
        name: name.to_owned(),
        norm: string("norm").expect("every case has a norm"),
        normalized_shape: counts("normalized_shape"),
        channel_axis: case["channel_axis"].as_i64().map(|axis| axis as isize),
        num_groups: count("num_groups"),
        eps: case["eps"].as_f64().expect("every case has an eps"),
        weight_offset: case["weight_offset"].as_f64(),
        training: case["training"].as_bool(),
        momentum: case["momentum"].as_f64(),
        num_batches_tracked: count("num_batches_tracked"),
        estimator: string("estimator"),
        x,
        weight: single("weight"),
        bias: single("bias"),
        running_mean: single("running_mean"),
        running_var: single("running_var"),
        y: wide("y").expect("every case has a y"),
        mean: wide("mean"),
        rstd: wide("rstd").expect("every case has an rstd"),
        running_mean_out: wide("running_mean_out"),
        running_var_out: wide("running_var_out"),
        grad_output: single("grad_output"),
        grad_input: wide("grad_input"),
        grad_weight: wide("grad_weight"),
        grad_bias: wide("grad_bias"),
    }
}
