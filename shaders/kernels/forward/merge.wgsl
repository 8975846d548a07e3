// A group's partials become one.
//# use shared/team, shared/merge_lanes, shared/partial_place, <keep>
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let index = tile_index(invocation);
    let group = min(index, params.tiles - 1u);
    let base = group / params.k_count * params.b_stride + group % params.k_count * params.k_stride;
    let step = partial_place(lanes);
    var tile = Tile(1.0, Partial());
    for (var again = params.zero; again < 2u; again++) {
        let none = Partial();
        // Chains of 16, and then of chains: see held_statistics.wgsl.
        var mine = none;
        var at = partial_place(lane_in_tile());
        for (var chain = lane_in_tile(); chain < params.partials; chain += 16u * lanes) {
            var run = none;
            for (var j = chain; j < min(chain + 16u * lanes, params.partials); j += lanes) {
                run = merge(run, restored(partials_load(base + at.x * params.outer_stride + at.y), tile.scale));
                at = partial_place_after(at, step);
            }
            mine = merge(mine, run);
        }
        tile.partial = merge_lanes(mine);
        let scale = better_scale(tile.partial);
        if again > 0u || !any_lane(scale != 1.0) {
            break;
        }
        tile.scale = scale;
    }
    if index < params.tiles && lane_in_tile() == 0u {
        keep(group, tile);
    }
}

// A partial as it was stored, at a scale that need not be its own.
fn restored(v: vec4<f32>, scale: f32) -> Partial {
    let by = scale * inverse_of(scale_of(v.x));
    // In this order: the square of `by` is no f32.
    let m2 = opaque(v.w * by) * by * select(1.0, inverse_of(scale), scaling == L1);
    return Partial(count_of(v.x), v.y * by, v.z * by, m2);
}
