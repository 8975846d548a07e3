// What a lane holds of its section: packs from `at` on.
var<private> held: array<Pack, ITEMS>;

fn hold(at: u32) {
    for (var i = 0u; i < ITEMS; i++) {
        held[i] = x_next(at + i * WIDTH);
    }
}

fn held_within(v: Pack, i: u32, count: u32) -> Pack {
    return pack_within(v, max(count, i * WIDTH) - i * WIDTH);
}

// Mean and variance of the first `count` elements held, as in held_statistics.wgsl, in one chain of at most 16 packs. The
// first `sure` of those, a constant, are whole and cost no comparison.
fn held_statistics(sure: u32, count: u32) -> Partial {
    let shift = finite_or_zero(pack_first(held[0]));
    var center = Center(0.0, 0.0);
    if subtract_mean {
        var sum = Pack(0.0);
        for (var i = 0u; i < sure; i++) {
            sum += opaque_pack(held[i] - shift);
        }
        for (var i = sure; i < ITEMS; i++) {
            sum += held_within(opaque_pack(held[i] - shift), i, count);
        }
        center = recenter(shift, pack_sum(sum) / f32(count));
    }
    var sum1 = Pack(0.0);
    var sum2 = Pack(0.0);
    for (var i = 0u; i < sure; i++) {
        let e = centered(held[i], center);
        sum1 += e;
        sum2 += size_of(e);
    }
    for (var i = sure; i < ITEMS; i++) {
        let e = held_within(centered(held[i], center), i, count);
        sum1 += e;
        sum2 += size_of(e);
    }
    if subtract_mean {
        return partial_from_sums(count, center, pack_sum(sum1), pack_sum(sum2));
    }
    return Partial(count, 0.0, 0.0, pack_sum(sum2));
}
