//! How long compilers take over the largest shaders: naga, the driver of the adapter that wgpu finds, and Chromium's Tint with SwiftShader.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use naga::ShaderStage::Compute;
use naga::back::{hlsl, msl, pipeline_constants};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module};
use serde_json::{Value, json};
use wgpu_norm::{ShaderVariant, limits_for, shader_variants, wgpu};

use crate::{Result, browser, entry};

/// How many shaders, each the largest of its kernel.
const SHADERS: usize = 8;

/// Each time is the least of so many: whatever else a machine does adds to it.
const ROUNDS: usize = 5;

/// More than any shader's uniforms.
const BINDING_BYTES: u64 = 1 << 16;

/// How long the browser may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What compiled, and the table, as Markdown.
pub fn table() -> Result<String> {
    let shaders = largest();
    let titles = ["shader", "WGSL", "naga reads", "to HLSL", "HLSL", "to MSL", "MSL", "driver: pipeline", "dispatch"];
    let mut titles = titles.to_vec();
    let (mut compilers, by_driver) = pollster::block_on(by_driver(&shaders))?;
    let mut rows = Vec::new();
    for (shader, cells) in shaders.iter().zip(by_driver) {
        let mut row = by_naga(shader)?;
        row.extend(cells);
        rows.push(row);
    }
    match by_browser(&shaders) {
        Ok((browser, by_browser)) => {
            compilers = format!("{compilers}; {browser}");
            titles.extend(["browser: module", "pipeline"]);
            rows.iter_mut().zip(by_browser).for_each(|(row, cells)| row.extend(cells));
        }
        Err(error) => eprintln!("note: the table is without a browser: {error}"),
    }
    let mut text = format!("{compilers}\n\n| {} |\n|---{}|\n", titles.join(" | "), "|--:".repeat(titles.len() - 1));
    for row in rows {
        writeln!(text, "| {} |", row.join(" | "))?;
    }
    Ok(text)
}

/// Those without subgroups, which Direct3D's old compiler does not have.
fn largest() -> Vec<ShaderVariant> {
    let mut kernels = BTreeMap::<String, ShaderVariant>::new();
    for shader in shader_variants().into_iter().filter(|shader| !shader.source.contains("subgroupShuffle")) {
        let kernel = kernel(&shader).to_owned();
        if kernels.get(&kernel).is_none_or(|other| other.source.len() < shader.source.len()) {
            kernels.insert(kernel, shader);
        }
    }
    let mut all: Vec<ShaderVariant> = kernels.into_values().collect();
    all.sort_by_key(|shader| std::cmp::Reverse(shader.source.len()));
    all.truncate(SHADERS);
    all
}

fn kernel(shader: &ShaderVariant) -> &str {
    shader.name.split('-').next().unwrap_or_default()
}

fn read(shader: &ShaderVariant) -> Result<(Module, ModuleInfo)> {
    let module = naga::front::wgsl::parse_str(&shader.source)?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32).validate(&module)?;
    Ok((module, info))
}

/// As wgpu does, with the constants in, and checks of bounds.
fn by_naga(shader: &ShaderVariant) -> Result<Vec<String>> {
    let (reading, (module, info)) = least(|| read(shader))?;
    let entry = (Compute, shader.entry_point.to_owned());
    let constants = shader.constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let whole = || -> Result<_> {
        let entry = Some((Compute, shader.entry_point));
        Ok(pipeline_constants::process_overrides(&module, &info, entry, &constants)?)
    };
    let (to_hlsl, hlsl) = least(|| {
        let (module, info) = whole()?;
        let options =
            hlsl::Options { zero_initialize_workgroup_memory: false, force_loop_bounding: false, ..Default::default() };
        let mut text = String::new();
        let pipeline = hlsl::PipelineOptions { entry_point: Some(entry.clone()) };
        hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None)?;
        Ok(text)
    })?;
    let (to_msl, (msl, _)) = least(|| {
        let (module, info) = whole()?;
        let pipeline = msl::PipelineOptions { entry_point: Some(entry.clone()), ..Default::default() };
        let options = msl::Options {
            lang_version: (2, 0),
            bounds_check_policies: BoundsCheckPolicies {
                index: BoundsCheckPolicy::Restrict,
                buffer: BoundsCheckPolicy::Restrict,
                ..Default::default()
            },
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: false,
            ..Default::default()
        };
        Ok(msl::write_string(&module, &info, &options, &pipeline)?)
    })?;
    Ok(vec![
        format!("`{}`", shader.name.split("-from").next().unwrap_or_default()),
        size(&shader.source),
        milliseconds(reading),
        milliseconds(to_hlsl),
        size(&hlsl),
        milliseconds(to_msl),
        size(&msl),
    ])
}

