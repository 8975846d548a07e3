// Partial sums become those of a group, or of all elements that share a weight: where segments of heads do, those of each of its heads.
//# use shared/team, shared/segments, shared/channel, shared/sum_lanes, shared/partial_place, <keep>
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let index = tile_index(invocation);
    let number = min(index, params.tiles - 1u);
    let b = number / params.k_count;
    let k = number % params.k_count;
    var base = b * params.b_stride + k * params.k_stride;
    var heads = 1u;
    if segmented && SHARED_BY_HEADS {
        let segment = k / params.head_length;
        let first = segment_start(segment);
        heads = segment_start(segment + 1u) - first;
        base = first * params.head_length + k % params.head_length;
    }
    let channel = channel_base(b, 0u, k);
    let step = partial_place(lanes);
    var sum = vec2<f32>(0.0);
    // Chains of 16, and then of chains: see held_statistics.wgsl.
    var of_heads = vec2<f32>(0.0);
    for (var head = 0u; head < heads; head++) {
        var at = partial_place(lane_in_tile());
        for (var chain = lane_in_tile(); chain < params.partials; chain += 16u * lanes) {
            var run = vec2<f32>(0.0);
            for (var j = chain; j < min(chain + 16u * lanes, params.partials); j += lanes) {
                let part = partial_sums_load(base + head * params.head_length + at.x * params.outer_stride + at.y);
                run += part * weight_load(channel + at.y / params.s_div);
                at = partial_place_after(at, step);
            }
            of_heads += run;
        }
        if (head & 15u) == 15u || head + 1u == heads {
            sum += of_heads;
            of_heads = vec2<f32>(0.0);
        }
    }
    sum = sum_lanes(sum);
    if index < params.tiles && lane_in_tile() == 0u {
        keep(number, sum);
    }
}
