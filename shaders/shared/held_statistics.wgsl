// Mean and variance of the packs that this lane, or all lanes of the tile together, hold in `held`: the mean first, then
// the deviations from it. `first` is the number of the first of them, `count` how many elements they are. Sums run in
// chains of 16, chains of 16 chains, and so once more: equal values round the same way every time, and a chain of 512
// would already show.
//# use shared/statistics, shared/rows, <hold>
fn held_statistics(first: u32, length: u32, shift: f32, count: f32) -> Partial {
    var center = Center(0.0, 0.0);
    if subtract_mean {
        var sum = Pack(0.0);
        var chain = Pack(0.0);
        var run = Pack(0.0);
        for (var i = 0u; i < ITEMS; i++) {
            if whole || item_at(first + i) < length {
                run += opaque_pack(held[i] - shift);
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
        let total = holders_sum(vec2<f32>(pack_sum(sum + (chain + run)), 0.0)).x;
        center = recenter(shift, total / count);
    }
    var sum1 = Pack(0.0);
    var sum2 = Pack(0.0);
    var chain1 = Pack(0.0);
    var chain2 = Pack(0.0);
    var run1 = Pack(0.0);
    var run2 = Pack(0.0);
    for (var i = 0u; i < ITEMS; i++) {
        if whole || item_at(first + i) < length {
            let e = centered(held[i], center);
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
    let sums = holders_sum(vec2<f32>(pack_sum(sum1 + (chain1 + run1)), pack_sum(sum2 + (chain2 + run2))));
    if subtract_mean {
        return partial_from_sums(count, center, sums.x, sums.y);
    }
    return Partial(count, 0.0, 0.0, sums.y);
}
