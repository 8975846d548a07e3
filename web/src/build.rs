//! The library as WebAssembly, and the JavaScript around it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use wasm_bindgen_cli_support::Bindgen;

use crate::Result;

const TARGET: &str = "wasm32-unknown-unknown";

/// What the page loads.
pub struct Page {
    pub script: Vec<u8>,
    pub module: Vec<u8>,
}

pub fn page() -> Result<Page> {
    let folder = tempfile::tempdir()?;
    let mut bindgen = Bindgen::new();
    bindgen.input_path(library()?).web(true)?.typescript(false);
    bindgen.generate(folder.path())?;
    let read = |name: &str| std::fs::read(folder.path().join(name));
    Ok(Page { script: read("web.js")?, module: read("web_bg.wasm")? })
}

/// Compiles this package for a browser, and gives the module's path.
fn library() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--lib", "--release", "--locked", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the page did not build; if Rust has no {TARGET}: rustup target add {TARGET}").into());
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let module = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let files = message["filenames"].as_array()?;
        let module = files
            .iter()
            .filter_map(Value::as_str)
            .find(|file| file.ends_with("/web.wasm") || file.ends_with("\\web.wasm"))?;
        Some(PathBuf::from(module))
    });
    module.ok_or_else(|| "cargo built no web.wasm".into())
}
