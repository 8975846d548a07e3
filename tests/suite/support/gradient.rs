//! Gradients of one call, held to the oracle.

use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::{Backward, Error, Gpu, Gradients, Inputs, reference};

use super::{Case, Data, Kind, close};

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
