//! A device for callers without one: picks the best adapter, and moves data in and out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, RunError};
use crate::gpu::context::Context;
use crate::gpu::plan::Capabilities;
use crate::gpu::scope::{is_lost, wait};

/// A device and its queue, with a [`Context`]. It runs norms on slices and arrays, and moves the data in and out.
///
/// [`Gpu::new`] opens the best adapter, in the order discrete, integrated, virtual, other, software. It honours wgpu's
/// environment variables: `WGPU_BACKEND` (`vulkan`, `metal`, `dx12`, ...), `WGPU_ADAPTER_NAME` (a part of the name) and
/// `WGPU_POWER_PREF` (`low` puts integrated adapters first).
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Gpu, Inputs, LayerNorm};
///
/// let gpu = Gpu::new_blocking()?;
/// println!("on {}", gpu.describe());
/// let out = gpu.run_blocking(&LayerNorm::new(&[1, 2], &[2])?, Inputs::new(&[1.0, 3.0][..]))?;
/// assert!((out.y[1] - 1.0).abs() < 1e-5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Gpu {
    info: wgpu::AdapterInfo,
    queue: wgpu::Queue,
    context: Context,
    lost: Arc<Mutex<Option<String>>>,
    /// Whether the queue is known to be the device's.
    owns_queue: Arc<AtomicBool>,
}

/// One adapter, as listed by [`Gpu::adapters`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AdapterReport {
    /// Name, driver, type, backend, subgroup sizes.
    pub info: wgpu::AdapterInfo,
    /// The features it supports.
    pub features: wgpu::Features,
    /// Its limits.
    pub limits: wgpu::Limits,
    /// Whether [`Gpu::new`] would open it.
    pub chosen: bool,
    /// Why it cannot be used; `None` if it can.
    pub refused: Option<String>,
}

/// The features to request from `adapter`: those that this library uses and the adapter has.
#[must_use]
pub fn features_for(adapter: &wgpu::Adapter) -> wgpu::Features {
    adapter.features() & wgpu::Features::SUBGROUP
}

/// The limits to request from `adapter`: all that it has, so that no tensor is refused that it can hold.
#[must_use]
pub fn limits_for(adapter: &wgpu::Adapter) -> wgpu::Limits {
    adapter.limits()
}

impl Gpu {
    /// Opens the best adapter, with a device on this library's own wgpu instance.
    ///
    /// If your program already has a device, use [`Gpu::from_device`] instead. **Never pass buffers of one
    /// [`wgpu::Instance`] to a context or layer of another instance.** wgpu does not detect this: it reads and overwrites
    /// unrelated buffers without an error. (It does refuse buffers of another device of the same instance.)
    ///
    /// # Errors
    ///
    /// [`RunError::NoAdapter`] if there is no usable adapter, [`RunError::NoDevice`] if it provides no device.
    pub async fn new() -> Result<Self, Error> {
        Self::choose(None).await
    }

