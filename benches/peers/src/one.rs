//! One case by one peer: first whether it is right, then how long it takes.

use std::error::Error;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wgpu_norm::ndarray::ArrayD;
use wgpu_norm::sample::Wanted;

use crate::case::Case;
use crate::data::Tensors;
use crate::measure::{self, Timing};
use crate::peer::{Name, NotInstalled};

/// At mean 1 nobody needs to be farther off than this, as a part of the scale.
const WRONG: f64 = 1e-3;
const FAR: f32 = 1e6;

#[derive(Serialize, Deserialize)]
pub struct Report {
    /// The peer's version and what it ran on, if it came that far.
    pub about: Option<String>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    Timed {
        error: f64,
        error_at_mean_1e6: f64,
        seconds: f64,
        fastest: f64,
        calls_per_batch: u32,
    },
    /// Its time would mean nothing.
    Wrong {
        error: f64,
        error_at_mean_1e6: f64,
    },
    NotInstalled {
        reason: String,
    },
    Crashed {
        reason: String,
    },
}

pub fn run(name: Name, case: &Case, python: &Path) -> Result<Report, Box<dyn Error>> {
    let mut peer = match name.open(python) {
        Ok(peer) => peer,
        Err(error) => {
            let NotInstalled(reason) = *error.downcast()?;
            return Ok(Report { about: None, outcome: Outcome::NotInstalled { reason } });
        }
    };
    let far = Tensors::around(FAR, case);
    let error_at_mean_1e6 = worst(&peer.prepare(case, &far)?.results()?, &far.wanted(case))?;
    drop(far);

    let near = Tensors::around(1.0, case);
    let want = near.wanted(case);
    let about = Some(peer.about());
    let mut call = peer.prepare(case, &near)?;
    let error = worst(&call.results()?, &want)?;
    if error > WRONG {
        return Ok(Report { about, outcome: Outcome::Wrong { error, error_at_mean_1e6 } });
    }
    let Timing { seconds, fastest, calls_per_batch } = measure::median(&mut *call)?;
    // By now it may run a kernel that it has tuned meanwhile.
    let error = error.max(worst(&call.results()?, &want)?);
    let outcome = if error > WRONG {
        Outcome::Wrong { error, error_at_mean_1e6 }
    } else {
        Outcome::Timed { error, error_at_mean_1e6, seconds, fastest, calls_per_batch }
    };
    Ok(Report { about, outcome })
}

/// The largest |error| / scale of all results, each against its own.
fn worst(got: &[Vec<f32>], want: &[Wanted]) -> Result<f64, Box<dyn Error>> {
    if got.len() != want.len() {
        return Err(format!("{} results instead of {}", got.len(), want.len()).into());
    }
    let mut largest: f64 = 0.0;
    for (got, want) in got.iter().zip(want) {
        let got = ArrayD::from_shape_vec(want.value.raw_dim(), got.clone())?;
        largest = largest.max(want.worst(&got).map_or(0.0, |worst| worst.relative));
    }
    // JSON has no infinity.
    Ok(largest.min(f64::MAX))
}
