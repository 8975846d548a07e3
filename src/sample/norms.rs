//! The table of norms: each has one entry, which says how the library and the oracle are called for it, and what else the
//! doctor, the command, the bench and the tests know of it.

use ndarray::{ArrayD, ArrayViewD};

use super::{Exact, Parameters, Running, Views};
use crate::norm::{
    BatchNorm, DEFAULT_EPS, GroupNorm, InstanceNorm, LayerNorm, LpNorm, MeanVarianceNorm, Norm, RmsNorm,
};
use crate::problem::{Momentum, Rounding};
use crate::reference::{self, Backward, Forward};
use crate::{Element, SpecError};

/// A norm by the arguments that the library and the oracle both take. Axes count from the last where they are negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Layer {
        ndim: usize,
    },
    Rms {
        ndim: usize,
        offset: f32,
    },
    /// Over any axes.
    LayerOver {
        axes: &'static [isize],
    },
    RmsOver {
        axes: &'static [isize],
        offset: f32,
    },
    Group {
        groups: usize,
        axis: isize,
    },
    Instance {
        axis: isize,
    },
    BatchTrain {
        axis: isize,
    },
    BatchEval {
        axis: isize,
    },
    Mvn {
        axes: &'static [isize],
    },
    Lp {
        p: u32,
        axes: &'static [isize],
    },
}

/// Arguments by name; each norm takes those that it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arguments {
    /// How many of the last axes are normalized.
    pub ndim: Option<usize>,
    pub offset: Option<f32>,
    pub groups: Option<usize>,
    pub axis: Option<isize>,
    pub axes: Option<&'static [isize]>,
    pub p: Option<u32>,
    pub train: bool,
}

/// Of a shape and `eps`.
type Specify = dyn Fn(&[usize], f32, Option<Running>) -> Result<Box<dyn Norm>, SpecError>;
/// With the gradient of `y`.
type GoBack = dyn Fn(Views<'_>, ArrayViewD<'_, f64>) -> Backward;

/// What there is to know of a norm.
pub struct Entry {
    /// Its word in the command, and more after a comma where that is not all.
    pub label: &'static str,
    /// Its name in tables, with the arguments that tell it from others.
    pub title: String,
    /// What it is, in the command's help.
    pub help: &'static str,
    /// The options of the command that not all norms have, with spaces between.
    pub options: &'static [&'static str],
    /// The library's default.
    pub eps: f32,
    pub groups: Groups,
    with: Box<dyn Fn(&Arguments) -> Kind>,
    norm: Box<Specify>,
    forward: Box<dyn Fn(Views<'_>) -> Forward>,
    backward: Option<Box<GoBack>>,
}

const AFFINE: &str = "--weight --bias";
const MEAN: &str = "--save-mean";
const RUNNING: &str = "--train --running-mean --running-var --momentum --running-var-estimator --save-running-mean \
                       --save-running-var";

impl Kind {
    /// Each norm with its default arguments, in the order of the command's help.
    pub const ALL: [Self; 7] = [
        Self::Layer { ndim: 1 },
        Self::Rms { ndim: 1, offset: 0.0 },
        Self::Group { groups: GroupNorm::DEFAULT_NUM_GROUPS, axis: -1 },
        Self::Instance { axis: -1 },
        Self::BatchEval { axis: -1 },
        Self::Mvn { axes: &[0, 2, 3] },
        Self::Lp { p: 2, axes: &[-1] },
    ];

