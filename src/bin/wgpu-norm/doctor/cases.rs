//! What is computed: every norm, in every layout, on data that wrong arithmetic cannot get right.

use ndarray::{ArrayD, ArrayViewD};
use wgpu_norm::reference::{self, Forward};
use wgpu_norm::{Inputs, Norm, Outputs, SpecError};

use crate::kind::{Kind, Parameters, TAKE, wide};
use crate::numbers::Numbers;

/// A norm of one shape.
#[derive(Debug)]
pub(crate) struct Case {
    /// The norm's name, as `wgpu-norm apply` takes it, and more where that is not all.
    pub(crate) norm: &'static str,
    pub(crate) layout: &'static str,
    kind: Kind,
    pub(crate) shape: &'static [usize],
}

const fn case(norm: &'static str, layout: &'static str, kind: Kind, shape: &'static [usize]) -> Case {
    Case { norm, layout, kind, shape }
}

const FIRST: &str = "channels first";
const MIDDLE: &str = "channels between";
const LAST: &str = "channels last";
const ROWS: &str = "rows";
const COLUMNS: &str = "columns";

/// Widths are multiples of four and not; rows from those that one lane takes alone to those that no workgroup holds; most
/// tensors do not fit the windows of [`WINDOW_BYTES`](super::WINDOW_BYTES).
pub(crate) static CASES: [Case; 36] = [
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[700, 31]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[300, 64]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[300, 200]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[33, 768]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[19, 1001]),
    case("layer", ROWS, Kind::Layer { ndim: 2 }, &[9, 64, 64]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[3, 16_384]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[2, 40_000]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[2, 33_333]),
    case("rms", ROWS, Kind::Rms { weight_offset: 0.0 }, &[33, 768]),
    case("rms", ROWS, Kind::Rms { weight_offset: 1.0 }, &[19, 1001]),
    case("rms", ROWS, Kind::Rms { weight_offset: 0.0 }, &[2, 33_333]),
    case("group", FIRST, Kind::Group { groups: 8, axis: 1 }, &[4, 32, 15, 15]),
    case("group", FIRST, Kind::Group { groups: 2, axis: 1 }, &[1, 4, 132, 130]),
    case("group", MIDDLE, Kind::Group { groups: 8, axis: 2 }, &[4, 15, 32, 15]),
    case("group", LAST, Kind::Group { groups: 8, axis: 3 }, &[4, 16, 16, 32]),
    case("group", LAST, Kind::Group { groups: 3, axis: 3 }, &[3, 17, 17, 21]),
    case("instance", FIRST, Kind::Instance { axis: 1 }, &[4, 12, 20, 20]),
    case("instance", MIDDLE, Kind::Instance { axis: 2 }, &[4, 20, 12, 20]),
    case("instance", LAST, Kind::Instance { axis: 3 }, &[4, 20, 20, 12]),
    case("instance", LAST, Kind::Instance { axis: 3 }, &[2, 61, 61, 3]),
    case("batch, training", FIRST, Kind::BatchTrain { axis: 1 }, &[8, 12, 14, 14]),
    case("batch, training", FIRST, Kind::BatchTrain { axis: 1 }, &[9, 3, 27, 27]),
    case("batch, training", MIDDLE, Kind::BatchTrain { axis: 2 }, &[8, 14, 12, 14]),
    case("batch, training", LAST, Kind::BatchTrain { axis: 3 }, &[8, 14, 14, 12]),
    case("batch, training", LAST, Kind::BatchTrain { axis: 1 }, &[6001, 3]),
    case("batch, eval", FIRST, Kind::BatchEval { axis: 1 }, &[9, 3, 27, 27]),
    case("batch, eval", MIDDLE, Kind::BatchEval { axis: 2 }, &[8, 14, 12, 14]),
    case("batch, eval", LAST, Kind::BatchEval { axis: 3 }, &[8, 14, 14, 12]),
    case("mvn", FIRST, Kind::Mvn { axes: &[0, 2, 3] }, &[8, 12, 14, 14]),
    case("mvn", ROWS, Kind::Mvn { axes: &[2, 3] }, &[9, 3, 27, 27]),
    case("lp, p = 1", ROWS, Kind::Lp { p: 1, axes: &[1] }, &[19, 1001]),
    case("lp, p = 2", ROWS, Kind::Lp { p: 2, axes: &[1] }, &[33, 768]),
    case("lp, p = 2", COLUMNS, Kind::Lp { p: 2, axes: &[0] }, &[2000, 12]),
    case("lp, p = 2", COLUMNS, Kind::Lp { p: 2, axes: &[1] }, &[4, 3, 40, 41]),
    case("mvn", COLUMNS, Kind::Mvn { axes: &[1] }, &[4, 8, 40, 40]),
];

