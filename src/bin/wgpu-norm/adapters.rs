//! `wgpu-norm adapters`: what this machine has to compute on.

use serde_json::{Map, Value, json};
use wgpu_norm::wgpu::{AdapterInfo, Features};
use wgpu_norm::{AdapterReport, Cpu, Engine, Error, Gpu, RunError};

use crate::cli::{Adapters, Device, Place};
use crate::failure::{Failure, chain, print};
use crate::progress::Progress;

pub(crate) fn run(options: &Adapters) -> Result<(), Failure> {
    let (reports, engine) = {
        let _progress = Progress::spinner("looking for adapters".to_owned());
        (Gpu::adapters_blocking(), Engine::new_blocking())
    };
    let by_itself = engine.as_ref().ok();
    let takes_cpu = by_itself.is_some_and(|engine| engine.cpu().is_some());
    let cpu = Cpu::new().describe();
    print(&if options.json {
        let adapters: Vec<Value> = reports.iter().map(json_of).collect();
        let device = by_itself.map(device);
        format!(
            "{}\n",
            json!({ "adapters": adapters, "cpu": cpu, "device": device, "reason": by_itself.map(Engine::reason) })
        )
    } else {
        let adapters: String = reports.iter().map(|report| text_of(report, takes_cpu) + "\n").collect();
        match by_itself.filter(|_| takes_cpu) {
            Some(engine) => format!("{adapters}{cpu}, used by --device auto and cpu: {}\n", engine.reason()),
            None => format!("{adapters}{cpu}, used by --device cpu\n"),
        }
    })?;
    if reports.iter().any(|report| report.chosen) {
        return Ok(());
    }
    // The library knows what to do about that.
    let why = Gpu::new_blocking().err().map_or_else(|| "no adapter is used".to_owned(), |error| chain(&error));
    Err(Failure::NoAdapter(why))
}

/// The adapter that is used, or the one that is named.
pub(crate) fn start(name: Option<&str>) -> Result<Gpu, Failure> {
    let _progress = Progress::spinner("starting the GPU".to_owned());
    match name {
        Some(name) => Gpu::with_adapter_blocking(name),
        None => Gpu::new_blocking(),
    }
    .map_err(|error| refused(&error, name))
}

/// The GPU or the CPU, as is asked for.
pub(crate) fn engine(place: &Place) -> Result<Engine, Failure> {
    let name = place.adapter.as_deref();
    match place.device {
        Device::Cpu if name.is_some() => {
            Err(Failure::Usage("--adapter names what --device cpu, or WGPU_NORM_DEVICE=cpu, has no use for".to_owned()))
        }
        Device::Cpu => Ok(Cpu::new().into()),
        Device::Auto if name.is_none() => {
            let _progress = Progress::spinner("looking for a GPU".to_owned());
            Engine::new_blocking().map_err(|error| refused(&error, None))
        }
        Device::Auto | Device::Gpu => Ok(start(name)?.into()),
    }
}

/// Why no device was had of the adapter that is named, or of any.
pub(crate) fn refused(error: &Error, name: Option<&str>) -> Failure {
    let text = chain(error);
    match error {
        Error::Run(RunError::NoSuchAdapter { .. }) if name.is_some() => {
            Failure::NoAdapter(format!("--adapter: {text}"))
        }
        Error::Run(RunError::NoAdapter { .. } | RunError::NoSuchAdapter { .. } | RunError::NoDevice { .. }) => {
            Failure::NoAdapter(text)
        }
        _ => Failure::Failed(text),
    }
}

/// The value of `--device` that asks for it.
pub(crate) fn device(engine: &Engine) -> &'static str {
    if engine.gpu().is_some() { "gpu" } else { "cpu" }
}

/// What tells the CPU from adapters.
pub(crate) fn identity_of_cpu(cpu: &Cpu) -> Map<String, Value> {
    let fields = [("name", cpu.describe()), ("type", "CPU".to_owned())];
    fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}

/// What tells an adapter from others.
pub(crate) fn identity(info: &AdapterInfo) -> Map<String, Value> {
    [
        ("name", info.name.as_str()),
        ("type", kind(info)),
        ("backend", info.backend.to_str()),
        ("driver", &info.driver),
        ("driver_info", &info.driver_info),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), json!(value)))
    .collect()
}

fn kind(info: &AdapterInfo) -> &'static str {
    use wgpu_norm::wgpu::DeviceType;
    match info.device_type {
        DeviceType::DiscreteGpu => "discrete GPU",
        DeviceType::IntegratedGpu => "integrated GPU",
        DeviceType::VirtualGpu => "virtual GPU",
        DeviceType::Cpu => "software",
        DeviceType::Other => "other",
    }
}

/// The limits that bound what a norm can do here, and how.
fn limits(report: &AdapterReport) -> [(&'static str, u64); 9] {
    let limits = &report.limits;
    [
        ("max_buffer_size", limits.max_buffer_size),
        ("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size),
        ("max_storage_buffers_per_shader_stage", limits.max_storage_buffers_per_shader_stage.into()),
        ("max_compute_workgroups_per_dimension", limits.max_compute_workgroups_per_dimension.into()),
        ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup.into()),
        ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x.into()),
        ("max_compute_workgroup_storage_size", limits.max_compute_workgroup_storage_size.into()),
        ("min_storage_buffer_offset_alignment", limits.min_storage_buffer_offset_alignment.into()),
        ("min_uniform_buffer_offset_alignment", limits.min_uniform_buffer_offset_alignment.into()),
    ]
}

/// What decides how norms run on an adapter: its subgroups and limits.
pub(crate) fn abilities(report: &AdapterReport) -> Map<String, Value> {
    let limits: Map<String, Value> =
        limits(report).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    [
        ("subgroups", json!(report.features.contains(Features::SUBGROUP))),
        ("subgroup_min_size", json!(report.info.subgroup_min_size)),
        ("subgroup_max_size", json!(report.info.subgroup_max_size)),
        ("f16", json!(report.features.contains(Features::SHADER_F16))),
        ("limits", Value::Object(limits)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn json_of(report: &AdapterReport) -> Value {
    let mut object = identity(&report.info);
    let found = [("used", json!(report.chosen)), ("refused", json!(report.refused))];
    object.extend(found.map(|(key, value)| (key.to_owned(), value)));
    object.extend(abilities(report));
    Value::Object(object)
}

fn text_of(report: &AdapterReport, auto_takes_cpu: bool) -> String {
    let info = &report.info;
    let mut text = format!("{} ({}, {})", info.name, kind(info), info.backend.to_str());
    if report.chosen {
        text.push_str(if auto_takes_cpu { ", used by --device gpu" } else { ", used by --device auto and gpu" });
    }
    text.push('\n');
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:38}{value}\n"));
    if let Some(reason) = &report.refused {
        line("cannot be used", reason);
    }
    match format!("{} {}", info.driver, info.driver_info).trim() {
        "" => line("driver", "unknown"),
        driver => line("driver", driver),
    }
    let subgroups = match (info.subgroup_min_size, info.subgroup_max_size) {
        _ if !report.features.contains(Features::SUBGROUP) => "no".to_owned(),
        (min, max) if min == max => format!("of {min}"),
        (min, max) => format!("of {min} to {max}"),
    };
    line("subgroups", &subgroups);
    line("f16", if report.features.contains(Features::SHADER_F16) { "yes" } else { "no" });
    for (name, value) in limits(report) {
        line(name, &value.to_string());
    }
    text
}
