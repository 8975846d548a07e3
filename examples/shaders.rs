//! Writes every shader there is to a folder, for other tools: one `.wgsl` each, and `shaders.json`, which lists them with
//! entry point, override constants and workgroup size. The folder `platforms` in it has the shaders that plans for some GPUs take, and
//! for each GPU a list: file, entry point and constants, and after `#` the norm and kernel; where a line above is the same but for that, it
//! starts with `#`. Needs no GPU.
//!
//! With `--times` instead of a folder it prints a table of how long compilers take over the largest, on the adapter that wgpu finds and in
//! Chromium if there is one, and with `WGPU_NORM_WRITE=1` writes that in `docs/gpus.md`.
//!
//! `cargo xtask shaders DIR`, or `cargo run --example shaders -- DIR`
//! `cargo xtask shaders --times`

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use platforms::Platform;
use serde_json::{Map, Value, json};
use wgpu_norm::{ShaderVariant, planned_shaders, shader_variants};

#[path = "../web/src/browser.rs"]
mod browser;
#[path = "../tests/suite/support/generated.rs"]
mod generated;
#[path = "shaders/platforms.rs"]
mod platforms;
#[path = "shaders/times.rs"]
mod times;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed, the exit status is all there is to say.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> Result<()> {
    let [folder] = arguments else {
        return Err("it takes one folder, or --times: cargo run --example shaders -- DIR".into());
    };
    if folder == "--times" {
        let table = times::table()?;
        let _ = write!(io::stdout(), "{table}");
        if std::env::var_os("WGPU_NORM_WRITE").is_some() {
            generated::generated_parts(&generated::in_repository("docs/gpus.md"), &[("compile times", table)]);
        }
        return Ok(());
    }
    let folder = Path::new(folder);
    let count = write(folder)?;
    // Whoever closed standard output can count them.
    let _ = writeln!(io::stdout(), "{count} shaders and shaders.json in {}", folder.display());
    Ok(())
}

/// Gives the number of shaders. What else is in the folder stays.
fn write(folder: &Path) -> Result<usize> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut list = Vec::new();
    for variant in shader_variants() {
        let file = format!("{}.wgsl", variant.name);
        put(folder, &file, &variant.source)?;
        list.push(entry(&file, &variant));
    }
    write_platforms(&folder.join("platforms"))?;
    // Last, so that whatever it lists is there.
    put(folder, "shaders.json", &format!("{}\n", serde_json::to_string_pretty(&list)?))?;
    Ok(list.len())
}

/// What the plans of each GPU take.
fn write_platforms(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let norms = platforms::norms();
    for Platform { name, capabilities } in platforms::platforms().iter().filter(|of| !of.capabilities.software) {
        let (mut jobs, mut lines) = (BTreeSet::new(), String::new());
        for (title, norm, backward) in &norms {
            for wanted in [None].into_iter().chain(backward.map(Some)) {
                let direction = if wanted.is_some() { ", backward" } else { "" };
                for (kernel, shader) in planned_shaders(norm.as_ref(), wanted, capabilities)? {
                    put(folder, &format!("{}.wgsl", shader.name), &shader.source)?;
                    let job = job(&shader);
                    let again = if jobs.contains(&job) { "#" } else { "" };
                    lines.push_str(&format!("{again}{job} # {title}{direction}: {kernel}\n"));
                    jobs.insert(job);
                }
            }
        }
        put(folder, &format!("{}.txt", name.to_lowercase().replace(' ', "-")), &lines)?;
    }
    Ok(())
}

fn put(folder: &Path, name: &str, contents: &str) -> Result<(), String> {
    let path = folder.join(name);
    fs::write(&path, contents).map_err(|error| format!("{}: {error}", path.display()))
}

/// A shader with its constants, as a list of a platform has it.
fn job(shader: &ShaderVariant) -> String {
    let constants = shader.constants.iter().map(|&(name, value)| format!(" {name}={}", number(value)));
    format!("{}.wgsl {}{}", shader.name, shader.entry_point, constants.collect::<String>())
}

fn entry(file: &str, variant: &ShaderVariant) -> Value {
    let constants: Map<String, Value> =
        variant.constants.iter().map(|&(name, value)| (name.to_owned(), number(value))).collect();
    json!({
        "file": file,
        "entry_point": variant.entry_point,
        "workgroup_size": constants.get("workgroup_size"),
        "constants": constants,
    })
}

/// Whole ones without a point.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}
