//! What the other modules share: the adapter, data, and one runner that holds every norm to the oracle.

mod case;
mod data;
pub mod device;
mod engine;
mod generated;
mod gradient;
pub mod random;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use wgpu_norm::ndarray::ArrayD;
pub use wgpu_norm::reference::TOLERANCE;
use wgpu_norm::{Capabilities, Cpu, Element, Engine, Gpu, reference};

pub use case::{Case, Kind, every_kind};
pub use data::Data;
pub use engine::Runs;
pub use generated::{generated, generated_parts, in_repository};
pub use gradient::Gradient;

/// The adapter at hand. Without one the suite fails, and says what to do.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        // Whatever shader a test needs, the list has it.
        wgpu_norm::expect_listed();
        Gpu::new_blocking().unwrap_or_else(|error| {
            panic!(
                "{error}\nThe suite needs an adapter. On Debian or Ubuntu: \
                 apt-get update && apt-get install -y --no-install-recommends mesa-vulkan-drivers"
            )
        })
    })
}

/// Whether the adapter rounds `a * b + c` once. Then two shaders that differ in anything need not give the same bits.
pub fn fuses_multiply_add() -> bool {
    static FUSES: OnceLock<bool> = OnceLock::new();
    *FUSES.get_or_init(|| gpu().probe_blocking().unwrap().fuses_multiply_add)
}

/// The same device planned for in every way: as it is, and as a GPU would be; with subgroups, and by workgroup memory.
pub fn gpus() -> &'static [(&'static str, Gpu)] {
    static GPUS: OnceLock<Vec<(&'static str, Gpu)>> = OnceLock::new();
    let gpus = GPUS.get_or_init(|| {
        vec![
            ("as it is", gpu().clone()),
            ("alone", changed(|c| c.subgroup_sizes = None)),
            ("as a GPU", changed(|c| (c.software, c.reassociates) = (false, true))),
            ("as a GPU without subgroups", changed(|c| (c.software, c.subgroup_sizes) = (false, None))),
        ]
    });
    // All pipelines of the suite take over 20 GB with Mesa's driver.
    static CALLS: AtomicUsize = AtomicUsize::new(1);
    if CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(64) {
        gpus.iter().for_each(|(_, gpu)| gpu.context().forget_pipelines());
    }
    gpus
}

/// The CPU as an engine.
pub fn cpu() -> &'static Cpu {
    static CPU: OnceLock<Cpu> = OnceLock::new();
    CPU.get_or_init(Cpu::new)
}

/// [`gpus`] as engines, and the CPU.
pub fn engines() -> &'static [(&'static str, Engine)] {
    static ENGINES: OnceLock<Vec<(&'static str, Engine)>> = OnceLock::new();
    ENGINES.get_or_init(|| {
        let gpus = gpus().iter().map(|(label, gpu)| (*label, gpu.clone().into()));
        gpus.chain([("on the CPU", cpu().clone().into())]).collect()
    })
}

/// Whether to run all there is, as `cargo xtask test --thorough` does, or a part of the long sweeps and random draws.
pub fn thorough() -> bool {
    std::env::var_os("WGPU_NORM_THOROUGH").is_some_and(|value| value != "0")
}

/// All where that is thorough, else the first few: lists begin with what differs most.
pub fn part<T>(all: &[T], few: usize) -> &[T] {
    if thorough() { all } else { &all[..few] }
}

/// The adapter at hand, planned for as if it could do something else.
pub fn changed(change: impl Fn(&mut Capabilities)) -> Gpu {
    let gpu = gpu();
    let mut capabilities = gpu.context().capabilities().clone();
    change(&mut capabilities);
    gpu.clone().with_capabilities(capabilities)
}

/// The largest finite magnitude.
pub fn largest(x: &ArrayD<f32>) -> f64 {
    x.iter().filter(|v| v.is_finite()).fold(0.0, |most, v| f64::from(v.abs()).max(most))
}

/// Panics where `got` is further from `want` than the promise.
pub fn close(what: &str, got: &ArrayD<f32>, want: &ArrayD<f64>, scale: &ArrayD<f64>) {
    close_to(Element::F32, what, got, want, scale);
}

/// The same of what was stored as `element`.
pub fn close_to(element: Element, what: &str, got: &ArrayD<f32>, want: &ArrayD<f64>, scale: &ArrayD<f64>) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    if let Some(worst) = reference::largest_error_of(element, got.view(), want.view(), scale.view()) {
        assert!(worst.relative <= TOLERANCE, "{what}\n{worst:?}");
    }
}
