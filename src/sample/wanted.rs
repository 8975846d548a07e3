//! What a norm should give, by the names of its results.

use ndarray::{ArrayD, Zip};

use super::{Exact, Kind, Running};
use crate::reference::{self, Backward, Bounded, Deviation, Forward};
use crate::tensors::Role;
use crate::{Element, Gradients, Outputs, VarianceEstimator};

/// One result in float64, and what its errors are measured by.
pub struct Wanted {
    pub output: &'static str,
    pub value: ArrayD<f64>,
    pub scale: ArrayD<f64>,
    /// What it is stored as.
    pub element: Element,
    /// What an earlier rounding may have changed.
    slack: Option<ArrayD<f64>>,
}

impl Wanted {
    /// Of an output where `x` is stored as this.
    pub fn new(output: &'static str, value: ArrayD<f64>, scale: ArrayD<f64>, x: Element) -> Self {
        Self { output, value, scale, element: stored(output, x), slack: None }
    }

    /// Whether an earlier rounding is allowed for.
    pub fn is_rounded_before(&self) -> bool {
        self.slack.is_some()
    }

    /// The largest error of what there is instead, beyond the rounding of what it is stored as; none if there is nothing in it.
    pub fn worst(&self, got: &ArrayD<f32>) -> Option<Deviation> {
        let Some(slack) = &self.slack else {
            return reference::largest_error_of(self.element, got.view(), self.value.view(), self.scale.view());
        };
        let mut nearer = got.clone();
        Zip::from(&mut nearer).and(&self.value).and(slack).for_each(|got, &value, &slack| {
            *got -= (f64::from(*got) - value).clamp(-slack, slack) as f32;
        });
        let worst = reference::largest_error_of(self.element, nearer.view(), self.value.view(), self.scale.view())?;
        let got = f64::from(got[&worst.index[..]]);
        Some(Deviation { got, ..worst })
    }
}

/// What the tensor of this name is stored as, where `x`, the input, is stored as this: as `x` if it is of the same size, else as f32.
pub fn stored(tensor: &str, x: Element) -> Element {
    let large = tensor == "input" || Role::given().any(|role| role.name() == tensor && role.is_large());
    if large { x } else { Element::F32 }
}

impl Kind {
    /// All that the norm gives, and with `running` the updated running statistics.
    pub fn outputs(self, exact: &Exact, running: Option<Running>) -> Vec<Wanted> {
        let Forward { y, mean, variance, rstd, scale } = self.oracle(exact);
        // A mean's error goes by the values it is the mean of, which may cancel; a variance's terms do not.
        let largest = exact.x.iter().map(|value| value.abs()).filter(|value| value.is_finite()).fold(0.0, f64::max);
        let new = |output, value, scale| Wanted::new(output, value, scale, exact.element);
        let mut wanted = vec![new("y", y, scale), new("rstd", rstd.clone(), rstd)];
        if let Some(mean) = &mean {
            let scale = ArrayD::from_elem(mean.raw_dim(), largest);
            wanted.insert(1, new("mean", mean.clone(), scale));
        }
        // An empty batch leaves the running statistics as they are.
        let Some(Running { take, variance: estimator }) = running.filter(|_| !exact.x.is_empty()) else {
            return wanted;
        };
        let variance = variance.map(|variance| match estimator {
            VarianceEstimator::Biased => variance,
            VarianceEstimator::Unbiased => reference::unbiased(variance.view(), exact.x.len() / variance.len()),
        });
        let (old, take) = (&exact.parameters, f64::from(take));
        for (output, old, batch, terms) in
            [("running_mean", &old.running_mean, mean, largest), ("running_var", &old.running_var, variance, 0.0)]
        {
            if let (Some(old), Some(batch)) = (old, batch) {
                let value = reference::update_running(old.view(), batch.view(), 1.0 - take, take);
                let mut scale = old.mapv(|value| ((1.0 - take) * value).abs());
                scale.zip_mut_with(&batch, |scale, value| *scale = scale.max(take * value.abs().max(terms)));
                wanted.push(new(output, value, scale));
            }
        }
        wanted
    }

