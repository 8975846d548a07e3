//! Gradients of one call, held to the oracle.

use wgpu_norm::ndarray::{ArrayD, Zip};
use wgpu_norm::sample::wide;
use wgpu_norm::{Activation, Backward, BindError, Element, Error, Gpu, Gradients, Inputs, reference};

use super::{Case, Data, Kind, Runs, TOLERANCE, close, close_to, cpu};

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

    /// As [`Case::stored_as`].
    pub fn stored_as(mut self, element: Element, parameters: Element) -> Self {
        self.case = self.case.stored_as(element, parameters);
        self.dy.mapv_inplace(|v| element.rounded(v));
        self
    }

    /// As [`Case::modulated`].
    pub fn modulated(mut self, shape: &[usize]) -> Self {
        self.case = self.case.modulated(shape);
        self
    }

    /// As [`Case::plus_skip`].
    pub fn plus_skip(mut self) -> Self {
        self.case = self.case.plus_skip();
        self
    }

    /// As [`Case::then`]. Where it has a kink, no gradient comes in closer to it than the error.
    pub fn then(mut self, activation: Activation) -> Self {
        if activation == Activation::Relu {
            let bare = self.case.oracle();
            Zip::from(&mut self.dy).and(&bare.y).and(&bare.scale).for_each(|dy, y, scale| {
                if y.abs() <= TOLERANCE * scale {
                    *dy = 0.0;
                }
            });
        }
        self.case = self.case.then(activation);
        self
    }

    pub fn plain(mut self) -> Self {
        self.case = self.case.plain();
        self
    }

    pub fn oracle(&self) -> reference::Backward {
        self.case.kind.gradients(&self.case.exact(), &wide(&self.dy)).unwrap()
    }

    pub fn is_eval(&self) -> bool {
        self.case.kind.is_eval()
    }

    /// On every plan for this device and on the CPU, by statistics that are computed and by saved ones.
    pub fn check_all(&self, on: &[(&'static str, Gpu)]) {
        let want = self.oracle();
        let gpus = on.iter().map(|(label, gpu)| (*label, gpu as &dyn Runs));
        for (label, on) in gpus.chain([("on the CPU", cpu() as &dyn Runs)]) {
            self.check_on(label, on, Backward::new(), &want);
            if !self.is_eval() {
                self.check_on(label, on, Backward::new().saved_statistics(), &want);
            }
        }
    }

    pub fn check_on(&self, label: &str, on: &dyn Runs, wanted: Backward, want: &reference::Backward) {
        let Case { scale, shift, skip, activation, .. } = &self.case;
        let all_follow = (scale.is_some() || shift.is_some()) && skip.is_some() && activation.is_some();
        match self.try_on(label, on, wanted, want) {
            // All that may follow a norm takes more bindings than some devices have, as docs/norms.md says.
            Err(Error::Bind(BindError::StorageBuffers { needs: 9..=11, has: 8..=10, .. })) if all_follow => {}
            result => drop(result.unwrap()),
        }
    }

    /// The gradients, which are within the promise, unless the device refuses.
    pub fn try_on(
        &self,
        label: &str,
        on: &dyn Runs,
        wanted: Backward,
        want: &reference::Backward,
    ) -> Result<Gradients<ArrayD<f32>>, Error> {
        let norm = self.case.norm();
        let given = self.case.parameters().going_back(self.case.kind, self.case.activation);
        let mut inputs = given.map(|array| array.view()).beside(self.case.x.view()).grad_output(self.dy.view());
        let saved;
        if wanted == wanted.saved_statistics() {
            // No more than it needs: statistics are those of x.
            let mut least = Inputs::new(self.case.x.view());
            if let Some(skip) = &self.case.skip {
                least = least.skip(skip.view());
            }
            let forward = on.forward(norm.as_ref(), least.with_statistics());
            saved = forward?.statistics.unwrap();
            inputs = inputs.statistics(saved.view());
        }
        let out = on.backward(norm.as_ref(), wanted, inputs)?;
        let plan = on.plan(norm.as_ref(), Some(wanted));
        let what = format!("{:?} {:?} {label} {wanted:?}\n{plan}", self.case.kind, self.case.x.shape());
        if let Some(got) = &out.input {
            close_to(self.case.storage.of_gradients(), &format!("dx of {what}"), got, &want.dx, &want.dx_scale);
        }
        if let Some(got) = &out.weight {
            close(&format!("dweight of {what}"), got, &want.dweight, &want.dweight_scale);
        }
        if let Some(got) = &out.bias {
            close(&format!("dbias of {what}"), got, &want.dbias, &want.dbias_scale);
        }
        let following = [
            ("dscale", &out.scale, &want.dscale),
            ("dshift", &out.shift, &want.dshift),
            ("dskip", &out.skip, &want.dadded),
        ];
        for (name, got, want) in following {
            if let (Some(got), Some(want)) = (got, want) {
                let element = if name == "dskip" { self.case.storage.of_gradients() } else { Element::F32 };
                close_to(element, &format!("{name} of {what}"), got, &want.value, &want.scale);
            }
        }
        Ok(out)
    }
}
