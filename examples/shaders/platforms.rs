//! Adapters that are not at hand, as wgpu sees them under Mesa's drivers, with norms to plan for them. `platforms.json` has objects of
//! `wgpu-norm adapters --json`, each with a name.

use serde_json::Value;
use wgpu_norm::{
    Activation, Backward, BatchNorm, Capabilities, Element, GroupNorm, InstanceNorm, LayerNorm, Modulation, Norm,
    RmsNorm, Strides, wgpu,
};

pub struct Platform {
    pub name: String,
    pub capabilities: Capabilities,
}

/// All of the file.
pub fn platforms() -> Vec<Platform> {
    let list: Vec<Value> = serde_json::from_str(include_str!("platforms.json")).unwrap();
    list.iter().map(platform).collect()
}

fn platform(adapter: &Value) -> Platform {
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("a number is missing in {adapter}"));
    let small = |value: &Value| u32::try_from(number(value)).unwrap();
    let limit = |name: &str| &adapter["limits"][name];
    let limits = wgpu::Limits {
        max_buffer_size: number(limit("max_buffer_size")),
        max_storage_buffer_binding_size: number(limit("max_storage_buffer_binding_size")),
        max_storage_buffers_per_shader_stage: small(limit("max_storage_buffers_per_shader_stage")),
        max_compute_workgroups_per_dimension: small(limit("max_compute_workgroups_per_dimension")),
        max_compute_invocations_per_workgroup: small(limit("max_compute_invocations_per_workgroup")),
        max_compute_workgroup_size_x: small(limit("max_compute_workgroup_size_x")),
        max_compute_workgroup_storage_size: small(limit("max_compute_workgroup_storage_size")),
        min_storage_buffer_offset_alignment: small(limit("min_storage_buffer_offset_alignment")),
        min_uniform_buffer_offset_alignment: small(limit("min_uniform_buffer_offset_alignment")),
        ..wgpu::Limits::default()
    };
    let mut capabilities = Capabilities::from_limits(&limits);
    let subgroups = adapter["subgroups"].as_bool().unwrap();
    capabilities.subgroup_sizes =
        subgroups.then(|| (small(&adapter["subgroup_min_size"]), small(&adapter["subgroup_max_size"])));
    // All are of Vulkan.
    capabilities.software = adapter["type"] == "software";
    capabilities.reassociates = !capabilities.software;
    Platform { name: adapter["platform"].as_str().unwrap().to_owned(), capabilities }
}

/// Norms with a title each, and what is asked of them backward. Those of decoding are planned to be batch invariant as well.
pub fn norms() -> Vec<(&'static str, Box<dyn Norm>, Option<Backward>)> {
    fn layer(rows: usize, width: usize) -> Box<dyn Norm> {
        Box::new(LayerNorm::new(&[rows, width], &[width]).unwrap())
    }
    let all = Some(Backward::new().saved_statistics());
    let gates = all.map(Backward::with_gate);
    vec![
        ("LayerNorm 4096x768", layer(4096, 768), all),
        ("LayerNorm 4096x767", layer(4096, 767), all),
        ("LayerNorm 2048x4096", layer(2048, 4096), all),
        ("LayerNorm 512x16384", layer(512, 16_384), all),
        ("LayerNorm 65536x64", layer(65_536, 64), all),
        ("LayerNorm 8x3000000", layer(8, 3_000_000), all),
        ("LayerNorm 1x4096", layer(1, 4096), None),
        ("LayerNorm 8x4096", layer(8, 4096), None),
        ("LayerNorm 16x8192", layer(16, 8192), None),
        ("LayerNorm over channels 32x96x56x56", Box::new(LayerNorm::over_axes(&[32, 96, 56, 56], &[1]).unwrap()), all),
        ("RmsNorm 2048x4096", Box::new(RmsNorm::new(&[2048, 4096], &[4096]).unwrap()), all),
        ("GroupNorm(32) 8x256x32x32", Box::new(GroupNorm::channels_first(&[8, 256, 32, 32], 32).unwrap()), all),
        ("GroupNorm(32) 8x32x32x256", Box::new(GroupNorm::channels_last(&[8, 32, 32, 256], 32).unwrap()), all),
        ("InstanceNorm 32x8x64", Box::new(InstanceNorm::channels_last(&[32, 8, 64]).unwrap()), all),
        ("BatchNorm train 32x64x56x56", Box::new(BatchNorm::channels_first(&[32, 64, 56, 56]).unwrap()), all),
        ("BatchNorm train 100352x64", Box::new(BatchNorm::channels_last(&[100_352, 64]).unwrap()), all),
        (
            "BatchNorm eval 100352x64",
            Box::new(BatchNorm::channels_last(&[100_352, 64]).unwrap().eval()),
            Some(Backward::new()),
        ),
        ("LayerNorm 4096x768, f16", Box::new(layer(4096, 768).stored_as(Element::F16)), all),
        ("LayerNorm 4096x767, f16", Box::new(layer(4096, 767).stored_as(Element::F16)), all),
        (
            "GroupNorm(32) 8x32x32x256, f16",
            Box::new(GroupNorm::channels_last(&[8, 32, 32, 256], 32).unwrap().stored_as(Element::F16)),
            all,
        ),
        (
            "RmsNorm of heads 4096x8x128, strided",
            Box::new(RmsNorm::new(&[4096, 8, 128], &[128]).unwrap().with_strides(Strides::all(&[3072, 128, 1]))),
            all,
        ),
        (
            "GroupNorm(32) 2x320x64x64, SiLU",
            Box::new(GroupNorm::channels_first(&[2, 320, 64, 64], 32).unwrap().then(Activation::Silu)),
            all,
        ),
        (
            "GroupNorm(32) 2x64x64x320, SiLU",
            Box::new(GroupNorm::channels_last(&[2, 64, 64, 320], 32).unwrap().then(Activation::Silu)),
            all,
        ),
        (
            "LayerNorm 2x4608x3072, modulated and gated",
            Box::new(LayerNorm::new(&[2, 4608, 3072], &[3072]).unwrap().modulated(Modulation::new(&[2, 1, 3072]))),
            gates,
        ),
        (
            "GroupNorm(32) 2x320x64x64, modulated and gated",
            Box::new(
                GroupNorm::channels_first(&[2, 320, 64, 64], 32).unwrap().modulated(Modulation::new(&[2, 320, 1, 1])),
            ),
            gates,
        ),
    ]
}
