//! The `wgpu-norm` command: normalizes arrays in files on the GPU or the CPU, and computes gradients of that.

mod adapters;
mod apply;
mod bench;
mod check;
mod cli;
mod doctor;
mod failure;
mod files;
mod grad;
mod plan;
mod progress;
mod report;
mod specify;
mod usage;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use crate::cli::{Cli, Command};
use crate::failure::{Failure, printable};

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const NO_ADAPTER: u8 = 3;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and the version come this way, too. If the stream is closed, no one reads them.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let (name, result) = match &cli.command {
        Command::Apply(options) => ("apply", apply::run(options)),
        Command::Grad(options) => ("grad", grad::run(options)),
        Command::Adapters(options) => ("adapters", adapters::run(options)),
        Command::Doctor(options) => ("doctor", doctor::run(options)),
        Command::Plan(options) => ("plan", plan::run(options)),
        Command::Bench(options) => ("bench", bench::run(options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(name, failure),
    }
}

/// Says on standard error what went wrong.
fn report(subcommand: &str, failure: Failure) -> ExitCode {
    // With the command, for its colours on a terminal.
    let raw = |text: &str| clap::Error::raw(ErrorKind::Io, format!("{}\n", printable(text))).with_cmd(&Cli::command());
    let (error, status) = match failure {
        Failure::Usage(text) => {
            let mut command = Cli::command();
            // Gives the subcommand its full name, for its usage line.
            command.build();
            let mut command = match command.find_subcommand_mut(subcommand) {
                Some(found) => found.clone(),
                None => command,
            };
            (command.error(ErrorKind::ArgumentConflict, printable(&text)), WRONG_USAGE)
        }
        Failure::Failed(text) => (raw(&text), FAILED),
        Failure::NoAdapter(text) => (raw(&text), NO_ADAPTER),
    };
    let _ = error.print();
    ExitCode::from(status)
}
