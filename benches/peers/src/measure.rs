//! How long a call takes.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::peer::Call;

/// Of so many batches the median counts.
pub const BATCHES: usize = 7;
/// A batch takes at least this long, and is aimed at a little more.
const SHORTEST: f64 = 0.02;
const AIM: f64 = 0.025;
const MOST_CALLS: f64 = 100_000.0;
/// Compiling and autotuning come with the first calls, and clocks take a moment to rise.
const WARM_UP: Duration = Duration::from_millis(500);

pub struct Timing {
    pub seconds: f64,
    /// The same of the fastest batch: what a machine with other work would do without it.
    pub fastest: f64,
    pub calls_per_batch: u32,
}

pub fn median(call: &mut dyn Call) -> Result<Timing, Box<dyn Error>> {
    let start = Instant::now();
    call.run(1)?;
    let mut once = call.run(1)?;
    while start.elapsed() < WARM_UP {
        once = once.min(call.run(1)?);
    }
    let calls_for = |per_call: f64| (AIM / per_call).ceil().clamp(1.0, MOST_CALLS);
    let mut calls = calls_for(once);
    // Many calls, waited for together, take less each than one.
    loop {
        let batch = call.run(calls as u32)?;
        if batch >= SHORTEST || calls == MOST_CALLS {
            break;
        }
        calls = calls_for(batch / calls).max(calls + 1.0);
    }
    let mut times = Vec::new();
    for _ in 0..BATCHES {
        times.push(call.run(calls as u32)? / calls);
    }
    times.sort_by(f64::total_cmp);
    Ok(Timing { seconds: times[BATCHES / 2], fastest: times[0], calls_per_batch: calls as u32 })
}
