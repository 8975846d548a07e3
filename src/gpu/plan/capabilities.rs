//! The limits and properties of a device that plans depend on.

use crate::error::SpecError;

/// The limits and properties of a device that plans depend on. The name of the device is not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Smallest and largest subgroup size, if the device was made with [`wgpu::Features::SUBGROUP`].
    pub subgroup_sizes: Option<(u32, u32)>,
    /// Whether the adapter is a software one. There, barriers cost more than arithmetic, and a cache is as fast as a register.
    pub software: bool,
    /// Whether the shader compiler may reassociate floating-point subtractions. If so, shaders hide them from it.
    pub reassociates: bool,
    /// Whether shaders store f16 by `pack2x16float`, which then must round to the nearest, ties to even, and beyond the largest to infinity.
    /// WGSL does not ask for that, so it is off unless a [`Probe`](crate::Probe) found it; off as well on software adapters, where integers
    /// are faster.
    pub exact_pack: bool,
    /// Maximum invocations per workgroup.
    pub max_invocations: u32,
    /// Maximum workgroups along one dimension of a dispatch.
    pub max_workgroups: u32,
    /// Maximum bytes of one storage binding.
    pub max_binding: u64,
    /// Maximum bytes of one buffer.
    pub max_buffer: u64,
    /// Maximum storage buffers of one dispatch.
    pub max_storage_buffers: u32,
    /// Required alignment of a storage binding's offset, in bytes.
    pub storage_alignment: u64,
    /// Required alignment of a uniform binding's offset, in bytes.
    pub uniform_alignment: u64,
}

impl Capabilities {
    /// The capabilities of a GPU with these limits and without subgroups.
    #[must_use]
    pub fn from_limits(limits: &wgpu::Limits) -> Self {
        Self {
            subgroup_sizes: None,
            software: false,
            reassociates: true,
            exact_pack: false,
            max_invocations: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x)
                // Lanes exchange two words each.
                .min(limits.max_compute_workgroup_storage_size / 8),
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            // Metal tells shaders the size of a binding in 32 bits, whatever its limit says.
            max_binding: limits.max_storage_buffer_binding_size.min(u64::from(u32::MAX)),
            max_buffer: limits.max_buffer_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            storage_alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            uniform_alignment: u64::from(limits.min_uniform_buffer_offset_alignment),
        }
    }

    /// The capabilities of `device`.
    #[must_use]
    pub fn of(device: &wgpu::Device) -> Self {
        let info = device.adapter_info();
        let subgroups = device.features().contains(wgpu::Features::SUBGROUP);
        Self {
            subgroup_sizes: subgroups.then_some((info.subgroup_min_size, info.subgroup_max_size)),
            software: info.device_type == wgpu::DeviceType::Cpu,
            // Metal and HLSL compile with fast math, and Vulkan drivers fold more than one would think. Software
            // Vulkan pays most for the disguise, and is what the test suite runs on without it.
            reassociates: !(info.backend == wgpu::Backend::Vulkan && info.device_type == wgpu::DeviceType::Cpu),
            ..Self::from_limits(&device.limits())
        }
    }

    /// Whether a tensor fits a buffer.
    pub(super) fn check_buffer(&self, norm: &'static str, what: &'static str, needs: u64) -> Result<(), SpecError> {
        let (limit, has) = ("max_buffer_size", self.max_buffer);
        if needs > has { Err(SpecError::Limit { norm, what, needs, unit: "bytes", limit, has }) } else { Ok(()) }
    }

    /// Whether a tensor fits one binding, and so a buffer.
    pub(super) fn check_binding(&self, norm: &'static str, what: &'static str, needs: u64) -> Result<(), SpecError> {
        let (limit, has) = ("max_storage_buffer_binding_size", self.max_binding);
        if needs > has {
            return Err(SpecError::Limit { norm, what, needs, unit: "bytes", limit, has });
        }
        self.check_buffer(norm, what, needs)
    }

    /// A workgroup of at least `lanes` and about `wanted` invocations, whole subgroups if there are any.
    pub(super) fn workgroup_size(&self, wanted: u32, lanes: u32) -> u32 {
        let whole = self.subgroup_sizes.map_or(1, |(_, largest)| largest.clamp(1, 256).next_power_of_two());
        wanted.max(whole).min(self.largest_workgroup()).max(lanes)
    }

    /// Lanes that surely share a subgroup, a power of two; none where there are no subgroups.
    pub(crate) fn subgroup(&self) -> Option<u32> {
        let (smallest, _) = self.subgroup_sizes?;
        Some(1 << smallest.checked_ilog2()?)
    }

    /// The largest power of two of invocations that a kernel of ours uses, but for rows that need more.
    pub(super) fn largest_workgroup(&self) -> u32 {
        self.most_lanes().min(256)
    }

    /// The most lanes that share one row: a power of two.
    pub(super) fn most_lanes(&self) -> u32 {
        1 << self.max_invocations.clamp(1, 512).ilog2()
    }
}
