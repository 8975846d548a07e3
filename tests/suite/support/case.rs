//! One call of any norm, held to the oracle.

use wgpu_norm::ndarray::{ArrayD, ArrayViewD, Dimension};
use wgpu_norm::reference::{self, Forward};
use wgpu_norm::{BatchNorm, Gpu, GroupNorm, Inputs, InstanceNorm, LayerNorm, LpNorm, MeanVarianceNorm, Norm, RmsNorm};

use super::{Data, close, gpus, largest};

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

/// Every kind, fused and staged, as `[groups.., elements..]`-like shapes with the axis along which a group lies.
pub fn every_kind() -> Vec<(Kind, Vec<usize>)> {
    vec![
        (Kind::Layer { ndim: 1 }, vec![3, 700]),
        (Kind::Layer { ndim: 1 }, vec![2, 40_000]),
        (Kind::Rms { ndim: 1, offset: 0.0 }, vec![3, 700]),
        (Kind::Rms { ndim: 1, offset: 0.0 }, vec![2, 40_000]),
        (Kind::Group { groups: 2, axis: 1 }, vec![2, 4, 333]),
        (Kind::Group { groups: 2, axis: 2 }, vec![2, 333, 4]),
        (Kind::Instance { axis: 1 }, vec![2, 3, 700]),
        (Kind::Instance { axis: 2 }, vec![2, 700, 3]),
        (Kind::Instance { axis: 2 }, vec![2, 300, 3, 30]),
        (Kind::BatchTrain { axis: 1 }, vec![5, 3, 140]),
        (Kind::BatchTrain { axis: 1 }, vec![700, 3]),
        (Kind::BatchEval { axis: 1 }, vec![5, 3, 140]),
        (Kind::Mvn { axes: &[0, 2] }, vec![5, 3, 140]),
        (Kind::Mvn { axes: &[1] }, vec![2, 40_000]),
        (Kind::Lp { p: 1, axes: &[1] }, vec![3, 700]),
        (Kind::Lp { p: 2, axes: &[1] }, vec![2, 40_000]),
        (Kind::Lp { p: 2, axes: &[0, 2] }, vec![5, 3, 140]),
    ]
}