    /// [`Gpu::new`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new_blocking() -> Result<Self, Error> {
        pollster::block_on(Self::new())
    }

    /// Opens the best adapter whose name contains `name`, ignoring case. `WGPU_ADAPTER_NAME` is then ignored.
    ///
    /// # Errors
    ///
    /// As [`Gpu::new`], and [`RunError::NoSuchAdapter`] if no adapter has such a name.
    pub async fn with_adapter(name: &str) -> Result<Self, Error> {
        Self::choose(Some(name.to_owned())).await
    }

    /// [`Gpu::with_adapter`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::with_adapter`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_adapter_blocking(name: &str) -> Result<Self, Error> {
        pollster::block_on(Self::with_adapter(name))
    }

    /// A `Gpu` on a device that the caller already has. The device's callbacks are not touched.
    ///
    /// `queue` must be the device's own. With the queue of another device, every call that submits, and making a layer, fails
    /// with [`RunError::ForeignQueue`]. To find that out, the first such call waits for all work submitted before.
    #[must_use]
    pub fn from_device(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let (info, context) = (device.adapter_info(), Context::new(device));
        Self { info, queue: queue.clone(), context, lost: Arc::default(), owns_queue: Arc::default() }
    }

    /// This device with another context, for example one with another [`Tuning`](crate::Tuning).
    ///
    /// The context must be on the same device. Otherwise calls fail as with a foreign queue: see [`Gpu::from_device`].
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        if context.device() != self.device() {
            self.owns_queue = Arc::default();
        }
        self.context = context;
        self
    }

    /// All adapters that wgpu finds with the current environment variables, best first.
    pub async fn adapters() -> Vec<AdapterReport> {
        let wanted = wanted_name(None);
        let mut reports: Vec<_> = candidates().await.iter().map(|adapter| report(adapter, wanted.as_deref())).collect();
        if let Some(best) = reports.iter_mut().find(|report| report.refused.is_none()) {
            best.chosen = true;
        }
        reports
    }

    /// [`Gpu::adapters`], blocking.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn adapters_blocking() -> Vec<AdapterReport> {
        pollster::block_on(Self::adapters())
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        self.context.device()
    }

    /// The device's queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// The context on the device.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The adapter's name, type, backend and driver.
    #[must_use]
    pub fn adapter_info(&self) -> &wgpu::AdapterInfo {
        &self.info
    }

    /// The adapter in one line: `llvmpipe (LLVM 15.0.6, 256 bits), Vulkan, software, driver llvmpipe Mesa 22.3.6`.
    #[must_use]
    pub fn describe(&self) -> String {
        describe(&self.info)
    }

    /// This device with a new context that plans for the given capabilities, to plan without subgroups, for example. They
    /// must not exceed what the device has.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.context = Context::with_capabilities(self.context.device(), capabilities);
        self
    }

    /// What to say of `failed`: that the device is lost, if it is.
    pub(crate) fn blame(&self, failed: RunError) -> Error {
        if !is_lost(self.device()) {
            return failed.into();
        }
        let told = self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
        RunError::DeviceLost { description: told.unwrap_or_else(|| failed.to_string()) }.into()
    }

    /// Refuses a queue of another device: of what it is given wgpu would tell only that one, and panic.
    pub(crate) fn check_queue(&self) -> Result<(), Error> {
        // On the web nothing panics.
        if cfg!(target_arch = "wasm32") || self.owns_queue.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (done, told) = std::sync::mpsc::channel();
        self.queue.on_submitted_work_done(move || {
            let _ = done.send(());
        });
        // Who polls a device calls back those who wait for its own queue.
        wait(self.device()).map_err(|description| self.blame(RunError::Submit { description }))?;
        // Or another thread does, which was faster.
        if told.recv_timeout(CALLED_BACK).is_err() {
            return Err(self.blame(RunError::ForeignQueue));
        }
        self.owns_queue.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn choose(name: Option<String>) -> Result<Self, Error> {
        let by_environment = name.is_none();
        let wanted = wanted_name(name);
        let adapters = candidates().await;
        let best = adapters.iter().find(|adapter| refusal(adapter, wanted.as_deref()).is_none());
        let Some(adapter) = best else { return Err(missing(&adapters, wanted, by_environment).into()) };
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgpu-norm"),
            required_features: features_for(adapter),
            required_limits: limits_for(adapter),
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|error| RunError::NoDevice { adapter: info.name.clone(), description: error.to_string() })?;
        let lost = Arc::new(Mutex::new(None));
        let record = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            *record.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{reason:?}: {message}"));
        });
        let owns_queue = Arc::new(AtomicBool::new(true));
        Ok(Self { info, queue, context: Context::new(&device), lost, owns_queue })
    }
}

/// How long a callback may be in the hands of a thread that is about to call it.
const CALLED_BACK: std::time::Duration = std::time::Duration::from_secs(1);

/// The requested name: the caller's, or else that of the environment.
fn wanted_name(name: Option<String>) -> Option<String> {
    name.or_else(|| std::env::var("WGPU_ADAPTER_NAME").ok()).filter(|name| !name.is_empty())
}

/// One for the process on native: buffers of two instances look alike to wgpu, those of two devices of one do not.
#[cfg(not(target_arch = "wasm32"))]
fn instance() -> &'static wgpu::Instance {
    static INSTANCE: std::sync::OnceLock<wgpu::Instance> = std::sync::OnceLock::new();
    INSTANCE.get_or_init(|| wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env()))
}

#[cfg(target_arch = "wasm32")]
fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env())
}

/// All adapters, best first.
async fn candidates() -> Vec<wgpu::Adapter> {
    if wgpu::Instance::enabled_backend_features().is_empty() {
        return Vec::new();
    }
    let instance = instance();
    let low_power = wgpu::PowerPreference::from_env() == Some(wgpu::PowerPreference::LowPower);
    #[cfg(not(target_arch = "wasm32"))]
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    #[cfg(target_arch = "wasm32")]
    let mut adapters: Vec<_> = instance.request_adapter(&Default::default()).await.into_iter().collect();
    // Stable: adapters of one type stay in the order of the backend.
    adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type, low_power));
    adapters
}

