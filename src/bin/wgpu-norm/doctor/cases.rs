//! What is computed: every norm, in every layout, on data that wrong arithmetic cannot get right.

use ndarray::{ArrayD, ArrayViewD, IxDyn};
use wgpu_norm::reference::{self, Forward};
use wgpu_norm::{
    BatchNorm, GroupNorm, Inputs, InstanceNorm, LayerNorm, LpNorm, MeanVarianceNorm, Momentum, Norm, Outputs, RmsNorm,
    SpecError, VarianceEstimator,
};

/// A norm, by the arguments that the library and the oracle both take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Layer { ndim: usize },
    Rms { weight_offset: f32 },
    Group { groups: usize, axis: usize },
    Instance { axis: usize },
    BatchTrain { axis: usize },
    BatchEval { axis: usize },
    Mvn { axes: &'static [usize] },
    Lp { p: u32, axes: &'static [usize] },
}

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
pub(crate) static CASES: [Case; 33] = [
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[700, 31]),
    case("layer", ROWS, Kind::Layer { ndim: 1 }, &[300, 64]),
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

const EPS: f32 = 1e-5;
const TAKE: f32 = 0.1;
/// How many batches the running statistics have seen before.
const BATCHES: u32 = 7;

/// A case with its data, and what float64 says.
pub(crate) struct Given {
    kind: Kind,
    pub(crate) data: Data,
    pub(crate) x: ArrayD<f32>,
    pub(crate) weight: Option<ArrayD<f32>>,
    pub(crate) bias: Option<ArrayD<f32>>,
    pub(crate) running_mean: Option<ArrayD<f32>>,
    pub(crate) running_var: Option<ArrayD<f32>>,
    want: Forward,
}

impl Case {
    /// `layer, rows, 33x768`.
    pub(crate) fn name(&self) -> String {
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        format!("{}, {}, {}", self.norm, self.layout, shape.join("x"))
    }

    pub(crate) fn norm(&self) -> Result<Box<dyn Norm>, SpecError> {
        let shape = self.shape;
        let signed = |axes: &[usize]| axes.iter().map(|&axis| axis as isize).collect::<Vec<_>>();
        Ok(match self.kind {
            Kind::Layer { ndim } => {
                let (_, normalized) = shape.split_at(shape.len().saturating_sub(ndim));
                Box::new(LayerNorm::new(shape, normalized)?.eps(EPS))
            }
            Kind::Rms { weight_offset } => {
                let (_, normalized) = shape.split_at(shape.len().saturating_sub(1));
                Box::new(RmsNorm::new(shape, normalized)?.eps(EPS).weight_offset(weight_offset))
            }
            Kind::Group { groups, axis } => Box::new(GroupNorm::new(shape, groups, axis as isize)?.eps(EPS)),
            Kind::Instance { axis } => Box::new(InstanceNorm::new(shape, axis as isize)?.eps(EPS)),
            Kind::BatchTrain { axis } => Box::new(
                BatchNorm::new(shape, axis as isize)?
                    .eps(EPS)
                    .momentum(Momentum::exponential(TAKE))
                    .running_variance(VarianceEstimator::Unbiased),
            ),
            Kind::BatchEval { axis } => Box::new(BatchNorm::new(shape, axis as isize)?.eps(EPS).eval()),
            Kind::Mvn { axes } => Box::new(MeanVarianceNorm::new(shape, &signed(axes))?.eps(EPS)),
            Kind::Lp { p: 1, axes } => Box::new(LpNorm::l1(shape, &signed(axes))?.eps(EPS)),
            Kind::Lp { axes, .. } => Box::new(LpNorm::l2(shape, &signed(axes))?.eps(EPS)),
        })
    }

    /// The case with data. `parameters` is the shape of weight and bias.
    pub(crate) fn given(&self, parameters: &[usize], data: Data) -> Given {
        let mut numbers = Numbers(self.shape.iter().fold(1, |seed, &length| seed * 31 + length as u64));
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
        let affine = !matches!(self.kind, Kind::Mvn { .. } | Kind::Lp { .. });
        let running = matches!(self.kind, Kind::BatchTrain { .. } | Kind::BatchEval { .. });
        let weight = affine.then(|| numbers.normal(parameters, 1.0, 0.3));
        let bias = affine.then(|| numbers.normal(parameters, 0.0, 0.5));
        let running_mean = running.then(|| numbers.normal(parameters, mean, 0.2));
        let running_var = running.then(|| numbers.normal(parameters, 0.0, 1.0).mapv(|v| v * v + 0.1));
        let want = self.oracle(&x, [&weight, &bias, &running_mean, &running_var]);
        Given { kind: self.kind, data, x, weight, bias, running_mean, running_var, want }
    }

    fn oracle(&self, x: &ArrayD<f32>, parameters: [&Option<ArrayD<f32>>; 4]) -> Forward {
        let x = wide(x);
        let [weight, bias, mean, var] = parameters.map(|array| array.as_ref().map(wide));
        let (x, eps) = (x.view(), f64::from(EPS));
        let (w, b) = (weight.as_ref().map(|w| w.view()), bias.as_ref().map(|b| b.view()));
        match self.kind {
            Kind::Layer { ndim } => reference::layer_norm(x, ndim, w, b, eps),
            Kind::Rms { weight_offset } => reference::rms_norm(x, 1, w, b, eps, f64::from(weight_offset)),
            Kind::Group { groups, axis } => reference::group_norm(x, axis, groups, w, b, eps),
            Kind::Instance { axis } => reference::instance_norm(x, axis, w, b, eps),
            Kind::BatchTrain { axis } | Kind::BatchEval { axis } => match (self.kind, &mean, &var) {
                (Kind::BatchEval { .. }, Some(mean), Some(var)) => {
                    reference::batch_norm_eval(x, axis, mean.view(), var.view(), w, b, eps)
                }
                _ => reference::batch_norm_train(x, axis, w, b, eps),
            },
            Kind::Mvn { axes } => reference::mean_variance_norm(x, axes, eps),
            Kind::Lp { p, axes } => reference::lp_norm(x, axes, p, eps),
        }
    }
}

impl Given {
    /// All that the norm takes and gives.
    pub(crate) fn inputs(&self) -> Inputs<ArrayViewD<'_, f32>> {
        let mut inputs = Inputs::new(self.x.view());
        if let (Some(weight), Some(bias)) = (&self.weight, &self.bias) {
            inputs = inputs.weight(weight.view()).bias(bias.view());
        }
        if let (Some(mean), Some(var)) = (&self.running_mean, &self.running_var) {
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
                (&out.running_mean, &self.running_mean, &want.mean, largest),
                (&out.running_var, &self.running_var, &variance, 0.0),
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

fn wide(values: &ArrayD<f32>) -> ArrayD<f64> {
    values.mapv(f64::from)
}

fn error(got: &ArrayD<f32>, want: &ArrayD<f64>, scale: &ArrayD<f64>) -> f64 {
    // The oracle insists on equal shapes.
    if got.shape() != want.shape() || scale.shape() != want.shape() {
        return f64::INFINITY;
    }
    reference::largest_error(got.view(), want.view(), scale.view()).map_or(0.0, |worst| worst.relative)
}

/// Numbers that are the same on every run.
struct Numbers(u64);

impl Numbers {
    /// Near enough to normal: the sum of four uniforms.
    fn normal(&mut self, shape: &[usize], mean: f32, std: f32) -> ArrayD<f32> {
        ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            let sum: f64 = (0..4).map(|_| self.uniform() - 0.5).sum();
            (f64::from(mean) + f64::from(std) * sum * 3f64.sqrt()) as f32
        })
    }

    /// In 0 to 1 (splitmix64).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