    pub fn entry(self) -> Entry {
        match self {
            Self::Layer { ndim } => Entry {
                label: "layer",
                title: "LayerNorm".to_owned(),
                help: "Mean and variance over the last axes, of each sample",
                options: &[AFFINE, MEAN, "--normalized-shape --axes --rounding"],
                eps: DEFAULT_EPS,
                groups: Groups::last(ndim),
                with: Box::new(move |a| match a.axes {
                    Some(axes) => Self::LayerOver { axes },
                    None => Self::Layer { ndim: a.ndim.unwrap_or(ndim) },
                }),
                norm: Box::new(move |shape, eps, _| Ok(Box::new(LayerNorm::new(shape, last(shape, ndim))?.eps(eps)))),
                forward: Box::new(move |e| reference::layer_norm(e.x, ndim, e.weight, e.bias, e.eps)),
                backward: Some(Box::new(move |e, dy| reference::layer_norm_backward(e.x, dy, ndim, e.weight, e.eps))),
            },
            Self::LayerOver { axes } => Entry {
                title: format!("LayerNorm({})", listed(axes)),
                groups: Groups::Along(axes.to_vec()),
                with: Box::new(move |a| Self::LayerOver { axes: a.axes.unwrap_or(axes) }),
                norm: Box::new(move |shape, eps, _| Ok(Box::new(LayerNorm::over_axes(shape, axes)?.eps(eps)))),
                forward: Box::new(move |e| {
                    reference::layer_norm_over_axes(e.x, &fronts(axes, e.rank), e.weight, e.bias, e.eps)
                }),
                backward: Some(Box::new(move |e, dy| {
                    reference::layer_norm_over_axes_backward(e.x, dy, &fronts(axes, e.rank), e.weight, e.eps)
                })),
                ..Self::Layer { ndim: 1 }.entry()
            },
            Self::RmsOver { axes, offset } => Entry {
                title: format!("RmsNorm({})", listed(axes)),
                groups: Groups::Along(axes.to_vec()),
                with: Box::new(move |a| Self::RmsOver {
                    axes: a.axes.unwrap_or(axes),
                    offset: a.offset.unwrap_or(offset),
                }),
                norm: Box::new(move |shape, eps, _| {
                    Ok(Box::new(RmsNorm::over_axes(shape, axes)?.eps(eps).weight_offset(offset)))
                }),
                forward: Box::new(move |e| {
                    let offset = f64::from(offset);
                    reference::rms_norm_over_axes(e.x, &fronts(axes, e.rank), e.weight, e.bias, e.eps, offset)
                }),
                backward: Some(Box::new(move |e, dy| {
                    let offset = f64::from(offset);
                    reference::rms_norm_over_axes_backward(e.x, dy, &fronts(axes, e.rank), e.weight, e.eps, offset)
                })),
                ..Self::Rms { ndim: 1, offset }.entry()
            },
            Self::Rms { ndim, offset } => Entry {
                label: "rms",
                title: "RmsNorm".to_owned(),
                help: "Root mean square over the last axes, of each sample",
                options: &[AFFINE, "--normalized-shape --axes --rounding --weight-offset"],
                eps: DEFAULT_EPS,
                groups: Groups::last(ndim),
                with: Box::new(move |a| {
                    let offset = a.offset.unwrap_or(offset);
                    match a.axes {
                        Some(axes) => Self::RmsOver { axes, offset },
                        None => Self::Rms { ndim: a.ndim.unwrap_or(ndim), offset },
                    }
                }),
                norm: Box::new(move |shape, eps, _| {
                    Ok(Box::new(RmsNorm::new(shape, last(shape, ndim))?.eps(eps).weight_offset(offset)))
                }),
                forward: Box::new(move |e| reference::rms_norm(e.x, ndim, e.weight, e.bias, e.eps, f64::from(offset))),
                backward: Some(Box::new(move |e, dy| {
                    reference::rms_norm_backward(e.x, dy, ndim, e.weight, e.eps, f64::from(offset))
                })),
            },
            Self::Group { groups, axis } => Entry {
                label: "group",
                title: format!("GroupNorm({groups})"),
                help: "Mean and variance over a group of channels and all positions, of each sample",
                options: &[AFFINE, MEAN, "--groups --channel-axis"],
                eps: DEFAULT_EPS,
                groups: Groups::OfSamples { groups: Some(groups), axis },
                with: Box::new(move |a| Self::Group {
                    groups: a.groups.unwrap_or(groups),
                    axis: a.axis.unwrap_or(axis),
                }),
                norm: Box::new(move |shape, eps, _| Ok(Box::new(GroupNorm::new(shape, groups, axis)?.eps(eps)))),
                forward: Box::new(move |e| {
                    reference::group_norm(e.x, front(axis, e.rank), groups, e.weight, e.bias, e.eps)
                }),
                backward: Some(Box::new(move |e, dy| {
                    reference::group_norm_backward(e.x, dy, front(axis, e.rank), groups, e.weight, e.eps)
                })),
            },
            Self::Instance { axis } => Entry {
                label: "instance",
                title: "InstanceNorm".to_owned(),
                help: "Mean and variance over all positions, of each channel of each sample",
                options: &[AFFINE, MEAN, "--channel-axis"],
                eps: DEFAULT_EPS,
                groups: Groups::OfSamples { groups: None, axis },
                with: Box::new(move |a| Self::Instance { axis: a.axis.unwrap_or(axis) }),
                norm: Box::new(move |shape, eps, _| Ok(Box::new(InstanceNorm::new(shape, axis)?.eps(eps)))),
                forward: Box::new(move |e| reference::instance_norm(e.x, front(axis, e.rank), e.weight, e.bias, e.eps)),
                backward: Some(Box::new(move |e, dy| {
                    reference::instance_norm_backward(e.x, dy, front(axis, e.rank), e.weight, e.eps)
                })),
            },
            Self::BatchTrain { axis } | Self::BatchEval { axis } => {
                let eval = self.is_eval();
                Entry {
                    label: if eval { "batch, eval" } else { "batch, training" },
                    title: format!("BatchNorm {}", if eval { "eval" } else { "train" }),
                    help: "Mean and variance over the batch and all positions, of each channel",
                    options: &[AFFINE, MEAN, RUNNING, "--channel-axis"],
                    eps: DEFAULT_EPS,
                    groups: Groups::Channels { axis },
                    with: Box::new(move |a| {
                        let axis = a.axis.unwrap_or(axis);
                        if a.train { Self::BatchTrain { axis } } else { Self::BatchEval { axis } }
                    }),
                    norm: Box::new(move |shape, eps, running| {
                        let norm = BatchNorm::new(shape, axis)?.eps(eps);
                        Ok(Box::new(match running {
                            _ if eval => norm.eval(),
                            None => norm.without_tracking(),
                            Some(Running { take, variance }) => {
                                norm.momentum(Momentum::exponential(take)).running_variance(variance)
                            }
                        }))
                    }),
                    forward: Box::new(move |e| match e.running.filter(|_| eval) {
                        Some([mean, var]) => {
                            reference::batch_norm_eval(e.x, front(axis, e.rank), mean, var, e.weight, e.bias, e.eps)
                        }
                        None => reference::batch_norm_train(e.x, front(axis, e.rank), e.weight, e.bias, e.eps),
                    }),
                    backward: Some(Box::new(move |e, dy| match e.running.filter(|_| eval) {
                        Some([mean, var]) => reference::batch_norm_eval_backward(
                            e.x,
                            dy,
                            front(axis, e.rank),
                            mean,
                            var,
                            e.weight,
                            e.eps,
                        ),
                        None => reference::batch_norm_train_backward(e.x, dy, front(axis, e.rank), e.weight, e.eps),
                    })),
                }
            }
            Self::Mvn { axes } => Entry {
                label: "mvn",
                title: format!("MeanVarianceNorm({})", listed(axes)),
                help: "Mean and standard deviation, to which --eps is added, over --axes [default: 0,2,3], without \
                       weight: ONNX's MeanVarianceNormalization [default --eps: 1e-9]",
                options: &[MEAN, "--axes"],
                eps: 1e-9,
                groups: Groups::Along(axes.to_vec()),
                with: Box::new(move |a| Self::Mvn { axes: a.axes.unwrap_or(axes) }),
                norm: Box::new(move |shape, eps, _| Ok(Box::new(MeanVarianceNorm::new(shape, axes)?.eps(eps)))),
                forward: Box::new(move |e| reference::mean_variance_norm(e.x, &fronts(axes, e.rank), e.eps)),
                backward: None,
            },
            Self::Lp { p, axes } => Entry {
                label: if p == 1 { "lp, p = 1" } else { "lp, p = 2" },
                title: format!("LpNorm({p})"),
                help: "L1 or L2 norm over --axes [default: -1]: each vector is divided by its length, or by --eps \
                       [default: 1e-12] where that is more",
                options: &["--axes --p"],
                eps: 1e-12,
                groups: Groups::Along(axes.to_vec()),
                with: Box::new(move |a| Self::Lp { p: a.p.unwrap_or(p), axes: a.axes.unwrap_or(axes) }),
                norm: Box::new(move |shape, eps, _| {
                    let norm = if p == 1 { LpNorm::l1 } else { LpNorm::l2 };
                    Ok(Box::new(norm(shape, axes)?.eps(eps)))
                }),
                forward: Box::new(move |e| reference::lp_norm(e.x, &fronts(axes, e.rank), p, e.eps)),
                backward: None,
            },
        }
    }