fn rank(device_type: wgpu::DeviceType, low_power: bool) -> u8 {
    use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
    match (device_type, low_power) {
        (DiscreteGpu, false) | (IntegratedGpu, true) => 0,
        (DiscreteGpu, true) | (IntegratedGpu, false) => 1,
        (VirtualGpu, _) => 2,
        (Other, _) => 3,
        (Cpu, _) => 4,
    }
}

fn is_named(name: &str, wanted: &str) -> bool {
    name.to_lowercase().contains(&wanted.to_lowercase())
}

/// Why an adapter cannot be used, in words for [`Gpu::adapters`], which respects the environment.
fn refusal(adapter: &wgpu::Adapter, wanted: Option<&str>) -> Option<String> {
    let name = adapter.get_info().name;
    if let Some(wanted) = wanted.filter(|wanted| !is_named(&name, wanted)) {
        return Some(format!("its name does not contain {wanted:?}, which is WGPU_ADAPTER_NAME"));
    }
    let flags = adapter.get_downlevel_capabilities().flags;
    if !flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
        return Some("it has no compute shaders".to_owned());
    }
    None
}

fn report(adapter: &wgpu::Adapter, wanted: Option<&str>) -> AdapterReport {
    AdapterReport {
        info: adapter.get_info(),
        features: adapter.features(),
        limits: adapter.limits(),
        chosen: false,
        refused: refusal(adapter, wanted),
    }
}

fn describe(info: &wgpu::AdapterInfo) -> String {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    };
    let driver = format!("{} {}", info.driver, info.driver_info);
    // Browsers keep most of it to themselves.
    let name = if info.name.is_empty() { "an adapter without a name" } else { &info.name };
    let driver = if driver.trim().is_empty() { String::new() } else { format!(", driver {}", driver.trim()) };
    format!("{name}, {:?}, {kind}{driver}", info.backend)
}

/// That no adapter will do: none of that name, or none at all.
fn missing(adapters: &[wgpu::Adapter], wanted: Option<String>, by_environment: bool) -> RunError {
    let is_named = |wanted: &String| adapters.iter().any(|adapter| is_named(&adapter.get_info().name, wanted));
    match wanted.filter(|wanted| !adapters.is_empty() && !is_named(wanted)) {
        Some(name) => {
            let there = adapters.iter().map(|adapter| describe(&adapter.get_info())).collect();
            RunError::NoSuchAdapter { name, by_environment, there }
        }
        None => RunError::NoAdapter { why: explain(adapters) },
    }
}

/// What there is, with what to do where there is nothing.
fn explain(adapters: &[wgpu::Adapter]) -> String {
    if wgpu::Instance::enabled_backend_features().is_empty() {
        return "this program was built without any backend of wgpu: turn on the feature backends, or wgpu's own"
            .to_owned();
    }
    // Set, they are the likelier cause than a driver that is not installed.
    let variables = ["WGPU_BACKEND", "VK_ICD_FILENAMES", "VK_DRIVER_FILES"];
    let set: Vec<_> = variables
        .into_iter()
        .filter_map(|name| Some(format!("{name}={}", std::env::var_os(name)?.to_string_lossy())))
        .collect();
    if adapters.is_empty() && !set.is_empty() {
        return format!("wgpu found none, and the environment chooses where it looks: {}", set.join(", "));
    }
    if adapters.is_empty() {
        return if cfg!(target_arch = "wasm32") {
            "wgpu found none: this browser has no WebGPU here, or it is turned off".to_owned()
        } else if cfg!(target_os = "linux") {
            "wgpu found none. Install a Vulkan driver; without a GPU, Mesa's software Vulkan will do: on Debian or Ubuntu \
             `apt-get install -y --no-install-recommends mesa-vulkan-drivers`"
                .to_owned()
        } else {
            "wgpu found none; is the graphics driver installed?".to_owned()
        };
    }
    let refused = adapters.iter().filter_map(|adapter| {
        let why = refusal(adapter, None)?;
        Some(format!("{} ({why})", describe(&adapter.get_info())))
    });
    format!("none of these will do: {}", refused.collect::<Vec<_>>().join("; "))
}
