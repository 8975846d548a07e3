// Plain copies, by which the norms are measured. Bindings are whole multiples of 64 bytes.

override workgroup_size: u32 = 64u;

@group(0) @binding(0) var<storage, read> from_words: array<u32>;
@group(0) @binding(1) var<storage, read_write> to_words: array<u32>;
@group(0) @binding(0) var<storage, read> from_quads: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> to_quads: array<vec4u>;

// The grid is two-dimensional, since one dimension is at most 65,535 workgroups.
fn workgroup(id: vec3u, grid: vec3u) -> u32 {
    return id.y * grid.x + id.x;
}

@compute @workgroup_size(workgroup_size)
fn words(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) grid: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup(id, grid) * workgroup_size + local;
    if i < arrayLength(&from_words) {
        to_words[i] = from_words[i];
    }
}

@compute @workgroup_size(workgroup_size)
fn quads(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) grid: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup(id, grid) * workgroup_size + local;
    if i < arrayLength(&from_quads) {
        to_quads[i] = from_quads[i];
    }
}

// Each lane has 64 bytes of its own.
@compute @workgroup_size(workgroup_size)
fn lane_lines(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) grid: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = 4u * (workgroup(id, grid) * workgroup_size + local);
    if i + 3u < arrayLength(&from_quads) {
        let a = from_quads[i];
        let b = from_quads[i + 1u];
        let c = from_quads[i + 2u];
        let d = from_quads[i + 3u];
        to_quads[i] = a;
        to_quads[i + 1u] = b;
        to_quads[i + 2u] = c;
        to_quads[i + 3u] = d;
    }
}

// Each lane has four vectors, between which lie those of the other lanes.
@compute @workgroup_size(workgroup_size)
fn tiles(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) grid: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = 4u * workgroup(id, grid) * workgroup_size + local;
    let length = arrayLength(&from_quads);
    let last = i + 3u * workgroup_size;
    if last < length {
        let a = from_quads[i];
        let b = from_quads[i + workgroup_size];
        let c = from_quads[i + 2u * workgroup_size];
        let d = from_quads[last];
        to_quads[i] = a;
        to_quads[i + workgroup_size] = b;
        to_quads[i + 2u * workgroup_size] = c;
        to_quads[last] = d;
    } else {
        for (var j = i; j < length; j += workgroup_size) {
            to_quads[j] = from_quads[j];
        }
    }
}

// As many workgroups as there are, in strides of them all.
@compute @workgroup_size(workgroup_size)
fn grid_stride(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) grid: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let stride = grid.x * grid.y * workgroup_size;
    let length = arrayLength(&from_quads);
    for (var i = workgroup(id, grid) * workgroup_size + local; i < length; i += stride) {
        to_quads[i] = from_quads[i];
    }
}