/// What the elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// Standard deviation 1 around 0.
    Zero,
    /// Standard deviation 1 around 1e6, where a mean kept as one float32 is off by 0.03.
    FarMean,
    /// As around 0, but the first element is 1e6.
    Outlier,
    /// All the same.
    Constant,
    /// As around 0, with one NaN.
    Nan,
    /// As around 0, with one infinity.
    Infinity,
}

impl Data {
    pub(crate) const ALL: [Self; 6] =
        [Self::Zero, Self::FarMean, Self::Outlier, Self::Constant, Self::Nan, Self::Infinity];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zero => "mean 0",
            Self::FarMean => "mean 1e6",
            Self::Outlier => "outlier first",
            Self::Constant => "constant",
            Self::Nan => "NaN in a group",
            Self::Infinity => "infinity in a group",
        }
    }

    pub(crate) fn is_finite(self) -> bool {
        !matches!(self, Self::Nan | Self::Infinity)
    }
}

/// How many batches the running statistics have seen before.
const BATCHES: u32 = 7;

/// A case with its data, and what float64 says.
pub(crate) struct Given {
    kind: Kind,
    pub(crate) data: Data,
    pub(crate) x: ArrayD<f32>,
    pub(crate) parameters: Parameters,
    want: Forward,
}

impl Case {
    /// `layer, rows, 33x768`.
    pub(crate) fn name(&self) -> String {
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        format!("{}, {}, {}", self.norm, self.layout, shape.join("x"))
    }

    pub(crate) fn norm(&self) -> Result<Box<dyn Norm>, SpecError> {
        self.kind.norm(self.shape)
    }

    /// The case with data. `parameters` is the shape of weight and bias.
    pub(crate) fn given(&self, parameters: &[usize], data: Data) -> Given {
        let mut numbers = Numbers::of(self.shape);
        let mean = match data {
            Data::FarMean | Data::Constant => 1e6,
            _ => 0.0,
        };
        let mut x = numbers.normal(self.shape, mean, if data == Data::Constant { 0.0 } else { 1.0 });
        let (place, value) = match data {
            Data::Outlier => (0, Some(1e6)),
            Data::Nan => (x.len() / 2, Some(f32::NAN)),
            Data::Infinity => (x.len() / 2, Some(f32::INFINITY)),
            _ => (0, None),
        };
        if let (Some(element), Some(value)) = (x.iter_mut().nth(place), value) {
            *element = value;
        }
        let parameters = self.kind.parameters(parameters, mean, &mut numbers);
        let want = self.kind.oracle(&x, &parameters);
        Given { kind: self.kind, data, x, parameters, want }
    }
}

impl Given {
    /// All that the norm takes and gives.
    pub(crate) fn inputs(&self) -> Inputs<ArrayViewD<'_, f32>> {
        let Parameters { weight, bias, running_mean, running_var } = &self.parameters;
        let mut inputs = Inputs::new(self.x.view());
        if let (Some(weight), Some(bias)) = (weight, bias) {
            inputs = inputs.weight(weight.view()).bias(bias.view());
        }
        if let (Some(mean), Some(var)) = (running_mean, running_var) {
            inputs = inputs.running_mean(mean.view()).running_var(var.view());
        }
        if matches!(self.kind, Kind::BatchTrain { .. }) {
            inputs = inputs.num_batches_tracked(BATCHES);
        }
        if !matches!(self.kind, Kind::BatchEval { .. }) {
            inputs = inputs.with_rstd();
            if self.want.mean.is_some() {
                inputs = inputs.with_mean();
            }
        }
        inputs
    }

    /// The largest relative error of all outputs; infinite where something is NaN that should not be.
    pub(crate) fn error(&self, out: &Outputs<ArrayD<f32>>) -> f64 {
        let want = &self.want;
        let mut most = self.error_of_y(&out.y);
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
        if matches!(self.kind, Kind::BatchTrain { .. }) {
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

    pub(crate) fn error_of_y(&self, y: &ArrayD<f32>) -> f64 {
        error(y, &self.want.y, &self.want.scale)
    }
}

fn error(got: &ArrayD<f32>, want: &ArrayD<f64>, scale: &ArrayD<f64>) -> f64 {
    // The oracle insists on equal shapes.
    if got.shape() != want.shape() || scale.shape() != want.shape() {
        return f64::INFINITY;
    }
    reference::largest_error(got.view(), want.view(), scale.view()).map_or(0.0, |worst| worst.relative)
}
