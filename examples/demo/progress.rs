//! Which row is being worked on: on a terminal, once it has taken a second.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const PATIENCE: Duration = Duration::from_secs(1);

/// The bar goes away when this is dropped.
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    pub fn new(rows: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(rows as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now() }
    }

    /// The next row.
    pub fn now(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        if self.bar.is_hidden() && self.started.elapsed() > PATIENCE {
            // Standard error that is no terminal stays hidden.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// The row is complete.
    pub fn done(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
