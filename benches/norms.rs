//! `cargo bench`: how fast every norm and its backward pass is on the GPU, or on the CPU where there is none, beside a copy.
//!
//! Prints a table and draws a plot. Words after `--` choose the cases whose names have one of them in it, in upper or lower
//! case, `--quick` takes fewer rounds, and `--dtype` says what tensors are stored as: `cargo bench -- --quick --dtype f16 layernorm`.
//! The command `wgpu-norm bench` does the same with more options.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use timing::{Case, Device, Effort};
use wgpu_norm::{Element, Engine, sample};

// The command does more with it: shapes of one's own, comparisons, its tests.
#[allow(dead_code, unused_imports)]
#[path = "../src/bench/mod.rs"]
mod timing;

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).map(|word| word.to_lowercase()).collect();
    let mut dtype = Element::F32;
    if let Some(at) = arguments.iter().position(|word| word == "--dtype") {
        let word = arguments.drain(at..(at + 2).min(arguments.len())).nth(1);
        dtype = word.and_then(|word| sample::element(&word)).ok_or("--dtype must be f32, f16 or bf16")?;
    }
    let (options, words): (Vec<String>, Vec<String>) = arguments.into_iter().partition(|word| word.starts_with('-'));
    let given = |option: &str| options.iter().any(|given| given == option);
    // `cargo test --all-targets` comes here as well.
    if !given("--bench") {
        println!("nothing is timed without --bench, which `cargo bench` gives");
        return Ok(());
    }
    if let Some(unknown) = options.iter().find(|given| !["--bench", "--quick"].contains(&given.as_str())) {
        return Err(format!(
            "{unknown} is no option here: there are --quick and --dtype, and `wgpu-norm bench` has more"
        )
        .into());
    }
    let effort = if given("--quick") { Effort::QUICK } else { Effort::USUAL };
    let chosen = |case: &Case| {
        let name = case.to_string().to_lowercase();
        words.is_empty() || words.iter().any(|word| name.contains(word))
    };
    let cases: Vec<Case> = timing::all(dtype).into_iter().filter(chosen).collect();
    if cases.is_empty() {
        let names: BTreeSet<String> = timing::all(dtype).iter().map(Case::name).collect();
        let names: Vec<String> = names.into_iter().collect();
        return Err(format!("no case has {} in its name; there are {}", words.join(" or "), names.join(", ")).into());
    }
    let all = cases.len();
    let next = |done: usize, case: &Case| eprintln!("{:>3} of {all}: {case}", done + 1);
    let engine = Engine::new_blocking()?;
    let report = match engine.cpu() {
        Some(cpu) => timing::cpu::run(cpu, effort, &cases, next),
        None => {
            let device = Device::open(None)?;
            timing::run(&device, effort, &timing::plan(&device, cases)?, next)?
        }
    };
    let description = engine.describe();
    println!("\n{}", timing::text(&report, &format!("{description}: {}", engine.reason()), None));
    let plot = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("norms.svg");
    fs::write(&plot, timing::svg(&report, &description, None)?)?;
    println!("plot: {}", plot.display());
    match report.failed() {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} cases failed", report.cases.len()).into()),
    }
}
