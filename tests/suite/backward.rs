//! Gradients of every norm and layout at the widths that hurt, against the oracle.

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::reference;
use wgpu_norm::{Backward, BatchNorm, Error, Gpu, Gradients, Inputs};

use crate::support::{Case, Data, Kind, close, gpus, part};

const WIDTHS: [usize; 15] = [1, 2, 3, 5, 7, 8, 31, 33, 64, 255, 257, 1023, 1025, 4099, 8192];

/// A case with the gradient of its y.
pub struct Gradient {
    pub case: Case,
    pub dy: ArrayD<f32>,
}

impl Gradient {
    pub fn new(kind: Kind, shape: &[usize], mean: f32) -> Self {
        let seed = shape.iter().fold(11, |seed, &n| seed * 37 + n as u64);
        Self { case: Case::new(kind, shape, mean), dy: Data::new(seed).normal(shape, 0.3, 1.0) }
    }

    pub fn plain(mut self) -> Self {
        self.case = self.case.plain();
        self
    }

    pub fn oracle(&self) -> reference::Backward {
        let Case { kind, eps, x, weight, running_mean, running_var, .. } = &self.case;
        let wide = |array: &ArrayD<f32>| array.mapv(f64::from);
        let (x, dy, eps) = (wide(x), wide(&self.dy), f64::from(*eps));
        let (weight, mean, var) =
            (weight.as_ref().map(wide), running_mean.as_ref().map(wide), running_var.as_ref().map(wide));
        let (x, dy, w) = (x.view(), dy.view(), weight.as_ref().map(|w| w.view()));
        match *kind {
            Kind::Layer { ndim } => reference::layer_norm_backward(x, dy, ndim, w, eps),
            Kind::Rms { ndim, offset } => reference::rms_norm_backward(x, dy, ndim, w, eps, f64::from(offset)),
            Kind::Group { groups, axis } => reference::group_norm_backward(x, dy, axis, groups, w, eps),
            Kind::Instance { axis } => reference::instance_norm_backward(x, dy, axis, w, eps),
            Kind::BatchTrain { axis } => reference::batch_norm_train_backward(x, dy, axis, w, eps),
            Kind::BatchEval { axis } => {
                let (mean, var) = (mean.unwrap(), var.unwrap());
                reference::batch_norm_eval_backward(x, dy, axis, mean.view(), var.view(), w, eps)
            }
            Kind::Mvn { .. } | Kind::Lp { .. } => panic!("{kind:?} has no backward pass"),
        }
    }

    pub fn is_eval(&self) -> bool {
        matches!(self.case.kind, Kind::BatchEval { .. })
    }

