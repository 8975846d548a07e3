// A group's partials become its statistics; BatchNorm's running statistics are updated by the one lane that owns the
// channel.
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let index = tile_index(invocation);
    let group = min(index, params.tiles - 1u);
    let base = group / params.k_count * params.b_stride + group % params.k_count * params.k_stride;
    let none = Partial(0u, 0.0, 0.0, 0.0);
    // Chains of 16, and then of chains: see held_statistics.wgsl.
    var mine = none;
    for (var chain = lane_in_tile(); chain < params.partials; chain += 16u * lanes) {
        var run = none;
        for (var j = chain; j < min(chain + 16u * lanes, params.partials); j += lanes) {
            let place = base + j / params.inner_count * params.outer_stride + j % params.inner_count;
            run = merge(run, restored(partials_load(place)));
        }
        mine = merge(mine, run);
    }
    let merged = merge_lanes(mine);
    if index < params.tiles && lane_in_tile() == 0u {
        let center = recenter(merged.shift, merged.delta);
        let factor = factor_of(merged.m2, merged.count);
        stats_store(group, vec4<f32>(center.shift, center.delta, factor, f32(merged.count)));
        mean_store(group, center.shift + center.delta);
        rstd_store(group, factor);
        track(group, center.shift + center.delta, merged.m2, merged.count);
    }
}
