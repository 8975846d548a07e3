// Each lane holds a few packs of x at a time. Where the statistics are not known yet, the sums of g times the centred
// element are taken around each chunk's centre, and move along when chunks are merged: as Chan's update, for a covariance.

// The sums of g and g * (x - centre), from around p's centre to around q's.
fn moved(p: Partial, sums: vec2<f32>, q: Partial) -> vec2<f32> {
    if p.count == 0u {
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
                let g = affine(grad_output_load(base + at), at, j);
                sum1 += g;
                sum2 += g * centered(held[i + j], center);
            }
        }
    }
    return vec2<f32>(pack_sum(sum1), pack_sum(sum2));
}

// A group's statistics (shift, delta, rstd, count), and its sums of g and of g times the centred element.
fn tile_gradients(base: u32, length: u32, group: u32) -> Gradients {
    if SAVED {
        let statistics = stats_load(group);
        let sums = known_sums(base, 0u, length, Center(statistics.x, statistics.y));
        return Gradients(statistics, sum_lanes(sums));
    }
    let none = Partial(0u, 0.0, 0.0, 0.0);
    var merged = none;
    var sums = vec2<f32>(0.0);
    for (var chain = 0u; chain < params.items; chain += 16u * ITEMS) {
        var run = none;
        var run_sums = vec2<f32>(0.0);
        for (var first = chain; first < min(chain + 16u * ITEMS, params.items); first += ITEMS) {
            let part = chunk_partial(first, base, length);
            let part_sums = chunk_sums(first, base, length, Center(part.shift, part.delta));
            let both = merge(run, part);
            run_sums = moved(run, run_sums, both) + moved(part, part_sums, both);
            run = both;
        }
        let both = merge(merged, run);
        sums = moved(merged, sums, both) + moved(run, run_sums, both);
        merged = both;
    }
    let all = merge_lanes(merged);
    return Gradients(statistics_of(all), sum_lanes(moved(merged, sums, all)));
}