    /// With default arguments, by its word in the command.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// With those of the arguments that it has and that are given. Batch norm is in eval mode unless it is to train.
    pub fn with(self, arguments: &Arguments) -> Self {
        (self.entry().with)(arguments)
    }

    /// Its word in the command.
    pub fn word(self) -> &'static str {
        let label = self.entry().label;
        label.split_once(',').map_or(label, |(word, _)| word)
    }

    /// Whether an option of the command that not all norms have belongs to it.
    pub fn takes(self, option: &str) -> bool {
        self.entry().options.iter().any(|options| options.split(' ').any(|own| own == option))
    }

    /// Whether it has weight and bias.
    pub fn is_affine(self) -> bool {
        self.takes("--weight")
    }

    /// Whether the library computes its gradients.
    pub fn has_backward(self) -> bool {
        self.entry().backward.is_some()
    }

    /// Whether it normalizes by running statistics.
    pub fn is_eval(self) -> bool {
        matches!(self, Self::BatchEval { .. })
    }

    /// The specification, for `x` of this shape. Batch norm that trains updates running statistics if it is told how.
    pub fn norm(self, shape: &[usize], eps: f32, running: Option<Running>) -> Result<Box<dyn Norm>, SpecError> {
        (self.entry().norm)(shape, eps, running)
    }

    /// The same on tensors that are stored so, with results that are rounded so.
    pub fn stored_norm(
        self,
        shape: &[usize],
        eps: f32,
        running: Option<Running>,
        element: Element,
        rounding: Rounding,
    ) -> Result<impl Norm + use<>, SpecError> {
        Ok(self.norm(shape, eps, running)?.stored_as(element).rounded(rounding))
    }

    /// The norm in float64, with what follows it. The arrays must be such as the library takes.
    pub fn oracle(self, exact: &Exact) -> Forward {
        let out = self.before_activation(exact);
        match exact.activation {
            Some(activation) => reference::activated(out, activation),
            None => out,
        }
    }

    fn before_activation(self, exact: &Exact) -> Forward {
        let out = (self.entry().forward)(exact.views());
        let Parameters { scale, shift, skip, .. } = exact.parameters.map(|array| array.view());
        let modulates = exact.parameters.modulates();
        let out = if modulates { reference::modulated(out, scale, shift, exact.offset) } else { out };
        match skip {
            Some(skip) => reference::added(out, skip),
            None => out,
        }
    }

    /// Its gradients in float64 for this gradient of `y`, if it has some. The arrays must be such as the library takes.
    pub fn gradients(self, exact: &Exact, dy: &ArrayD<f64>) -> Option<Backward> {
        let Entry { forward, backward, .. } = self.entry();
        let backward = backward?;
        let Parameters { scale, shift, .. } = &exact.parameters;
        let back = |dy: ArrayViewD<'_, f64>| {
            let back = |dy: ArrayViewD<'_, f64>| backward(exact.views(), dy);
            let Some(of) = scale.as_ref().or(shift.as_ref()) else { return back(dy) };
            let (out, scale) = (forward(exact.views()), scale.as_ref().map(|scale| scale.view()));
            reference::modulated_backward(&out, dy, scale, exact.offset, of.shape(), back)
        };
        Some(match exact.activation {
            Some(activation) => {
                reference::activated_backward(&self.before_activation(exact), dy.view(), activation, back)
            }
            None => back(dy.view()),
        })
    }
}

