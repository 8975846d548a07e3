//! What the other modules share: the adapter, data, and one runner that holds every norm to the oracle.

use std::sync::OnceLock;

use wgpu_norm::ndarray::{ArrayD, ArrayViewD, Dimension, IxDyn};
pub use wgpu_norm::reference::TOLERANCE;
use wgpu_norm::reference::{self, Forward};
use wgpu_norm::{
    BatchNorm, Capabilities, Gpu, GroupNorm, Inputs, InstanceNorm, LayerNorm, LpNorm, MeanVarianceNorm, Norm, RmsNorm,
};

/// The adapter at hand. Without one the suite fails, and says what to do.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        Gpu::new_blocking().unwrap_or_else(|error| {
            panic!(
                "{error}\nThe suite needs an adapter. On Debian or Ubuntu: \
                 apt-get update && apt-get install -y --no-install-recommends mesa-vulkan-drivers"
            )
        })
    })
}

/// Whether the adapter rounds `a * b + c` once. Then two shaders that differ in anything need not give the same bits.
pub fn fuses_multiply_add() -> bool {
    static FUSES: OnceLock<bool> = OnceLock::new();
    *FUSES.get_or_init(|| gpu().probe_blocking().unwrap().fuses_multiply_add)
}

/// The same device planned for in every way: as it is, and as a GPU would be; with subgroups, and by workgroup memory.
pub fn gpus() -> &'static [(&'static str, Gpu)] {
    static GPUS: OnceLock<Vec<(&'static str, Gpu)>> = OnceLock::new();
    GPUS.get_or_init(|| {
        vec![
            ("as it is", gpu().clone()),
            ("alone", changed(|c| c.subgroup_sizes = None)),
            ("as a GPU", changed(|c| (c.software, c.reassociates) = (false, true))),
            ("as a GPU without subgroups", changed(|c| (c.software, c.subgroup_sizes) = (false, None))),
        ]
    })
}

/// Whether to run all there is, as `cargo xtask test --thorough` does, or a part of the long sweeps and random draws.
pub fn thorough() -> bool {
    std::env::var_os("WGPU_NORM_THOROUGH").is_some_and(|value| value != "0")
}

/// All where that is thorough, else the first few: lists begin with what differs most.
pub fn part<T>(all: &[T], few: usize) -> &[T] {
    if thorough() { all } else { &all[..few] }
}

/// The adapter at hand, planned for as if it could do something else.
pub fn changed(change: impl Fn(&mut Capabilities)) -> Gpu {
    let gpu = gpu();
    let mut capabilities = gpu.context().capabilities().clone();
    change(&mut capabilities);
    gpu.clone().with_capabilities(capabilities)
}

/// Any norm, by the arguments the library and the oracle both take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Layer { ndim: usize },
    Rms { ndim: usize, offset: f32 },
    Group { groups: usize, axis: usize },
    Instance { axis: usize },
    BatchTrain { axis: usize },
    BatchEval { axis: usize },
    Mvn { axes: &'static [usize] },
    Lp { p: u32, axes: &'static [usize] },
}

impl Kind {
    pub fn norm(self, shape: &[usize], eps: f32) -> Box<dyn Norm> {
        let axis = |axis: usize| isize::try_from(axis).unwrap();
        let last = |ndim: usize| &shape[shape.len() - ndim..];
        match self {
            Self::Layer { ndim } => Box::new(LayerNorm::new(shape, last(ndim)).unwrap().eps(eps)),
            Self::Rms { ndim, offset } => {
                Box::new(RmsNorm::new(shape, last(ndim)).unwrap().eps(eps).weight_offset(offset))
            }
            Self::Group { groups, axis: a } => Box::new(GroupNorm::new(shape, groups, axis(a)).unwrap().eps(eps)),
            Self::Instance { axis: a } => Box::new(InstanceNorm::new(shape, axis(a)).unwrap().eps(eps)),
            Self::BatchTrain { axis: a } => {
                Box::new(BatchNorm::new(shape, axis(a)).unwrap().eps(eps).without_tracking())
            }
            Self::BatchEval { axis: a } => Box::new(BatchNorm::new(shape, axis(a)).unwrap().eps(eps).eval()),
            Self::Mvn { axes } => {
                let axes: Vec<isize> = axes.iter().map(|&a| axis(a)).collect();
                Box::new(MeanVarianceNorm::new(shape, &axes).unwrap().eps(eps))
            }
            Self::Lp { p, axes } => {
                let axes: Vec<isize> = axes.iter().map(|&a| axis(a)).collect();
                let norm = if p == 1 { LpNorm::l1(shape, &axes) } else { LpNorm::l2(shape, &axes) };
                Box::new(norm.unwrap().eps(eps))
            }
        }
    }

    /// The place in `mean` of the group that the element at `index` belongs to, by the norm's definition.
    pub fn group_of(self, shape: &[usize], index: &[usize]) -> Vec<usize> {
        let sample = |axis: usize| if axis == 0 { 0 } else { index[0] };
        match self {
            Self::Layer { ndim } | Self::Rms { ndim, .. } => {
                index.iter().enumerate().map(|(axis, &i)| if axis + ndim < shape.len() { i } else { 0 }).collect()
            }
            Self::Group { groups, axis } => vec![sample(axis), index[axis] / (shape[axis] / groups)],
            Self::Instance { axis } => vec![sample(axis), index[axis]],
            Self::BatchTrain { axis } | Self::BatchEval { axis } => vec![index[axis]],
            Self::Mvn { axes } | Self::Lp { axes, .. } => {
                index.iter().enumerate().map(|(axis, &i)| if axes.contains(&axis) { 0 } else { i }).collect()
            }
        }
    }

    pub fn oracle(self, case: &Case) -> Forward {
        let (x, eps) = (case.x.mapv(f64::from), f64::from(case.eps));
        let wide = |array: &Option<ArrayD<f32>>| array.as_ref().map(|array| array.mapv(f64::from));
        let (weight, bias) = (wide(&case.weight), wide(&case.bias));
        let (x, w, b) = (x.view(), weight.as_ref().map(|w| w.view()), bias.as_ref().map(|b| b.view()));
        match self {
            Self::Layer { ndim } => reference::layer_norm(x, ndim, w, b, eps),
            Self::Rms { ndim, offset } => reference::rms_norm(x, ndim, w, b, eps, f64::from(offset)),
            Self::Group { groups, axis } => reference::group_norm(x, axis, groups, w, b, eps),
            Self::Instance { axis } => reference::instance_norm(x, axis, w, b, eps),
            Self::BatchTrain { axis } => reference::batch_norm_train(x, axis, w, b, eps),
            Self::Mvn { axes } => reference::mean_variance_norm(x, axes, eps),
            Self::Lp { p, axes } => reference::lp_norm(x, axes, p, eps),
            Self::BatchEval { axis } => {
                let (mean, var) = (wide(&case.running_mean).unwrap(), wide(&case.running_var).unwrap());
                reference::batch_norm_eval(x, axis, mean.view(), var.view(), w, b, eps)
            }
        }
    }
}

/// One call.
#[derive(Debug, Clone)]
pub struct Case {
    pub kind: Kind,
    pub eps: f32,
    pub x: ArrayD<f32>,
    pub weight: Option<ArrayD<f32>>,
    pub bias: Option<ArrayD<f32>>,
    pub running_mean: Option<ArrayD<f32>>,
    pub running_var: Option<ArrayD<f32>>,
}

impl Case {
    /// Data of this mean and a standard deviation of 1, with weight and bias.
    pub fn new(kind: Kind, shape: &[usize], mean: f32) -> Self {
        let mut data = Data::new(shape.iter().fold(shape.len() as u64, |seed, &n| seed * 31 + n as u64));
        let x = data.normal(shape, mean, 1.0);
        let parameters = kind.norm(shape, 1e-5).parameter_shape();
        let eval = matches!(kind, Kind::BatchEval { .. });
        let affine = !matches!(kind, Kind::Mvn { .. } | Kind::Lp { .. });
        Self {
            kind,
            eps: 1e-5,
            x,
            weight: affine.then(|| data.normal(&parameters, 1.0, 0.3)),
            bias: affine.then(|| data.normal(&parameters, 0.0, 0.5)),
            running_mean: eval.then(|| data.normal(&parameters, mean, 0.2)),
            running_var: eval.then(|| data.normal(&parameters, 0.0, 1.0).mapv(|v| v * v + 0.1)),
        }
    }

    pub fn plain(mut self) -> Self {
        (self.weight, self.bias) = (None, None);
        self
    }

    pub fn norm(&self) -> Box<dyn Norm> {
        self.kind.norm(self.x.shape(), self.eps)
    }

    pub fn inputs(&self) -> Inputs<ArrayViewD<'_, f32>> {
        let mut inputs = Inputs::new(self.x.view());
        if let Some(weight) = &self.weight {
            inputs = inputs.weight(weight.view());
        }
        if let Some(bias) = &self.bias {
            inputs = inputs.bias(bias.view());
        }
        if let (Some(mean), Some(var)) = (&self.running_mean, &self.running_var) {
            inputs = inputs.running_mean(mean.view()).running_var(var.view());
        }
        inputs
    }

    /// The largest finite magnitude of each group.
    fn largest_by_group(&self, statistics_shape: &[usize]) -> ArrayD<f64> {
        // Element by element is too slow for the largest.
        if self.x.len() > 1_000_000 {
            return ArrayD::from_elem(statistics_shape, largest(&self.x));
        }
        let mut most = ArrayD::zeros(statistics_shape);
        let shape = self.x.shape().to_vec();
        for (index, v) in self.x.indexed_iter().filter(|(_, v)| v.is_finite()) {
            let place = &mut most[&self.kind.group_of(&shape, index.slice())[..]];
            *place = f64::from(v.abs()).max(*place);
        }
        most
    }

    /// On every plan for this device.
    pub fn check(&self) {
        self.check_all(gpus());
    }

    pub fn check_all(&self, on: &[(&'static str, Gpu)]) {
        let want = self.kind.oracle(self);
        for (label, gpu) in on {
            self.check_on(label, gpu, &want);
        }
    }

    pub fn check_on(&self, label: &str, gpu: &Gpu, want: &Forward) {
        let norm = self.norm();
        let mut inputs = self.inputs();
        if want.mean.is_some() {
            inputs = inputs.with_mean();
        }
        if !matches!(self.kind, Kind::BatchEval { .. }) {
            inputs = inputs.with_rstd();
        }
        let out = gpu.run_array_blocking(norm.as_ref(), inputs).unwrap();
        let what =
            format!("{:?} {:?} {label}\n{}", self.kind, self.x.shape(), gpu.context().plan(norm.as_ref()).unwrap());
        close(&format!("y of {what}"), &out.y, &want.y, &want.scale);
        if let (Some(got), Some(want)) = (&out.mean, &want.mean) {
            let scale = self.largest_by_group(want.shape());
            close(&format!("mean of {what}"), got, want, &scale);
        }
        if let Some(got) = &out.rstd {
            close(&format!("rstd of {what}"), got, &want.rstd, &want.rstd.mapv(f64::abs));
        }
    }
}

/// The largest finite magnitude.
pub fn largest(x: &ArrayD<f32>) -> f64 {
    x.iter().filter(|v| v.is_finite()).fold(0.0, |most, v| f64::from(v.abs()).max(most))
}

/// Panics where `got` is further from `want` than the promise.
pub fn close(what: &str, got: &ArrayD<f32>, want: &ArrayD<f64>, scale: &ArrayD<f64>) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    if let Some(worst) = reference::largest_error(got.view(), want.view(), scale.view()) {
        assert!(worst.relative <= TOLERANCE, "{what}\n{worst:?}");
    }
}

/// Numbers that are the same on every run.
pub struct Data(u64);

impl Data {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// In 0 to 1 (xorshift*).
    pub fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }

    /// Near enough to normal: the sum of four uniforms.
    pub fn normal(&mut self, shape: &[usize], mean: f32, std: f32) -> ArrayD<f32> {
        ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            let sum: f64 = (0..4).map(|_| self.uniform() - 0.5).sum();
            (f64::from(mean) + f64::from(std) * sum * 3f64.sqrt()) as f32
        })
    }
}
