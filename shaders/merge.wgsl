// A group's partials become one.
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
        keep(group, merged);
    }
}