/// Which elements share statistics, and where these lie.
pub enum Groups {
    /// Those along these axes, which the statistics have as 1.
    Along(Vec<isize>),
    /// Of each sample, which axis 0 counts unless it is `axis`, runs of channels: so many of them, or one a channel. The
    /// statistics are `(N, groups)`.
    OfSamples { groups: Option<usize>, axis: isize },
    /// All of a channel; the statistics are `(C)`.
    Channels { axis: isize },
}

impl Groups {
    fn last(ndim: usize) -> Self {
        Self::Along((1..=ndim).map(|axis| -(axis as isize)).collect())
    }

    /// The place among the statistics of the group that the element at `index` of `x` belongs to.
    pub fn of(&self, shape: &[usize], index: &[usize]) -> Vec<usize> {
        let front = |axis| front(axis, shape.len());
        match *self {
            Self::Along(ref axes) => {
                let mut place = index.to_vec();
                axes.iter().for_each(|&axis| place[front(axis)] = 0);
                place
            }
            Self::OfSamples { groups, axis } => {
                let axis = front(axis);
                let channels = groups.map_or(1, |groups| shape[axis] / groups);
                vec![if axis == 0 { 0 } else { index[0] }, index[axis] / channels]
            }
            Self::Channels { axis } => vec![index[front(axis)]],
        }
    }

