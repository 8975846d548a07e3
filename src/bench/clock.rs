//! How long recorded work takes: by timestamps at the ends of a pass where they make sense, else by the wall.

use wgpu_norm::wgpu;

use super::{Device, Trouble};

/// Records a number of dispatches.
pub(crate) type Record<'a> = &'a mut dyn FnMut(&mut wgpu::ComputePass<'_>, u32);

/// What the seconds come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Timestamps,
    Wall,
}

pub(crate) struct Clock<'a> {
    device: &'a Device,
    queries: Option<Queries>,
    /// How far timestamps are believed, and why.
    trial: String,
}

struct Queries {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// Nanoseconds of a tick.
    period: f64,
}

/// One submission, timed both ways.
struct Reading {
    wall: f64,
    timestamps: Option<f64>,
}

/// Work this long tells timestamps from nonsense.
const TRIAL_SECONDS: f64 = 0.02;
const TRIALS: usize = 5;
/// Timestamps of work are no longer than the wall's, but for what the two clocks differ by.
const MOST: f64 = 1.05;
/// Submitting and waking up take less than the work of a trial does.
const LEAST: f64 = 0.5;
/// Most dispatches of one submission.
const MOST_DISPATCHES: u32 = 2000;

impl<'a> Clock<'a> {
    /// The clock of this device, tried on some work.
    pub(crate) fn new(device: &'a Device, work: Record<'_>) -> Result<Self, Trouble> {
        let mut clock = Self { device, queries: None, trial: String::new() };
        let period = f64::from(device.queue.get_timestamp_period());
        if !device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            clock.distrust("the adapter has no timestamps".to_owned());
        } else if !(period.is_finite() && period > 0.0) {
            clock.distrust(format!("a tick of the adapter's timestamps is {period} ns"));
        } else {
            clock.queries = Some(Queries::new(&device.device, period));
            clock.try_timestamps(work)?;
        }
        Ok(clock)
    }

    pub(crate) fn source(&self) -> Source {
        if self.queries.is_some() { Source::Timestamps } else { Source::Wall }
    }

    /// What the seconds are, in words.
    pub(crate) fn method(&self) -> String {
        match self.source() {
            Source::Timestamps => {
                format!("timestamps at the ends of a compute pass of many dispatches ({})", self.trial)
            }
            Source::Wall => format!(
                "wall time of a submission of many dispatches, from submitting to the end of waiting ({})",
                self.trial
            ),
        }
    }

    /// The seconds that `times` dispatches take. Where a timestamp turns out wrong, it is by the wall, as all that follow.
    pub(crate) fn time(&mut self, times: u32, record: Record<'_>) -> Result<f64, Trouble> {
        let (mut seconds, mut left) = (0.0, times);
        while left > 0 {
            let part = left.min(MOST_DISPATCHES);
            left -= part;
            let reading = self.read(part, record)?;
            seconds += match reading.timestamps {
                Some(ticks) if ticks > 0.0 && ticks <= reading.wall * MOST => ticks,
                Some(ticks) => {
                    self.distrust(format!("timestamps once said {ticks:.1e} s of {:.1e} s", reading.wall));
                    reading.wall
                }
                None => reading.wall,
            };
        }
        Ok(seconds)
    }

    /// How many dispatches take about so many seconds.
    pub(crate) fn repeats(&mut self, seconds: f64, record: Record<'_>) -> Result<u32, Trouble> {
        repeats(seconds, &mut |times| self.time(times, record))
    }

    fn distrust(&mut self, why: String) {
        self.queries = None;
        self.trial = why;
    }

    /// Holds timestamps against the wall.
    fn try_timestamps(&mut self, work: Record<'_>) -> Result<(), Trouble> {
        self.read(1, work)?;
        let mut times = 1_u32;
        while self.read(times, work)?.wall < TRIAL_SECONDS && times < MOST_DISPATCHES {
            times = times.saturating_mul(2).min(MOST_DISPATCHES);
        }
        let mut shares = Vec::new();
        for _ in 0..TRIALS {
            let Reading { wall, timestamps } = self.read(times, work)?;
            shares.extend(timestamps.map(|seconds| seconds / wall));
        }
        // One trial may be disturbed.
        shares.sort_by(f64::total_cmp);
        let median = shares.get(shares.len() / 2).copied().unwrap_or(0.0);
        self.trial = format!("on a trial they say {median:.2} of what the wall does");
        if !(LEAST..=MOST).contains(&median) || shares.first().is_none_or(|&least| least <= 0.0) {
            self.distrust(format!("timestamps, {}", self.trial));
        }
        Ok(())
    }

    /// Times one submission.
    fn read(&self, times: u32, record: Record<'_>) -> Result<Reading, Trouble> {
        let mut encoder = self.device.device.create_command_encoder(&Default::default());
        let timestamp_writes = self.queries.as_ref().map(|queries| wgpu::ComputePassTimestampWrites {
            query_set: &queries.set,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        record(&mut pass, times);
        drop(pass);
        if let Some(queries) = &self.queries {
            encoder.resolve_query_set(&queries.set, 0..2, &queries.resolved, 0);
        }
        let wall = self.device.run(encoder)?;
        let timestamps = match &self.queries {
            Some(queries) => Some(queries.seconds(self.device)?),
            None => None,
        };
        Ok(Reading { wall, timestamps })
    }
}

/// How many calls take about so many seconds, by what takes the time of some.
pub(crate) fn repeats(seconds: f64, time: &mut dyn FnMut(u32) -> Result<f64, Trouble>) -> Result<u32, Trouble> {
    // The first is for the driver to compile and the memory to come.
    time(1)?;
    let mut times = 1_u32;
    loop {
        let took = time(times)?;
        let wanted = f64::from(times) * seconds / took.max(1e-9);
        if took >= seconds / 2.0 || times == MOST_DISPATCHES {
            return Ok(wanted.ceil().clamp(1.0, f64::from(MOST_DISPATCHES)) as u32);
        }
        // A short time is mostly waking up, so it is no measure of a long one.
        times = (wanted.min(f64::from(times) * 8.0).ceil().max(2.0) as u32).min(MOST_DISPATCHES);
    }
}

impl Queries {
    fn new(device: &wgpu::Device, period: f64) -> Self {
        let set = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("ends of a pass"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let resolved = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("timestamps"),
            size: 16,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Self { set, resolved, period }
    }

    /// Between the two timestamps; negative where they are in the wrong order.
    fn seconds(&self, device: &Device) -> Result<f64, Trouble> {
        let ticks: Vec<u64> = device.read(self.resolved.slice(..))?;
        let &[start, end] = ticks.as_slice() else { return Ok(0.0) };
        let ticks = if end >= start { (end - start) as f64 } else { -((start - end) as f64) };
        Ok(ticks * self.period * 1e-9)
    }
}
