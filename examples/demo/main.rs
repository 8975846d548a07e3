//! Every norm on a photograph and on a language model's activations: checked against float64, timed, and seen.
//!
//! `cargo xtask demo`, or `cargo run --profile test --features cli --example demo`

mod case;
mod input;
mod lettering;
mod measure;
mod picture;
mod progress;
mod table;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use wgpu_norm::Gpu;
use wgpu_norm::reference::TOLERANCE as BOUND;

use input::Inputs;
use progress::Progress;
use table::Table;

/// Runs every norm on real input, compares it with float64, times it, and draws a before and after.
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
    let gpu = Gpu::new_blocking()?;
    writeln!(out, "Adapter: {}", gpu.describe())?;

    let inputs = Inputs::load()?;
    let cases = case::all(&inputs)?;
    let progress = Progress::new(cases.len());
    let mut table = Table::new(["Norm", "Input", "Shape", "Passes", "Error", "Time", "GB/s"]);
    let mut worst = measure::Worst::default();
    let mut model = None;
    for case in &cases {
        progress.now(&format!("{} of {}", case.name, case.input));
        let checked = measure::check(&gpu, case)?;
        let speed = measure::time(&gpu, case)?;
        table.row([
            case.name.clone(),
            case.input.to_owned(),
            table::shape(case.norm.shape()),
            speed.passes,
            format!("{:.1e}", checked.error),
            table::seconds(speed.seconds),
            format!("{:.1}", speed.gigabytes_per_second),
        ]);
        worst.see(checked.error, case);
        if case.is_the_models {
            model = Some(inputs.distance_from_model(&checked));
        }
        progress.done();
    }
    drop(progress);
    write!(out, "\n{table}\n{}", notes(cases.len(), &worst, model))?;

    let path = picture::before_and_after(&gpu, &inputs.photo, &args.output)?;
    writeln!(out, "\nPicture: {}\n{}", path.display(), picture::LEGEND)?;

    worst.verdict(BOUND)?;
    match model {
        Some(distance) if distance > BOUND => Err(format!("the model's output is off by {distance:.1e}").into()),
        _ => Ok(()),
    }
}

/// Says which file it was; the system's own message does not.
fn on(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// What the numbers of the table mean.
fn notes(rows: usize, worst: &measure::Worst, model: Option<f64>) -> String {
    let model = model.map_or(String::new(), |distance| {
        format!("The language model's own output of that LayerNorm is within {distance:.1e} of the GPU's.\n")
    });
    format!(
        "Input:  {}\n\
         Error:  the largest |GPU - float64| of any element, over the largest term of its group; running statistics\n        \
                 included. The bound is {BOUND:.0e}; the largest of the {rows} rows is {:.1e}.\n\
         Time:   one call, out of place, without copies: {}.\n\
         GB/s:   what the passes read and write of x and y, by that time.\n\
         {model}",
        input::DESCRIPTION,
        worst.error,
        measure::METHOD,
    )
}
