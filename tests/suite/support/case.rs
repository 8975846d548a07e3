//! One call of any norm, held to the oracle.

use wgpu_norm::ndarray::{ArrayD, ArrayViewD, Dimension};
use wgpu_norm::reference::Forward;
pub use wgpu_norm::sample::Kind;
use wgpu_norm::sample::{Exact, Following, Parameters, wide};
use wgpu_norm::{Activation, Element, Gpu, Inputs, Norm, Storage};

use super::{Data, Runs, close, close_to, cpu, gpus, largest};

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
    pub storage: Storage,
    pub scale: Option<ArrayD<f32>>,
    pub shift: Option<ArrayD<f32>>,
    pub offset: f32,
    pub skip: Option<ArrayD<f32>>,
    pub activation: Option<Activation>,
}

impl Case {
    /// Data of this mean and a standard deviation of 1, with weight and bias.
    pub fn new(kind: Kind, shape: &[usize], mean: f32) -> Self {
        let mut data = Data::new(shape.iter().fold(shape.len() as u64, |seed, &n| seed * 31 + n as u64));
        let x = data.normal(shape, mean, 1.0);
        let parameters = kind.norm(shape, 1e-5, None).unwrap().parameter_shape();
        let given = Parameters::random(kind, &parameters, mean, |shape, mean, std| data.normal(shape, mean, std));
        let running = |array: Option<_>| array.filter(|_| kind.is_eval());
        let Parameters { weight, bias, running_mean, running_var, .. } = given;
        let (running_mean, running_var) = (running(running_mean), running(running_var));
        Self {
            kind,
            eps: 1e-5,
            x,
            weight,
            bias,
            running_mean,
            running_var,
            storage: Storage::default(),
            scale: None,
            shift: None,
            offset: 1.0,
            skip: None,
            activation: None,
        }
    }

    /// With `x` and all of its size as this type, and weight and bias as that.
    pub fn stored_as(mut self, element: Element, parameters: Element) -> Self {
        self.storage = Storage::new(element).parameters(parameters);
        self.x.mapv_inplace(|v| element.rounded(v));
        let of_parameters = [&mut self.weight, &mut self.bias, &mut self.scale, &mut self.shift];
        for values in of_parameters.into_iter().flatten() {
            values.mapv_inplace(|v| parameters.rounded(v));
        }
        self.skip.iter_mut().for_each(|skip| skip.mapv_inplace(|v| element.rounded(v)));
        self
    }

    /// With a scale and a shift of this shape.
    pub fn modulated(mut self, shape: &[usize]) -> Self {
        let mut data = Data::new(shape.iter().fold(7, |seed, &n| seed * 41 + n as u64));
        let parameters = self.storage.of_parameters();
        self.scale = Some(data.normal(shape, 0.0, 0.5).mapv(|v| parameters.rounded(v)));
        self.shift = Some(data.normal(shape, 0.0, 1.0).mapv(|v| parameters.rounded(v)));
        self
    }

    /// With a tensor that is added.
    pub fn plus_skip(mut self) -> Self {
        let skip = Data::new(self.x.len() as u64 + 5).normal(self.x.shape(), 0.0, 1.0);
        self.skip = Some(skip.mapv(|v| self.storage.of_input().rounded(v)));
        self
    }

    /// With this after it.
    pub fn then(self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self }
    }

    pub fn plain(mut self) -> Self {
        (self.weight, self.bias) = (None, None);
        self
    }

    pub fn norm(&self) -> Box<dyn Norm> {
        let norm = self.kind.norm(self.x.shape(), self.eps, None).unwrap().stored_as(self.storage);
        let modulated = self.scale.as_ref().or(self.shift.as_ref()).map(|of| of.shape());
        let (offset, skip, activation) = (self.offset, self.skip.is_some(), self.activation);
        Following { modulated, gated: false, offset, skip, activation }.after(Box::new(norm))
    }

    pub fn parameters(&self) -> Parameters<&ArrayD<f32>> {
        let Self { weight, bias, running_mean, running_var, scale, shift, skip, .. } = self;
        let [weight, bias, running_mean, running_var, scale, shift, skip] =
            [weight, bias, running_mean, running_var, scale, shift, skip].map(|array| array.as_ref());
        Parameters { weight, bias, running_mean, running_var, scale, shift, skip, gate: None, embedding: None }
    }

    pub fn inputs(&self) -> Inputs<ArrayViewD<'_, f32>> {
        self.parameters().map(|array| array.view()).beside(self.x.view())
    }

    pub fn exact(&self) -> Exact {
        let parameters = self.parameters().map(|array| wide(array));
        let (element, activation, offset) = (self.storage.of_output(), self.activation, f64::from(self.offset));
        Exact { x: wide(&self.x), parameters, eps: f64::from(self.eps), element, offset, activation }
    }

    pub fn oracle(&self) -> Forward {
        self.kind.oracle(&self.exact())
    }

    /// The largest finite magnitude of each group.
    fn largest_by_group(&self, statistics_shape: &[usize]) -> ArrayD<f64> {
        // Element by element is too slow for the largest.
        if self.x.len() > 1_000_000 {
            return ArrayD::from_elem(statistics_shape, largest(&self.x));
        }
        let mut most = ArrayD::zeros(statistics_shape);
        let groups = self.kind.entry().groups;
        for (index, v) in self.x.indexed_iter().filter(|(_, v)| v.is_finite()) {
            let place = &mut most[&groups.of(self.x.shape(), index.slice())[..]];
            *place = f64::from(v.abs()).max(*place);
        }
        most
    }

    /// On every plan for this device, and on the CPU.
    pub fn check(&self) {
        self.check_all(gpus());
    }

    pub fn check_all(&self, on: &[(&'static str, Gpu)]) {
        let want = self.oracle();
        for (label, gpu) in on {
            self.check_on(label, gpu, &want);
        }
        self.check_on("on the CPU", cpu(), &want);
    }

    pub fn check_on(&self, label: &str, on: &dyn Runs, want: &Forward) {
        let norm = self.norm();
        let mut inputs = self.inputs();
        if want.mean.is_some() {
            inputs = inputs.with_mean();
        }
        if !self.kind.is_eval() {
            inputs = inputs.with_rstd();
        }
        let out = on.forward(norm.as_ref(), inputs).unwrap();
        let what = format!("{:?} {:?} {label}\n{}", self.kind, self.x.shape(), on.plan(norm.as_ref(), None));
        close_to(self.storage.of_output(), &format!("y of {what}"), &out.y, &want.y, &want.scale);
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
        (Kind::LayerOver { axes: &[1] }, vec![2, 300, 7]),
        (Kind::LayerOver { axes: &[1] }, vec![2, 20, 128]),
        (Kind::LayerOver { axes: &[0, 2] }, vec![20, 3, 30]),
        (Kind::RmsOver { axes: &[1], offset: 0.0 }, vec![2, 5, 64]),
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
