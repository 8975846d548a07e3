//! Every shader the library can compose, through naga and each of its backends. No adapter needed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use naga::back::{glsl, hlsl, msl, pipeline_constants, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};
use wgpu_norm::{ShaderVariant, shader_variants};

use crate::support::thorough;

/// The storage buffers that every WebGPU device has.
const STORAGE_BUFFERS: usize = 8;

/// The bytes of workgroup memory that every WebGPU device has.
const WORKGROUP_BYTES: u32 = 16_384;

/// Shaders there are: most of f32, one of each kind for each way to store tensors in 16 bits and for a residual, and one of each kind of
/// gradient that takes the bias, after an activation, and one of each kind that scale and shift follow. Twelve
/// of them sum along rows as well as down columns, which spares a reading of x and dy.
/// Sixty are of rows of 16-bit elements whose width is no multiple of four, as such rows take all kernels that others take.
/// Fifty are of columns that are groups, in one dispatch in place of three or five.
const MOST_SHADERS: usize = 1435;

fn shuffles(variant: &ShaderVariant) -> bool {
    variant.source.contains("subgroupShuffle")
}

/// Runs `check` on every variant, on every core.
fn each(check: impl Fn(&ShaderVariant) + Sync) {
    let variants = shader_variants();
    assert!(variants.len() > 100, "{}", variants.len());
    each_of(&variants, check);
}

fn each_of(variants: &[ShaderVariant], check: impl Fn(&ShaderVariant) + Sync) {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(variant) = variants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(variant);
                }
            });
        }
    });
}

/// As wgpu does when it is given a shader: nothing beyond the core of WGSL, but for subgroups where they are used. (Halves in words
/// are of the core; naga asks for them, since some OpenGL has none.)
fn validated(variant: &ShaderVariant) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(&variant.source)
        .unwrap_or_else(|error| panic!("{}: {}", variant.name, error.emit_to_string(&variant.source)));
    let subgroups = if shuffles(variant) { Capabilities::SUBGROUP } else { Capabilities::empty() };
    let info = Validator::new(ValidationFlags::all(), subgroups | Capabilities::SHADER_FLOAT16_IN_FLOAT32)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{}: {}", variant.name, error.emit_to_string(&variant.source)));
    (module, info)
}

