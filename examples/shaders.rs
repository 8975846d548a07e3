//! Writes every shader there is to a folder, for other tools: one `.wgsl` each, and `shaders.json`, which lists them with
//! entry point, override constants and workgroup size. Needs no GPU.
//!
//! `cargo xtask shaders DIR`, or `cargo run --example shaders -- DIR`

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use wgpu_norm::{ShaderVariant, shader_variants};

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

fn run(arguments: &[OsString]) -> Result<(), Box<dyn Error>> {
    let [folder] = arguments else {
        return Err("it takes one folder: cargo run --example shaders -- DIR".into());
    };
    let folder = Path::new(folder);
    let count = write(folder)?;
    // Whoever closed standard output can count them.
    let _ = writeln!(io::stdout(), "{count} shaders and shaders.json in {}", folder.display());
    Ok(())
}

/// Gives the number of shaders. What else is in the folder stays.
fn write(folder: &Path) -> Result<usize, Box<dyn Error>> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let put = |name: &str, contents: &str| {
        let path = folder.join(name);
        fs::write(&path, contents).map_err(|error| format!("{}: {error}", path.display()))
    };
    let mut list = Vec::new();
    for variant in shader_variants() {
        let file = format!("{}.wgsl", variant.name);
        put(&file, &variant.source)?;
        list.push(entry(&file, &variant));
    }
    // Last, so that whatever it lists is there.
    put("shaders.json", &format!("{}\n", serde_json::to_string_pretty(&list)?))?;
    Ok(list.len())
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
