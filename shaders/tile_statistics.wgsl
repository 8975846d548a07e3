// Mean and variance of one tile, known to each of its lanes. Sums run in chains of 16, chains of 16 chains, and so once
// more: equal values round the same way every time, and a chain of 512 would already show.
fn tile_statistics(base: u32, length: u32) -> Partial {
    take(base, length);
    var center = Center(0.0, 0.0);
    if subtract_mean {
        let shift = finite_or_zero(pack_first(x_load(base)));
        var sum = Pack(0.0);
        var chain = Pack(0.0);
        var run = Pack(0.0);
        for (var i = 0u; i < item_count(); i++) {
            if item_at(i) < length {
                run += opaque_pack(item(i, base) - shift);
            }
            if (i & 15u) == 15u {
                chain += run;
                run = Pack(0.0);
            }
            if (i & 255u) == 255u {
                sum += chain;
                chain = Pack(0.0);
            }
        }
        let total = sum_lanes(vec2<f32>(pack_sum(sum + (chain + run)), 0.0)).x;
        center = recenter(shift, total / f32(length));
    }
    var sum1 = Pack(0.0);
    var sum2 = Pack(0.0);
    var chain1 = Pack(0.0);
    var chain2 = Pack(0.0);
    var run1 = Pack(0.0);
    var run2 = Pack(0.0);
    for (var i = 0u; i < item_count(); i++) {
        if item_at(i) < length {
            let e = centered(item(i, base), center);
            run1 += e;
            run2 += size_of(e);
        }
        if (i & 15u) == 15u {
            chain1 += run1;
            chain2 += run2;
            run1 = Pack(0.0);
            run2 = Pack(0.0);
        }
        if (i & 255u) == 255u {
            sum1 += chain1;
            sum2 += chain2;
            chain1 = Pack(0.0);
            chain2 = Pack(0.0);
        }
    }
    let sums = sum_lanes(vec2<f32>(pack_sum(sum1 + (chain1 + run1)), pack_sum(sum2 + (chain2 + run2))));
    if subtract_mean {
        return partial_from_sums(length, center, sums.x, sums.y);
    }
    return Partial(length, 0.0, 0.0, sums.y);
}