/// As wgpu does when it makes a pipeline: constants in, text out.
fn through_every_backend(variant: &ShaderVariant, constants: &[(&str, f64)]) {
    let (module, info) = validated(variant);
    let entry = (ShaderStage::Compute, variant.entry_point.to_owned());
    let constants = constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let (module, info) =
        pipeline_constants::process_overrides(&module, &info, Some((entry.0, entry.1.as_str())), &constants)
            .unwrap_or_else(|error| panic!("{} {constants:?}: {error:?}", variant.name));
    let wrong = |to: &str, error: &dyn std::fmt::Debug| -> ! { panic!("{} to {to}: {error:?}", variant.name) };
    let policies = BoundsCheckPolicies {
        index: BoundsCheckPolicy::Restrict,
        buffer: BoundsCheckPolicy::Restrict,
        ..Default::default()
    };
    let subgroups = shuffles(variant);

    let mut allowed = vec![spv::Capability::Shader, spv::Capability::Matrix];
    if subgroups {
        allowed.extend([
            spv::Capability::GroupNonUniform,
            spv::Capability::GroupNonUniformVote,
            spv::Capability::GroupNonUniformArithmetic,
            spv::Capability::GroupNonUniformBallot,
            spv::Capability::GroupNonUniformShuffle,
            spv::Capability::GroupNonUniformShuffleRelative,
            spv::Capability::GroupNonUniformQuad,
        ]);
    }
    let options = spv::Options {
        // Vulkan 1.0, and 1.1 where there are subgroups.
        lang_version: if subgroups { (1, 3) } else { (1, 0) },
        capabilities: Some(allowed.into_iter().collect()),
        bounds_check_policies: policies,
        force_loop_bounding: false,
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions { shader_stage: entry.0, entry_point: entry.1.clone() };
    match spv::write_vec(&module, &info, &options, Some(&pipeline)) {
        Ok(words) => assert_eq!(words.first(), Some(&0x0723_0203), "{}: no SPIR-V", variant.name),
        Err(error) => wrong("SPIR-V", &error),
    }

    let options = msl::Options {
        // The first with SIMD group functions, and the first that knows its buffers' sizes.
        lang_version: if subgroups { (2, 1) } else { (1, 2) },
        bounds_check_policies: policies,
        force_loop_bounding: false,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions { entry_point: Some(entry.clone()), ..Default::default() };
    match msl::write_string(&module, &info, &options, &pipeline) {
        Ok((text, translated)) => {
            assert!(text.contains("kernel void"), "{}\n{text}", variant.name);
            for name in translated.entry_point_names {
                name.unwrap_or_else(|error| wrong("MSL", &error));
            }
        }
        Err(error) => wrong("MSL", &error),
    }

    let shader_model = if subgroups { hlsl::ShaderModel::V6_0 } else { hlsl::ShaderModel::V5_1 };
    let options = hlsl::Options { shader_model, force_loop_bounding: false, ..Default::default() };
    let pipeline = hlsl::PipelineOptions { entry_point: Some(entry.clone()) };
    let mut text = String::new();
    match hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None) {
        Ok(reflected) => {
            for name in reflected.entry_point_names {
                name.unwrap_or_else(|error| wrong("HLSL", &error));
            }
        }
        Err(error) => wrong("HLSL", &error),
    }
    assert!(text.contains("numthreads"), "{}\n{text}", variant.name);

    for version in [glsl::Version::new_gles(310), glsl::Version::Desktop(430)] {
        let options = glsl::Options { version, ..Default::default() };
        let pipeline = glsl::PipelineOptions { shader_stage: entry.0, entry_point: entry.1.clone(), multiview: None };
        let mut text = String::new();
        match glsl::Writer::new(&mut text, &module, &info, &options, &pipeline, policies) {
            Ok(mut writer) => {
                writer.write().unwrap_or_else(|error| wrong("GLSL", &error));
            }
            Err(error) => wrong("GLSL", &error),
        }
        assert!(text.contains("void main()"), "{}\n{text}", variant.name);
    }
}

#[test]
fn each_has_a_name_of_its_own() {
    let variants = shader_variants();
    let names: BTreeSet<&str> = variants.iter().map(|variant| variant.name.as_str()).collect();
    assert_eq!(names.len(), variants.len());
    for name in names {
        // `cargo xtask` and others make files of them.
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)), "{name}");
    }
}

/// A name that says what is inside, so that a failure anywhere here can be read.
#[test]
fn the_name_says_how_lanes_exchange() {
    for variant in shader_variants() {
        assert_eq!(variant.name.contains("-subgroup-"), shuffles(&variant), "{}", variant.name);
        let barriers = variant.source.contains("workgroupBarrier()");
        assert_eq!(variant.name.contains("-alone-"), !barriers, "{}", variant.name);
    }
}

#[test]
fn each_compiles_for_every_backend() {
    each(|variant| through_every_backend(variant, &variant.constants));
}

/// The other values of the constants: RMS norm, compilers that keep subtractions, lanes within one subgroup.
#[test]
fn each_compiles_with_the_other_constants() {
    let variants: Vec<_> = shader_variants().into_iter().step_by(if thorough() { 1 } else { 4 }).collect();
    each_of(&variants, |variant| {
        let exchanges = !variant.name.contains("-alone-");
        let constants: Vec<(&str, f64)> = variant
            .constants
            .iter()
            .map(|&(name, value)| match name {
                "workgroup_size" => (name, 64.0),
                "lanes" => (name, if exchanges { 8.0 } else { 1.0 }),
                "subtract_mean" | "hide_subtractions" => (name, 0.0),
                "smallest_subgroup" => (name, 8.0),
                "whole" | "bfloat" | "exact_pack" | "round_before_weight" => (name, 1.0 - value),
                "scaling" => (name, 3.0),
                _ => (name, value),
            })
            .collect();
        through_every_backend(variant, &constants);
    });
}

