//! A process for each case and peer: one that crashes or hangs costs its own row.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use process_control::{ChildExt as _, Control as _, ExitStatus, Output};

use crate::case::Case;
use crate::one::{Outcome, Report};
use crate::peer::Name;
use crate::word;

pub struct Child<'a> {
    pub peer: Name,
    pub case: &'a Case,
    pub python: &'a Path,
    pub limit: Duration,
}

impl Child<'_> {
    pub fn run(&self) -> Result<Report, Box<dyn Error>> {
        let output = Command::new(std::env::current_exe()?)
            .args(["one", &word(&self.peer), &self.case.name()])
            .arg(self.python)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?
            .controlled_with_output()
            .time_limit(self.limit)
            .terminate_for_timeout()
            .wait()?;
        let crashed = |reason| Report { about: None, outcome: Outcome::Crashed { reason } };
        Ok(match output {
            None => crashed(format!("no result within {} s", self.limit.as_secs())),
            Some(output) => report(&output).unwrap_or_else(|| crashed(reason(&output))),
        })
    }
}

/// The last line, for a peer may have printed others.
fn report(output: &Output) -> Option<Report> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| serde_json::from_str(stdout.lines().last()?).ok()).flatten()
}

/// What a panic said first, else the last that was said, else how it ended.
fn reason(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let panic = said.iter().position(|line| line.contains("panicked at")).and_then(|place| said.get(place + 1));
    let last = panic.or(said.last()).map_or("nothing said", |line| line.trim_start_matches("error: "));
    match signal(output.status) {
        Some(signal) => format!("signal {signal}: {last}"),
        None => last.to_owned(),
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    status.signal()
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}
