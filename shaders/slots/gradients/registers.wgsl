// Each lane keeps its part of x and of g in registers: x and dy are read once. Where dy itself is needed later, that is
// what is kept, and the weight is read again.
//# use shared/gradients, shared/group_statistics, shared/sum_lanes, shared/upstream, <hold>, <source>, <affine>, <statistics>, <element>

var<private> held_g: array<Pack, ITEMS>;

fn gradient_take(i: u32, length: u32) {
    if KEEPS_DY {
        affine_take(i, length);
    }
}

fn gradient_item(i: u32, j: u32, at: u32, s: u32, xhat: Pack) -> Pack {
    if KEEPS_DY {
        return affine(held_g[i], s, j);
    }
    return held_g[i];
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
        statistics = statistics_of(tile_statistics(base, length), 0u);
    }
    let center = center_of(statistics);
    affine_begin(weights, root_of(statistics.scale));
    var sum1 = Pack(0.0);
    var sum2 = Pack(0.0);
    var run1 = Pack(0.0);
    var run2 = Pack(0.0);
    for (var i = 0u; i < ITEMS; i += TOGETHER) {
        affine_take(i, length);
        for (var j = 0u; j < TOGETHER; j++) {
            let at = item_at(i + j);
            if whole || at < length {
                let xhat = centered(held[i + j], center) * statistics.factor;
                held_g[i + j] = upstream(grad_output_load(base + at), xhat, at, j);
                let g = affine(held_g[i + j], at, j);
                if !KEEPS_DY {
                    held_g[i + j] = g;
                }
                run1 += g;
                run2 += g * xhat;
            }
        }
        if ((i + TOGETHER) & 15u) == 0u {
            sum1 += run1;
            sum2 += run2;
            run1 = Pack(0.0);
            run2 = Pack(0.0);
        }
    }
    return Gradients(statistics, sum_lanes(vec2<f32>(pack_sum(sum1 + run1), pack_sum(sum2 + run2))));
}
