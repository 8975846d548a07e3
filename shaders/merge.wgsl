// A group's partials become its statistics; BatchNorm's running statistics are updated by the one lane
// that owns the channel.
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let workgroup = invocation.workgroup.y * params.grid_width + invocation.workgroup.x;
    let index = workgroup * (workgroup_size / lanes) + lane / lanes;
    let group = min(index, params.tiles - 1u);
    let base = group / params.k_count * params.b_stride + group % params.k_count * params.k_stride;
    var mine = Partial(0u, 0.0, 0.0, 0.0);
    for (var j = lane % lanes; j < params.partials; j += lanes) {
        let stored = partials_load(base + j / params.inner_count * params.outer_stride + j % params.inner_count);
        mine = merge(mine, Partial(bitcast<u32>(stored.x), stored.y, stored.z, stored.w));
    }
    let merged = merge_lanes(mine);
    if index < params.tiles && lane % lanes == 0u {
        let center = recenter(merged.shift, merged.delta);
        let factor = factor_of(merged.m2, merged.count);
        stats_store(group, vec4<f32>(center.shift, center.delta, factor, 0.0));
        mean_store(group, center.shift + center.delta);
        rstd_store(group, factor);
        track(group, center.shift + center.delta, merged.m2, merged.count);
    }
}
