// Each lane holds a few packs of x at a time. Where the statistics are not known yet, the sums of g times the centred
// element are taken around each chunk's centre, and move along when chunks are merged: as Chan's update, for a covariance.
//# use shared/gradients, shared/group_statistics, shared/sum_lanes, shared/merge_lanes, shared/known_sums, slots/gradients/none, <hold>, <affine>, <statistics>
// The sums of g and g * (x - centre), from around p's centre to around q's.
fn moved(p: Partial, sums: vec2<f32>, q: Partial) -> vec2<f32> {
    if p.count == 0.0 {
        return vec2<f32>(0.0);
    }
    let by = opaque(p.shift - q.shift) + (p.delta - q.delta);
    return vec2<f32>(sums.x, sums.y + by * sums.x);
}

// Of the packs that are held, from number `first` on.
fn chunk_sums(first: u32, base: u32, length: u32, center: Center) -> vec2<f32> {
    var sum1 = Pack(0.0);
    var sum2 = Pack(0.0);
    for (var i = 0u; i < ITEMS; i += TOGETHER) {
        affine_take(first + i, length);
        for (var j = 0u; j < TOGETHER; j++) {
            let at = item_at(first + i + j);
            if whole || at < length {
                affine_at(at);
                // Not `above_skip`: no statistics are known yet. Before an activation the plan takes them first.
                let dy = grad_output_load(base + at) * modulation_factor(base + at);
                let g = affine_scaled(dy, at, j);
                sum1 += g;
                sum2 += g * centered(held[i + j], center);
            }
        }
    }
    return vec2<f32>(pack_sum(sum1), pack_sum(sum2));
}

fn tile_gradients(base: u32, length: u32, group: u32, weights: u32) -> Gradients {
    if SAVED {
        let statistics = group_statistics(group);
        affine_begin(weights, root_of(statistics.scale));
        return Gradients(statistics, sum_lanes(known_sums(base, 0u, length, statistics)));
    }
    let none = Partial();
    var tile = Tile(1.0, none);
    var sums = vec2<f32>(0.0);
    for (var again = params.zero; again < 2u; again++) {
        var merged = none;
        var merged_sums = vec2<f32>(0.0);
        affine_begin(weights, 1.0);
        for (var chain = 0u; chain < params.items; chain += 16u * ITEMS) {
            var run = none;
            var run_sums = vec2<f32>(0.0);
            for (var first = chain; first < min(chain + 16u * ITEMS, params.items); first += ITEMS) {
                let part = chunk_partial(first, base, length, tile.scale);
                let part_sums = chunk_sums(first, base, length, Center(part.shift, part.delta));
                let both = merge(run, part);
                run_sums = moved(run, run_sums, both) + moved(part, part_sums, both);
                run = both;
            }
            let both = merge(merged, run);
            merged_sums = moved(merged, merged_sums, both) + moved(run, run_sums, both);
            merged = both;
        }
        tile.partial = merge_lanes(merged);
        sums = sum_lanes(moved(merged, merged_sums, tile.partial));
        let scale = better_scale(tile.partial);
        if again > 0u || !any_lane(scale != 1.0) {
            break;
        }
        tile.scale = scale;
    }
    let statistics = statistics_of(tile, 0u, group);
    return Gradients(statistics, sums * vec2<f32>(1.0, statistics.factor) * root_of(statistics.scale));
}
