//! A case with its data, held against float64.

use ndarray::{ArrayD, ArrayViewD};

use super::cases::{Case, Data};
use super::check::Way;
use super::own_buffers;
use crate::array::{Inputs, Outputs};
use crate::error::{Error, SpecError};
use crate::gpu::Gpu;
use crate::norm::Norm;
use crate::reference::{self, Backward, Forward};
use crate::sample::{Kind, Numbers, Parameters, TAKE, wide};

/// How many batches the running statistics have seen before.
const BATCHES: u32 = 7;

/// A case with its data, and what float64 says.
pub(super) struct Given {
    case: &'static Case,
    pub(super) data: Data,
    pub(super) norm: Box<dyn Norm>,
    pub(super) x: ArrayD<f32>,
    pub(super) parameters: Parameters,
    want: Want,
}

enum Want {
    Norm(Box<Forward>),
    /// For this gradient of `y`.
    Gradients(ArrayD<f32>, Box<Backward>),
}

impl Given {
    pub(super) fn new(case: &'static Case, data: Data) -> Result<Self, SpecError> {
        let norm = case.norm(data)?;
        let mut numbers = Numbers::of(case.shape);
        let (mean, deviation) = match (data, data.scale()) {
            (Data::FarMean, _) => (1e6, 1.0),
            (Data::Constant, _) => (1e6, 0.0),
            (_, Some(scale)) => (scale, scale),
            _ => (0.0, 1.0),
        };
        let mut x = numbers.normal(case.shape, mean, deviation);
        if data.scale().is_some() {
            // An adapter may take what is no normal number for 0.
            x.map_inplace(|v| *v = if v.is_normal() { *v } else { 0.0 });
        }
        let (place, value) = match data {
            Data::Outlier => (0, Some(1e6)),
            Data::Nan => (x.len() / 2, Some(f32::NAN)),
            Data::Infinity => (x.len() / 2, Some(f32::INFINITY)),
            _ => (0, None),
        };
        if let (Some(element), Some(value)) = (x.iter_mut().nth(place), value) {
            *element = value;
        }
        let parameters = case.kind.parameters(&norm.parameter_shape(), mean, &mut numbers);
        // A mean of its own, so that sums of it do not vanish.
        let dy = case.backward.then(|| numbers.normal(case.shape, 0.3, 1.0));
        let gradients = dy.and_then(|dy| {
            let want = case.kind.gradients(&x, &dy, &parameters, data.eps())?;
            Some(Want::Gradients(dy, Box::new(want)))
        });
        let want = gradients.unwrap_or_else(|| Want::Norm(Box::new(case.kind.oracle(&x, &parameters, data.eps()))));
        Ok(Self { case, data, norm, x, parameters, want })
    }

    /// The largest relative error of all that is computed; infinite where something is NaN that should not be.
    pub(super) async fn error(&self, gpu: &Gpu, way: Way) -> Result<f64, Error> {
        let norm = self.norm.as_ref();
        match (&self.want, way) {
            (Want::Norm(want), Way::OutOfPlace) => {
                let y = own_buffers::y(gpu, self).await?;
                Ok(error_of_values(y, &want.y, &want.scale))
            }
            (Want::Norm(want), _) => {
                let out = gpu.run_array(norm, self.inputs(want)).await?;
                Ok(self.error_of_norm(want, &out))
            }
            (Want::Gradients(dy, want), Way::OverDy) => {
                let got = own_buffers::gradients(gpu, self.case.wanted(way), self, dy).await?;
                let errors = of_gradients(want).into_iter().zip(got);
                Ok(errors.map(|((want, scale), got)| error_of_values(got, want, scale)).fold(0.0, f64::max))
            }
            (Want::Gradients(dy, want), _) => {
                let inputs = self.backward_inputs(dy);
                let got = gpu.run_backward_array(norm, self.case.wanted(way), inputs).await?;
                let errors = of_gradients(want).into_iter().zip([got.input, got.weight, got.bias]);
                // One that is not there is infinitely wrong.
                Ok(errors
                    .map(|((want, scale), got)| got.map_or(f64::INFINITY, |got| error(&got, want, scale)))
                    .fold(0.0, f64::max))
            }
        }
    }

