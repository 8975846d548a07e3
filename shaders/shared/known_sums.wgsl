// The sums of g and of g * xhat, or for scale and shift of their own gradients, over this lane's packs of a tile, whose statistics are known. They run in
// chains of 16, chains of 16 chains, and so once more, as in held_statistics.wgsl.
//# use shared/statistics, shared/rows, shared/epilogue, <hold>, <gradients>, <affine>
fn known_sums(base: u32, s: u32, length: u32, statistics: Statistics) -> vec2<f32> {
    let center = center_of(statistics);
    var sum1 = Pack(0.0);
    var sum2 = Pack(0.0);
    var chain1 = Pack(0.0);
    var chain2 = Pack(0.0);
    var run1 = Pack(0.0);
    var run2 = Pack(0.0);
    for (var i = 0u; i < item_count(); i += TOGETHER) {
        affine_take(i, length);
        for (var j = 0u; j < TOGETHER; j++) {
            let at = item_at(i + j);
            if whole || at < length {
                let e = centered(item(i + j, base, statistics.scale), center);
                let xhat = e * statistics.factor;
                affine_at(s + at);
                let y = affine_value(e, statistics.factor, s + at, j);
                let above = above_skip(grad_output_load(base + at), y, base + at);
                var g = above;
                var by = y;
                if summed != BY_MODULATION {
                    let beneath = above * modulation_factor(base + at);
                    g = beneath;
                    by = xhat;
                    if summed == BY_GROUP {
                        g = affine_scaled(beneath, s + at, j);
                    }
                    gradient_keep(i + j, beneath, g);
                }
                run1 += g;
                run2 += g * by;
            }
        }
        if ((i + TOGETHER) & 15u) == 0u {
            chain1 += run1;
            chain2 += run2;
            run1 = Pack(0.0);
            run2 = Pack(0.0);
        }
        if ((i + TOGETHER) & 255u) == 0u {
            sum1 += chain1;
            sum2 += chain2;
            chain1 = Pack(0.0);
            chain2 = Pack(0.0);
        }
    }
    return vec2<f32>(pack_sum(sum1 + (chain1 + run1)), pack_sum(sum2 + (chain2 + run2)));
}
