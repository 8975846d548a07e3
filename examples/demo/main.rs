//! Every norm on a photograph and on a language model's activations: checked against float64, timed, and seen.
//!
//! `cargo xtask demo`, or `cargo run --profile test --features cli --example demo`

mod case;
mod input;
mod lettering;
mod measure;
mod picture;
mod table;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use wgpu_norm::reference::TOLERANCE as BOUND;
use wgpu_norm::sample::time;
use wgpu_norm::{Cpu, Engine, Gpu, RunError};

use input::Inputs;
use table::Table;

/// Runs norms on real input, compares them with float64, times them, and draws a before and after.
#[derive(Parser)]
#[command(name = "demo")]
struct Args {
    /// Where the picture goes
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/demo-output"))]
    output: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed, the exit status is all there is to say.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    let gpu = match Gpu::new_blocking() {
        Ok(gpu) => Some(Engine::from(gpu)),
        Err(wgpu_norm::Error::Run(error @ (RunError::NoAdapter { .. } | RunError::NoDevice { .. }))) => {
            writeln!(out, "On the CPU alone, without shaders, since {error}")?;
            None
        }
        Err(error) => return Err(error.into()),
    };
    let mut columns = vec!["Norm", "Input", "Shape"];
    if let Some(gpu) = &gpu {
        writeln!(out, "Adapter: {}", gpu.describe())?;
        columns.extend(["Passes", "Error", "Time", "GB/s"]);
    }
    let cpu = Engine::from(Cpu::new());
    writeln!(out, "Engine:  {}", cpu.describe())?;
    columns.extend(["CPU error", "CPU time"]);
    let engines: Vec<Engine> = gpu.into_iter().chain([cpu]).collect();

    let inputs = Inputs::load()?;
    let cases = case::all(&inputs)?;
    // Nothing is drawn where standard error is no terminal.
    let bar =
        ProgressBar::new(cases.len() as u64).with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let mut table = Table::new(&columns);
    let mut worst = measure::Worst::default();
    let mut model: f64 = 0.0;
    for case in &cases {
        bar.set_message(format!("{} of {}", case.name, case.input));
        let wanted = case.wanted();
        let mut row = vec![case.name.clone(), case.input.to_owned(), table::shape(case.norm.shape())];
        for engine in &engines {
            let (y, error) = measure::check(engine, case, &wanted)?;
            let speed = measure::time(engine, case)?;
            row.extend(speed.passes);
            row.extend([format!("{error:.1e}"), time(speed.seconds)]);
            row.extend(speed.gigabytes_per_second.map(|speed| format!("{speed:.1}")));
            worst.see(error, case);
            if case.is_the_models {
                model = model.max(inputs.distance_from_model(&y, &wanted[0].scale));
            }
        }
        table.row(row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    write!(out, "\n{table}\n{}", notes(cases.len(), engines.len() > 1, &worst, model))?;

    let path = picture::before_and_after(&engines[0], &inputs.photo, &args.output)?;
    writeln!(out, "\nPicture: {}\n{}", path.display(), picture::LEGEND)?;

    worst.verdict(BOUND)?;
    if model > BOUND {
        return Err(format!("the model's output is off by {model:.1e}").into());
    }
    Ok(())
}

/// Says which file it was; the system's own message does not.
fn on(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// What the numbers of the table mean.
fn notes(rows: usize, by_shaders: bool, worst: &measure::Worst, model: f64) -> String {
    let speed = if by_shaders { "GB/s:   what the passes read and write of x and y, by that time.\n" } else { "" };
    format!(
        "Input:  {}\n\
         Error:  the largest |result - float64| of any element, over the largest term of its group; running statistics\n        \
                 included. The bound is {BOUND:.0e}; the largest of the {rows} rows is {:.1e}.\n\
         Time:   {}.\n\
         {speed}\
         The language model's own output of that LayerNorm is within {model:.1e} of ours.\n",
        input::DESCRIPTION,
        worst.error,
        measure::METHOD,
    )
}
