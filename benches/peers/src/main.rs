//! The same normalizations by wgpu-norm, burn, ndarray and PyTorch, in one table: see the README.

mod case;
mod child;
mod data;
mod measure;
mod one;
mod peer;
mod table;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use case::{Case, Direction, Kind};
use child::Child;
use peer::Name;
use table::Row;

/// Times and checks the same normalizations by several libraries, each case and peer in a process of its own.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    /// Only these norms
    #[arg(long, value_delimiter = ',')]
    norm: Vec<Kind>,
    /// Only these directions
    #[arg(long, value_delimiter = ',')]
    direction: Vec<Direction>,
    /// Only cases with this in their name, as in "LayerNorm 4096x768"
    #[arg(long, value_name = "SUBSTR", default_value = "")]
    case: String,
    /// Only these peers
    #[arg(long, value_delimiter = ',', default_value = "ours,burn,ndarray,torch")]
    peers: Vec<Name>,
    /// The Python that has torch
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// What a case may take before it is given up
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    timeout: u64,
    /// Also writes the table as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// What the processes run that this one starts
    #[command(hide = true)]
    One { peer: Name, case: String, python: PathBuf },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.command {
        Some(Command::One { peer, case, python }) => one(*peer, case, python.clone()),
        None => all(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn one(peer: Name, name: &str, python: PathBuf) -> Result<(), Box<dyn Error>> {
    let case = case::all().into_iter().find(|case| case.name() == name).ok_or("no such case")?;
    println!("{}", serde_json::to_string(&one::run(peer, &case, &python)?)?);
    Ok(())
}

fn all(args: &Args) -> Result<(), Box<dyn Error>> {
    let cases: Vec<Case> = case::all()
        .into_iter()
        .filter(|case| args.norm.is_empty() || args.norm.contains(&case.kind))
        .filter(|case| args.direction.is_empty() || args.direction.contains(&case.direction))
        .filter(|case| case.name().to_lowercase().contains(&args.case.to_lowercase()))
        .collect();
    if cases.is_empty() {
        return Err("no case of that name".into());
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?;
    let progress = ProgressBar::new((cases.len() * args.peers.len()) as u64).with_style(style);
    let mut rows = Vec::new();
    // Case by case, so that what else the machine does meets all peers alike.
    for case in &cases {
        for &peer in &args.peers {
            progress.set_message(format!("{} by {peer}", case.name()));
            let child = Child { peer, case, python: &args.python, limit: Duration::from_secs(args.timeout) };
            rows.push(Row { case: *case, peer, report: child.run()? });
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    print!("{}", table::text(&rows));
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_string_pretty(&table::json(&rows))? + "\n")?;
    }
    Ok(())
}

/// What the command line calls it.
fn word(value: &impl clap::ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
