// Each lane keeps its part of x and of g in registers: x and dy are read once. Where dy itself is needed later, that is
// what is kept, and the weight is read again.
//# use shared/gradients, shared/group_statistics, shared/known_sums, shared/sum_lanes, <hold>, <source>, <affine>, <statistics>
var<private> held_g: array<Pack, ITEMS>;

fn gradient_take(i: u32, length: u32) {
    if KEEPS_DY {
        affine_take(i, length);
    }
}

fn gradient_item(i: u32, j: u32, at: u32, s: u32, e: Pack, factor: f32) -> Pack {
    if KEEPS_DY {
        affine_at(s);
        return affine_scaled(held_g[i], s, j);
    }
    return held_g[i];
}

fn gradient_keep(i: u32, beneath: Pack, g: Pack) {
    if KEEPS_DY {
        held_g[i] = beneath;
    } else {
        held_g[i] = g;
    }
}

fn tile_gradients(base: u32, length: u32, group: u32, weights: u32) -> Gradients {
    var statistics: Statistics;
    if SAVED {
        statistics = group_statistics(group);
        for (var i = 0u; i < ITEMS; i++) {
            let at = item_at(i);
            if whole || at < length {
                held[i] = source_load(base + at) * statistics.scale;
            }
        }
    } else {
        statistics = statistics_of(tile_statistics(base, length), 0u, group);
    }
    affine_begin(weights, root_of(statistics.scale));
    return Gradients(statistics, sum_lanes(known_sums(base, 0u, length, statistics)));
}