/// A constant that is not among these would keep its default, which fits one device only by luck.
#[test]
fn each_is_given_all_of_its_constants() {
    each(|variant| {
        let (module, _) = validated(variant);
        let mut declared: Vec<&str> =
            module.overrides.iter().filter_map(|(_, constant)| constant.name.as_deref()).collect();
        let mut given: Vec<&str> = variant.constants.iter().map(|&(name, _)| name).collect();
        declared.sort_unstable();
        given.sort_unstable();
        assert_eq!(given, declared, "{}", variant.name);
    });
}

/// What any WebGPU device allows, and bindings without a gap from the uniform at 0 on.
#[test]
fn each_stays_within_the_least_limits() {
    each(|variant| {
        let (module, info) = validated(variant);
        let entry = module.entry_points.iter().position(|entry| entry.name == variant.entry_point).unwrap();
        let used = info.get_entry_point(entry);
        let mut bindings = Vec::new();
        let mut storage = 0;
        let mut workgroup = 0;
        for (handle, variable) in module.global_variables.iter() {
            let unused = used[handle].is_empty();
            match variable.space {
                AddressSpace::Uniform => {
                    let binding = variable.binding.unwrap();
                    assert_eq!((binding.group, binding.binding), (0, 0), "{}", variant.name);
                    bindings.push(binding.binding);
                }
                AddressSpace::Storage { .. } => {
                    let binding = variable.binding.unwrap();
                    assert_eq!(binding.group, 0, "{}", variant.name);
                    bindings.push(binding.binding);
                    storage += 1;
                    // Bound for nothing: it costs a slot, and y would seem to depend on it.
                    assert!(!unused, "{}: {:?} is never used", variant.name, variable.name);
                }
                // As long as the default of the override, the largest workgroup.
                AddressSpace::WorkGroup => workgroup += module.types[variable.ty].inner.size(module.to_ctx()),
                AddressSpace::Private => {}
                space => panic!("{}: {space:?}", variant.name),
            }
        }
        bindings.sort_unstable();
        assert!(bindings.iter().copied().eq(0..=storage), "{}: {bindings:?}", variant.name);
        assert!(storage as usize <= STORAGE_BUFFERS, "{}: {storage} storage buffers", variant.name);
        let size = variant.constants.iter().find(|(name, _)| *name == "workgroup_size").map_or(0.0, |(_, size)| *size);
        assert!((1.0..=512.0).contains(&size), "{}: {size}", variant.name);
        assert!(workgroup <= WORKGROUP_BYTES, "{}: {workgroup}", variant.name);
    });
}

/// In place there is one binding for both, since wgpu takes no buffer as read and written in one dispatch.
#[test]
fn tensors_of_one_place_are_bound_once() {
    let variants = shader_variants();
    let in_place: Vec<_> = variants.iter().filter(|variant| variant.name.contains("_in_")).collect();
    assert!(!in_place.is_empty());
    for variant in in_place {
        for pair in variant.name.split('-').filter(|part| part.contains("_in_")) {
            let (of, by) = pair.split_once("_in_").unwrap();
            assert!(!variant.source.contains(&format!("> {of}_data:")), "{}", variant.name);
            assert!(variant.source.contains(&format!("> {by}_data:")), "{}", variant.name);
        }
    }
}

/// Each has to be compiled, and tested by somebody: more of them are a decision.
#[test]
fn there_are_not_too_many() {
    assert!(shader_variants().len() <= MOST_SHADERS, "{}", shader_variants().len());
}

/// A driver's "line 312" leads to a file.
#[test]
fn every_part_says_its_file() {
    for variant in shader_variants().iter().step_by(50) {
        let starts = variant.source.match_indices("// shaders/").map(|(at, _)| at);
        let parts: Vec<&str> = starts.map(|at| variant.source[at..].lines().next().unwrap()).collect();
        assert!(parts.iter().any(|part| part.starts_with("// shaders/kernels/")), "{}", variant.name);
        for part in parts {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(part.trim_start_matches("// "));
            let text = std::fs::read_to_string(path).unwrap();
            assert!(variant.source.contains(&format!("{part}\n{text}")), "{part} of {}", variant.name);
        }
    }
}