/// wgpu's pipeline, and its first dispatch, of no workgroup: some drivers compile only then. Gives the adapter's name, too.
async fn by_driver(shaders: &[ShaderVariant]) -> Result<(String, Vec<[String; 2]>)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = wgpu::util::initialize_adapter_from_env_or_default(&instance, None).await?;
    let required_limits = limits_for(&adapter);
    let (device, queue) =
        adapter.request_device(&wgpu::DeviceDescriptor { required_limits, ..Default::default() }).await?;
    let mut cells = Vec::new();
    for shader in shaders {
        let (module, _) = read(shader)?;
        let bindings = module.global_variables.iter().filter_map(|(_, variable)| {
            let usage = match variable.space {
                AddressSpace::Uniform => wgpu::BufferUsages::UNIFORM,
                _ => wgpu::BufferUsages::STORAGE,
            };
            let descriptor =
                wgpu::BufferDescriptor { label: None, size: BINDING_BYTES, usage, mapped_at_creation: false };
            variable.binding.map(|at| (at.binding, device.create_buffer(&descriptor)))
        });
        let buffers: Vec<(u32, wgpu::Buffer)> = bindings.collect();
        let entries: Vec<_> = buffers
            .iter()
            .map(|&(binding, ref buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(shader.source.as_str().into()),
        };
        let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
        // SAFETY: the library's own shaders, whose loops all end, and as it compiles them.
        let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
        let (mut creation, mut dispatch) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &module,
                entry_point: Some(shader.entry_point),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &shader.constants,
                    zero_initialize_workgroup_memory: false,
                },
                cache: None,
            });
            creation = creation.min(start.elapsed());
            let layout = &pipeline.get_bind_group_layout(0);
            let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });
            let mut encoder = device.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, &group, &[]);
                pass.dispatch_workgroups(0, 1, 1);
            }
            let start = Instant::now();
            queue.submit([encoder.finish()]);
            device.poll(wgpu::PollType::wait_indefinitely())?;
            dispatch = dispatch.min(start.elapsed());
        }
        cells.push([milliseconds(creation), milliseconds(dispatch)]);
    }
    let wgpu::AdapterInfo { name, driver_info, .. } = adapter.get_info();
    Ok((format!("{name}, {driver_info}").trim_end_matches(", ").to_owned(), cells))
}

/// WebGPU's module until its messages are there, and its pipeline. Gives the browser's name, too.
fn by_browser(shaders: &[ShaderVariant]) -> Result<(String, Vec<[String; 2]>)> {
    let jobs: Vec<Value> = shaders
        .iter()
        .map(|shader| {
            let mut job = entry(kernel(shader), shader);
            job["source"] = json!(shader.source);
            job
        })
        .collect();
    let page = include_str!("times.html").replace("ROUNDS", &ROUNDS.to_string());
    let page = page.replace("SHADERS", &json!(jobs).to_string());
    let browser = browser::find(None)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = format!("http://localhost:{}/", listener.local_addr()?.port());
    let mut opened = browser::Opened::new(&browser, &address)?;
    let end = Instant::now() + PATIENCE;
    let found = loop {
        // A browser connects before it has something to say, and may not say it then.
        match listener.accept().map_err(Into::into).and_then(|(stream, _)| {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(Duration::from_millis(500)))?;
            answer(stream, &page)
        }) {
            Ok(Some(found)) => break found,
            Ok(None) => {}
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
        if let Some(status) = opened.ended()? {
            return Err(format!("{} ended before the page was done ({status})", browser.display()).into());
        }
        if Instant::now() > end {
            return Err(format!("the page was not done after {} seconds", PATIENCE.as_secs()).into());
        }
    };
    let (Some(name), Some(times)) = (found["name"].as_str(), found["times"].as_array()) else {
        return Err(found["error"].as_str().unwrap_or("the page sent no times").into());
    };
    let cell = |time: &Value| milliseconds(Duration::from_secs_f64(time.as_f64().unwrap_or_default().max(0.0) / 1e3));
    Ok((name.to_owned(), times.iter().map(|times| [cell(&times["module"]), cell(&times["pipeline"])]).collect()))
}

/// Gives the page, or takes what it found.
fn answer(mut stream: std::net::TcpStream, page: &str) -> Result<Option<Value>> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length, mut posted) = (String::new(), 0, false);
    while reader.read_line(&mut line)? > 2 {
        posted |= line.starts_with("POST ");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        line.clear();
    }
    let body = if posted { "" } else { page };
    let found = if posted { Some(serde_json::from_reader(reader.take(length))?) } else { None };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(found)
}

fn least<T>(work: impl Fn() -> Result<T>) -> Result<(Duration, T)> {
    let mut best = Duration::MAX;
    let mut last = None;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let made = work()?;
        best = best.min(start.elapsed());
        last = Some(made);
    }
    last.map(|made| (best, made)).ok_or_else(|| "no rounds".into())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn size(text: &str) -> String {
    format!("{:.1} KB, {}", text.len() as f64 / 1e3, text.lines().count())
}
