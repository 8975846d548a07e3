//! Progress on standard error, for what takes over a second, and only on a terminal.

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Nothing is drawn for a step that is over sooner than this.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a drawn bar moves.
const TICK: Duration = Duration::from_millis(100);

/// One step of the work. The bar goes away when this is dropped.
pub(crate) struct Progress(Option<Drawn>);

struct Drawn {
    bar: ProgressBar,
    /// Dropped to tell the thread that the step is over.
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// A step of `total` bytes, told by [`Progress::advance`].
    pub(crate) fn bytes(label: String, total: u64) -> Self {
        Self::start(
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()),
            "{msg} {wide_bar} {bytes}/{total_bytes}",
            label,
        )
    }

    /// A step of `total` steps, each told by [`Progress::now`] and [`Progress::advance`].
    pub(crate) fn steps(label: String, total: u64) -> Self {
        Self::start(
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()),
            "{bar:30} {pos}/{len} {msg}",
            label,
        )
    }

    /// A step that cannot say how far it is.
    pub(crate) fn spinner(label: String) -> Self {
        Self::start(
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()),
            "{spinner} {msg} {elapsed}",
            label,
        )
    }

    fn start(bar: ProgressBar, template: &str, label: String) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        // A template that does not parse costs the looks, not the run.
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(label);
        let (done, wait) = mpsc::channel();
        let shown = bar.clone();
        // A thread, because the step may be one call that returns only when all is done.
        let thread = thread::Builder::new()
            .spawn(move || {
                if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    shown.set_draw_target(ProgressDrawTarget::stderr());
                    shown.enable_steady_tick(TICK);
                }
            })
            .ok();
        Self(Some(Drawn { bar, done: Some(done), thread }))
    }

    /// What is done now.
    pub(crate) fn now(&self, label: String) {
        if let Some(drawn) = &self.0 {
            drawn.bar.set_message(label);
        }
    }

    /// So many more bytes or steps are done.
    pub(crate) fn advance(&self, done: u64) {
        if let Some(drawn) = &self.0 {
            drawn.bar.inc(done);
        }
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            // The thread only draws: if it failed, there is nothing to do about it.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}