    /// [`Kind::outputs`] of a norm over the last axes whose normalized values are rounded before their weight.
    pub fn outputs_rounded_before_weight(self, exact: &Exact) -> Vec<Wanted> {
        let Forward { mean, rstd, .. } = self.oracle(exact);
        let centred = mean.map_or_else(|| exact.x.clone(), |mean| &exact.x - &mean);
        let mut slack = (centred * rstd).mapv(|xhat| exact.element.rounding(xhat));
        let offset = if let Self::Rms { offset, .. } | Self::RmsOver { offset, .. } = self { offset } else { 0.0 };
        if let Some(weight) = &exact.parameters.weight {
            slack *= &weight.mapv(|weight| (weight + f64::from(offset)).abs());
        }
        if let Some(scale) = &exact.parameters.scale {
            slack *= &scale.mapv(|scale| (exact.offset + scale).abs());
        }
        slack *= exact.activation.map_or(1.0, reference::largest_slope);
        let mut wanted = self.outputs(exact, None);
        for y in wanted.iter_mut().filter(|wanted| wanted.output == "y") {
            let mut slack = slack.clone();
            // Numbers beyond the next power of two, where that may have led, lie further apart.
            let rounding = |value: f64| exact.element.rounding(value);
            slack.zip_mut_with(&y.value, |slack, y| *slack += rounding(y.abs() + *slack) - rounding(*y));
            y.slack = Some(slack);
        }
        wanted
    }

    /// All its gradients for this gradient of `y`; nothing if it has none.
    pub fn gradients_wanted(self, exact: &Exact, dy: &ArrayD<f64>) -> Vec<Wanted> {
        let Some(gradients) = self.gradients(exact, dy) else { return Vec::new() };
        let Backward { dx, dweight, dbias, dx_scale, dweight_scale, dbias_scale, dscale, dshift, dadded } = gradients;
        let new = |output, value, scale| Wanted::new(output, value, scale, exact.element);
        let mut wanted = vec![new("grad_input", dx, dx_scale)];
        if self.is_affine() {
            wanted.push(new("grad_weight", dweight, dweight_scale));
            wanted.push(new("grad_bias", dbias, dbias_scale));
        }
        let dskip = dadded.filter(|_| exact.parameters.skip.is_some());
        let following = [("grad_scale", dscale), ("grad_shift", dshift), ("grad_skip", dskip)];
        let there = following.into_iter().filter_map(|(output, gradient)| Some((output, gradient?)));
        wanted.extend(there.map(|(output, Bounded { value, scale })| new(output, value, scale)));
        wanted
    }
}

/// The output of this name.
pub fn output<'a>(outputs: &'a Outputs<ArrayD<f32>>, name: &str) -> Option<&'a ArrayD<f32>> {
    match name {
        "y" => Some(&outputs.y),
        "mean" => outputs.mean.as_ref(),
        "rstd" => outputs.rstd.as_ref(),
        "running_mean" => outputs.running_mean.as_ref(),
        "running_var" => outputs.running_var.as_ref(),
        "residual_out" => outputs.residual_out.as_ref(),
        _ => None,
    }
}

/// The gradient of this name.
pub fn gradient<'a>(gradients: &'a Gradients<ArrayD<f32>>, name: &str) -> Option<&'a ArrayD<f32>> {
    match name {
        "grad_input" => gradients.input.as_ref(),
        "grad_weight" => gradients.weight.as_ref(),
        "grad_bias" => gradients.bias.as_ref(),
        "grad_scale" => gradients.scale.as_ref(),
        "grad_shift" => gradients.shift.as_ref(),
        "grad_skip" => gradients.skip.as_ref(),
        "grad_gate" => gradients.gate.as_ref(),
        "grad_embedding" => gradients.embedding.as_ref(),
        "grad_branch" => gradients.branch.as_ref(),
        _ => None,
    }
}
