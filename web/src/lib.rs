//! What the page runs: the library in WebAssembly, on the browser's WebGPU.
#![cfg(target_arch = "wasm32")]

use js_sys::Function;
use wasm_bindgen::prelude::*;
use wgpu_norm::Gpu;

/// What the doctor found.
#[wasm_bindgen(getter_with_clone)]
pub struct Found {
    pub trusted: bool,
    pub text: String,
}

/// Runs the doctor. `progress` is called with a number from 0 to 1 now and then.
#[wasm_bindgen]
pub async fn examine(progress: Function) -> Result<Found, JsValue> {
    console_error_panic_hook::set_once();
    let words = |error: wgpu_norm::Error| JsValue::from_str(&error.to_string());
    let gpu = Gpu::new().await.map_err(words)?;
    let report = gpu
        .examine(|done, all| {
            // A bar that does not move is no reason to stop.
            let _ = progress.call1(&JsValue::NULL, &JsValue::from_f64(done as f64 / all as f64));
        })
        .await
        .map_err(words)?;
    Ok(Found { trusted: report.is_trusted(), text: format!("{}\n{report}", report.table()) })
}