    /// `rows` where whole axes at the end are normalized, else where the channels are: the one axis that is normalized over, if it lies between
    /// others, or the last axis that is kept.
    pub fn layout(&self, rank: usize) -> &'static str {
        let channels = match self {
            Self::Along(axes) => {
                let axes = fronts(axes, rank);
                let reduced = |axis: usize| axes.contains(&axis);
                let kept = (0..rank).rev().find(|&axis| !reduced(axis));
                let over = kept.filter(|&kept| (0..kept).any(reduced));
                match axes[..] {
                    [axis] if axis > 0 => over.map(|_| axis),
                    _ => over,
                }
            }
            Self::OfSamples { axis, .. } | Self::Channels { axis } => Some(front(*axis, rank)),
        };
        match channels {
            None => "rows",
            // Of two axes the second is both: positions are folded into the first.
            Some(axis) if axis + 1 == rank => "channels_last",
            Some(..=1) => "channels_first",
            Some(_) => "channels_between",
        }
    }
}

/// `0,2,3`
fn listed(axes: &[isize]) -> String {
    axes.iter().map(isize::to_string).collect::<Vec<_>>().join(",")
}

/// The lengths of so many of the last axes.
fn last(shape: &[usize], ndim: usize) -> &[usize] {
    shape.split_at(shape.len().saturating_sub(ndim)).1
}

/// An axis, counted from the first; the library has refused those that are not there.
fn front(axis: isize, rank: usize) -> usize {
    if axis < 0 { rank.saturating_add_signed(axis) } else { axis.unsigned_abs() }
}

fn fronts(axes: &[isize], rank: usize) -> Vec<usize> {
    axes.iter().map(|&axis| front(axis, rank)).collect()
}