    /// On every plan for this device, by statistics that are computed and by saved ones.
    pub fn check_all(&self, on: &[(&'static str, Gpu)]) {
        let want = self.oracle();
        for (label, gpu) in on {
            self.check_on(label, gpu, Backward::new(), &want);
            if !self.is_eval() {
                self.check_on(label, gpu, Backward::new().saved_statistics(), &want);
            }
        }
    }

    pub fn check_on(&self, label: &str, gpu: &Gpu, wanted: Backward, want: &reference::Backward) {
        self.try_on(label, gpu, wanted, want).unwrap();
    }

    /// The gradients, which are within the promise, unless the device refuses.
    pub fn try_on(
        &self,
        label: &str,
        gpu: &Gpu,
        wanted: Backward,
        want: &reference::Backward,
    ) -> Result<Gradients<ArrayD<f32>>, Error> {
        let norm = self.case.norm();
        let mut inputs = Inputs::new(self.case.x.view()).grad_output(self.dy.view());
        if let Some(weight) = &self.case.weight {
            inputs = inputs.weight(weight.view());
        }
        if let (Some(mean), Some(var)) = (&self.case.running_mean, &self.case.running_var) {
            inputs = inputs.running_mean(mean.view()).running_var(var.view());
        }
        let saved;
        if wanted == wanted.saved_statistics() {
            let forward = gpu.run_array_blocking(norm.as_ref(), Inputs::new(self.case.x.view()).with_statistics());
            saved = forward?.statistics.unwrap();
            inputs = inputs.statistics(saved.view());
        }
        let out = gpu.run_backward_array_blocking(norm.as_ref(), wanted, inputs)?;
        let plan = gpu.context().plan_backward(norm.as_ref(), wanted).unwrap();
        let what = format!("{:?} {:?} {label} {wanted:?}\n{plan}", self.case.kind, self.case.x.shape());
        if let Some(got) = &out.input {
            close(&format!("dx of {what}"), got, &want.dx, &want.dx_scale);
        }
        if let Some(got) = &out.weight {
            close(&format!("dweight of {what}"), got, &want.dweight, &want.dweight_scale);
        }
        if let Some(got) = &out.bias {
            close(&format!("dbias of {what}"), got, &want.dbias, &want.dbias_scale);
        }
        Ok(out)
    }
}

/// The widths at which a GPU's plans differ most: what they unroll takes long to compile for a CPU.
const WIDTHS_AS_GPU: [usize; 5] = [3, 257, 4099, 64, 1025];

fn sweep(kind: impl Fn(usize) -> (Kind, Vec<usize>)) {
    let as_gpu = part(&WIDTHS_AS_GPU, 3);
    for width in WIDTHS {
        let (kind, shape) = kind(width);
        let on = if as_gpu.contains(&width) { gpus() } else { &gpus()[..2] };
        for mean in [0.0, 1e6] {
            Gradient::new(kind, &shape, mean).check_all(on);
        }
        Gradient::new(kind, &shape, 3.0).plain().check_all(on);
    }
}

#[test]
fn layer() {
    sweep(|width| (Kind::Layer { ndim: 1 }, vec![3, width]));
    sweep(|width| (Kind::Layer { ndim: 1 }, vec![width, 5]));
}

#[test]
fn layer_over_two_axes() {
    sweep(|width| (Kind::Layer { ndim: 2 }, vec![5, 3, width]));
}

#[test]
fn rms() {
    sweep(|width| (Kind::Rms { ndim: 1, offset: 0.0 }, vec![3, width]));
    sweep(|width| (Kind::Rms { ndim: 2, offset: 1.0 }, vec![2, 2, width]));
}

#[test]
fn group_channels_first() {
    sweep(|width| (Kind::Group { groups: 2, axis: 1 }, vec![2, 6, width]));
    sweep(|width| (Kind::Group { groups: 2, axis: 1 }, vec![width, 6]));
}

#[test]
fn group_channels_last() {
    sweep(|width| (Kind::Group { groups: 3, axis: 2 }, vec![2, width, 6]));
    sweep(|width| (Kind::Group { groups: 2, axis: 2 }, vec![2, 5, 2 * width]));
}

#[test]
fn group_channels_in_the_middle() {
    sweep(|width| (Kind::Group { groups: 2, axis: 2 }, vec![2, 3, 4, width]));
    sweep(|width| (Kind::Group { groups: 2, axis: 0 }, vec![4, width]));
}

#[test]
fn instance_channels_first() {
    sweep(|width| (Kind::Instance { axis: 1 }, vec![2, 3, width]));
}

#[test]
fn instance_channels_last() {
    sweep(|width| (Kind::Instance { axis: 2 }, vec![2, width, 3]));
    sweep(|width| (Kind::Instance { axis: 2 }, vec![2, 7, width]));
}

#[test]
fn batch_channels_first() {
    sweep(|width| (Kind::BatchTrain { axis: 1 }, vec![3, 4, width]));
    sweep(|width| (Kind::BatchTrain { axis: 1 }, vec![width, 4, 9]));
}

#[test]
fn batch_channels_last() {
    sweep(|width| (Kind::BatchTrain { axis: 1 }, vec![width, 3]));
    sweep(|width| (Kind::BatchTrain { axis: 2 }, vec![3, 5, width]));
}

#[test]
fn batch_eval() {
    sweep(|width| (Kind::BatchEval { axis: 1 }, vec![3, 4, width]));
    sweep(|width| (Kind::BatchEval { axis: 1 }, vec![width, 5]));
}

/// A batch norm that keeps running statistics leaves them alone, whatever it is asked for.
#[test]
fn each_gradient_alone() {
    for (kind, shape) in [
        (Kind::Layer { ndim: 1 }, vec![40, 24]),
        (Kind::Group { groups: 2, axis: 1 }, vec![3, 6, 20]),
        (Kind::Instance { axis: 2 }, vec![3, 20, 6]),
        (Kind::BatchTrain { axis: 1 }, vec![300, 12]),
        (Kind::BatchEval { axis: 1 }, vec![30, 6, 4]),
    ] {
        let gradient = Gradient::new(kind, &shape, 2.0);
        let want = gradient.oracle();
        for (label, gpu) in gpus() {
            for wanted in [
                Backward::new().without_weight().without_bias(),
                Backward::new().without_input(),
                Backward::new().without_input().without_bias(),
                Backward::new().without_weight(),
            ] {
                gradient.check_on(label, gpu, wanted, &want);
                if !gradient.is_eval() {
                    gradient.check_on(label, gpu, wanted.saved_statistics(), &want);
                }
            }
        }
    }
    let tracked = BatchNorm::new(&[30, 2], 1).unwrap();
    let plan = gpus()[0].1.context().plan_backward(&tracked, Backward::new()).unwrap();
    assert!(plan.passes().iter().all(|pass| pass.name() != "count_batch"));
}