    /// All that the norm takes and gives.
    fn inputs(&self, want: &Forward) -> Inputs<ArrayViewD<'_, f32>> {
        let Parameters { weight, bias, running_mean, running_var } = &self.parameters;
        let mut inputs = Inputs::new(self.x.view());
        if let (Some(weight), Some(bias)) = (weight, bias) {
            inputs = inputs.weight(weight.view()).bias(bias.view());
        }
        if let (Some(mean), Some(var)) = (running_mean, running_var) {
            inputs = inputs.running_mean(mean.view()).running_var(var.view());
        }
        if matches!(self.case.kind, Kind::BatchTrain { .. }) {
            inputs = inputs.num_batches_tracked(BATCHES);
        }
        if !self.is_eval() {
            inputs = inputs.with_rstd();
            if want.mean.is_some() {
                inputs = inputs.with_mean();
            }
        }
        inputs
    }

    fn backward_inputs<'a>(&'a self, dy: &'a ArrayD<f32>) -> Inputs<ArrayViewD<'a, f32>> {
        let Parameters { weight, running_mean, running_var, .. } = &self.parameters;
        let mut inputs = Inputs::new(self.x.view()).grad_output(dy.view());
        if let Some(weight) = weight {
            inputs = inputs.weight(weight.view());
        }
        if let (true, Some(mean), Some(var)) = (self.is_eval(), running_mean, running_var) {
            inputs = inputs.running_mean(mean.view()).running_var(var.view());
        }
        inputs
    }

    /// Whether the running statistics are what is normalized by.
    pub(super) fn is_eval(&self) -> bool {
        matches!(self.case.kind, Kind::BatchEval { .. })
    }

    fn error_of_norm(&self, want: &Forward, out: &Outputs<ArrayD<f32>>) -> f64 {
        let mut most = error(&out.y, &want.y, &want.scale);
        let mut hold = |got: &ArrayD<f32>, want: &ArrayD<f64>, scale: &ArrayD<f64>| {
            most = most.max(error(got, want, scale));
        };
        // A mean is as exact as the largest number it is of.
        let largest = self.x.iter().filter(|v| v.is_finite()).fold(0.0, |most: f32, v| most.max(v.abs()));
        let largest = f64::from(largest);
        if let (Some(got), Some(mean)) = (&out.mean, &want.mean) {
            hold(got, mean, &ArrayD::from_elem(mean.shape(), largest));
        }
        if let Some(got) = &out.rstd {
            hold(got, &want.rstd, &want.rstd);
        }
        if matches!(self.case.kind, Kind::BatchTrain { .. }) {
            let variance = want.variance.as_ref().map(|variance| {
                let count = self.x.len().checked_div(variance.len()).unwrap_or(0);
                reference::unbiased(variance.view(), count)
            });
            for (got, old, batch, least) in [
                (&out.running_mean, &self.parameters.running_mean, &want.mean, largest),
                (&out.running_var, &self.parameters.running_var, &variance, 0.0),
            ] {
                if let (Some(got), Some(old), Some(batch)) = (got, old, batch) {
                    let (old, take) = (wide(old), f64::from(TAKE));
                    let want = reference::update_running(old.view(), batch.view(), 1.0 - take, take);
                    let mut scale = old.mapv(|value| ((1.0 - take) * value).abs());
                    scale.zip_mut_with(batch, |scale, value| *scale = scale.max(take * value.abs().max(least)));
                    hold(got, &want, &scale);
                }
            }
            if out.num_batches_tracked != Some(BATCHES + 1) {
                return f64::INFINITY;
            }
        }
        most
    }
}

/// Of `x`, weight and bias, each with its scale.
fn of_gradients(want: &Backward) -> [(&ArrayD<f64>, &ArrayD<f64>); 3] {
    [(&want.dx, &want.dx_scale), (&want.dweight, &want.dweight_scale), (&want.dbias, &want.dbias_scale)]
}

/// As [`error`], of what a buffer held.
fn error_of_values(got: Vec<f32>, want: &ArrayD<f64>, scale: &ArrayD<f64>) -> f64 {
    ArrayD::from_shape_vec(want.raw_dim(), got).map_or(f64::INFINITY, |got| error(&got, want, scale))
}

fn error(got: &ArrayD<f32>, want: &ArrayD<f64>, scale: &ArrayD<f64>) -> f64 {
    // The oracle insists on equal shapes.
    if got.shape() != want.shape() || scale.shape() != want.shape() {
        return f64::INFINITY;
    }
    reference::largest_error(got.view(), want.view(), scale.view()).map_or(0.0, |worst| worst.relative)
}
