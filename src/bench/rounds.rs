//! Norm and copy by turns, because a machine that does something else as well slows both.

use std::time::Instant;

use super::clock::repeats;
use super::copy::Copier;
use super::{Clock, Source, Subject, Trouble};

/// How long to go on.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// At least so many rounds,
    pub(crate) rounds: usize,
    /// and for so many seconds,
    pub(crate) seconds: f64,
    /// or so many where the rounds do not agree.
    pub(crate) patience: f64,
    /// One measurement is about so many seconds.
    pub(crate) batch: f64,
    /// Rounds for choosing a kernel that copies.
    pub(crate) trials: usize,
}

impl Effort {
    pub(crate) const USUAL: Self = Self { rounds: 15, seconds: 0.5, patience: 3.0, batch: 0.008, trials: 5 };
    pub(crate) const QUICK: Self = Self { rounds: 5, seconds: 0.05, patience: 0.2, batch: 0.003, trials: 2 };
    const MOST_ROUNDS: usize = 100;
    /// The longest batch of copies.
    const LONG: f64 = 0.1;
}

/// The middle of some numbers, where their middle half lies, and the least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// All 0 where there is nothing to tell of.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * values.len().saturating_sub(1) as f64;
            let (below, part) = (place.floor() as usize, place.fract());
            let value = |at: usize| values.get(at).or(values.last()).copied().unwrap_or(0.0);
            value(below) + part * (value(below + 1) - value(below))
        };
        Self { least: at(0.0), low: at(0.25), median: at(0.5), high: at(0.75) }
    }
}

impl Spread {
    /// Whether the middle half is wider than a tenth of the median.
    pub(crate) fn is_wide(self) -> bool {
        is_wide(self.low, self.median, self.high)
    }
}

pub(crate) fn is_wide(low: f64, median: f64, high: f64) -> bool {
    high - low > 0.1 * median
}

/// What the rounds gave, for one dispatch each.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) seconds: Spread,
    pub(crate) copy_seconds: Spread,
    /// The copy's seconds over the norm's, in each round.
    pub(crate) ratio: Spread,
    pub(crate) rounds: usize,
    pub(crate) source: Source,
}

/// Whose turn it is.
#[derive(Clone, Copy)]
pub(crate) enum Turn {
    Norm,
    Copy,
}

/// The seconds that so many calls take.
pub(crate) type Time<'a> = &'a mut dyn FnMut(Turn, u32) -> Result<f64, Trouble>;

pub(crate) fn measure(
    clock: &mut Clock<'_>,
    subject: &mut Subject,
    copier: &mut Copier,
    effort: Effort,
) -> Result<Measured, Trouble> {
    loop {
        let source = clock.source();
        let mut time = |turn: Turn, times: u32| match turn {
            Turn::Norm => clock.time(times, &mut |pass, times| subject.record(pass, times)),
            Turn::Copy => clock.time(times, &mut |pass, times| copier.record(pass, times)),
        };
        let measured = rounds(&mut time, effort, source)?;
        // Times by two clocks do not go together. It changes once at most.
        if clock.source() == source {
            return Ok(measured);
        }
    }
}

pub(crate) fn rounds(time: Time<'_>, effort: Effort, source: Source) -> Result<Measured, Trouble> {
    let norm_times = repeats(effort.batch, &mut |times| time(Turn::Norm, times))?;
    // As long as the norm's, so that what else the machine does has the same part in both.
    let norm_seconds = time(Turn::Norm, norm_times)?;
    let batch = norm_seconds.clamp(effort.batch, Effort::LONG.max(effort.batch));
    let copy_times = repeats(batch, &mut |times| time(Turn::Copy, times))?;
    let (mut norms, mut copies) = (Vec::new(), Vec::new());
    let start = Instant::now();
    for round in 0..Effort::MOST_ROUNDS {
        let passed = start.elapsed().as_secs_f64();
        let agreed = || !Spread::of(ratios(&norms, &copies)).is_wide();
        if round >= effort.rounds && passed >= effort.seconds && (passed >= effort.patience || agreed()) {
            break;
        }
        // By turns, too, so that neither always has the other's leavings.
        let turns = if round % 2 == 0 { [Turn::Copy, Turn::Norm] } else { [Turn::Norm, Turn::Copy] };
        for turn in turns {
            let (times, seconds) = match turn {
                Turn::Norm => (norm_times, &mut norms),
                Turn::Copy => (copy_times, &mut copies),
            };
            seconds.push(time(turn, times)? / f64::from(times));
        }
    }
    let ratio = ratios(&norms, &copies);
    let rounds = norms.len();
    Ok(Measured {
        seconds: Spread::of(norms),
        copy_seconds: Spread::of(copies),
        ratio: Spread::of(ratio),
        rounds,
        source,
    })
}

/// The copy's seconds over the norm's, in each round.
fn ratios(norms: &[f64], copies: &[f64]) -> Vec<f64> {
    norms.iter().zip(copies).map(|(norm, copy)| copy / norm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_neighbours() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 3.0, 2.0]), Spread { least: 1.0, low: 1.75, median: 2.5, high: 3.25 });
        assert_eq!(Spread::of(vec![5.0]), Spread { least: 5.0, low: 5.0, median: 5.0, high: 5.0 });
        assert_eq!(Spread::of(Vec::new()).median, 0.0);
    }
}
