//! What a GPU computes of a prepared case, held against float64.

use ndarray::ArrayD;

use super::cases::Way;
use super::own_buffers;
use super::prepared::Prepared;
use crate::error::Error;
use crate::gpu::Gpu;
use crate::sample::{Wanted, gradient, output};

/// How many batches the running statistics have seen before.
const BATCHES: u32 = 7;

impl Prepared {
    /// The largest relative error of all that is computed; infinite where something is NaN that should not be.
    pub(super) async fn error(&self, gpu: &Gpu, way: Way) -> Result<f64, Error> {
        let Self { case, norm, x, parameters, dy, wanted, .. } = self;
        let worst = |errors: &mut dyn Iterator<Item = f64>| errors.fold(0.0, f64::max);
        let parameters = parameters.map(|array| array.view());
        Ok(match (dy, way) {
            (None, Way::OutOfPlace | Way::Strided) => {
                let y = own_buffers::y(gpu, self, way).await?;
                worst(&mut wanted.iter().take(1).map(|wanted| error_of_values(wanted, y.clone())))
            }
            (None, _) => {
                let mut inputs = parameters.beside(x.view());
                let counts = self.counts_batches();
                if counts {
                    inputs = inputs.num_batches_tracked(BATCHES);
                }
                if !case.kind.is_eval() {
                    inputs = inputs.with_rstd();
                    if wanted.iter().any(|wanted| wanted.output == "mean") {
                        inputs = inputs.with_mean();
                    }
                }
                let out = gpu.run_array(norm.as_ref(), inputs).await?;
                if counts && out.num_batches_tracked != Some(BATCHES + 1) {
                    return Ok(f64::INFINITY);
                }
                worst(&mut wanted.iter().filter_map(|wanted| Some(error(wanted, output(&out, wanted.output)?))))
            }
            (Some(dy), Way::OverDy | Way::Strided) => {
                let got = own_buffers::gradients(gpu, way, self, dy).await?;
                worst(&mut wanted.iter().zip(got).map(|(wanted, got)| error_of_values(wanted, got)))
            }
            (Some(dy), _) => {
                let inputs =
                    parameters.going_back(case.kind, case.following.activation).beside(x.view()).grad_output(dy.view());
                let got = gpu.run_backward_array(norm.as_ref(), case.wanted(way), inputs).await?;
                // One that is not there is infinitely wrong.
                let of =
                    |wanted: &Wanted| gradient(&got, wanted.output).map_or(f64::INFINITY, |got| error(wanted, got));
                worst(&mut wanted.iter().map(of))
            }
        })
    }

    /// Whether it updates running statistics.
    fn counts_batches(&self) -> bool {
        self.parameters.running_mean.is_some() && !self.case.kind.is_eval()
    }
}

/// As [`error`], of what a buffer held.
fn error_of_values(wanted: &Wanted, got: Vec<f32>) -> f64 {
    ArrayD::from_shape_vec(wanted.value.raw_dim(), got).map_or(f64::INFINITY, |got| error(wanted, &got))
}

fn error(wanted: &Wanted, got: &ArrayD<f32>) -> f64 {
    // The oracle insists on equal shapes.
    if got.shape() != wanted.value.shape() {
        return f64::INFINITY;
    }
    wanted.worst(got).map_or(0.0, |worst| worst.relative)
}
