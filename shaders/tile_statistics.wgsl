// Mean and variance of one tile, known to each of its lanes. Sums run in chains of 16, so that what
// rounds off does not grow with the length of a lane's share.
fn tile_statistics(base: u32, length: u32) -> Partial {
    take(base, length);
    let count = f32(length);
    var center = Center(0.0, 0.0);
    if subtract_mean {
        let shift = finite_or_zero(pack_first(x_load(base)));
        var total = Pack(0.0);
        var run = Pack(0.0);
        for (var i = 0u; i < item_count(); i++) {
            if item_at(i) < length {
                run += item(i, base) - shift;
            }
            if (i & 15u) == 15u {
                total += run;
                run = Pack(0.0);
            }
        }
        let sum = sum_lanes(vec2<f32>(pack_sum(total + run), 0.0)).x;
        center = recenter(shift, sum / count);
    }
    var total1 = Pack(0.0);
    var total2 = Pack(0.0);
    var run1 = Pack(0.0);
    var run2 = Pack(0.0);
    for (var i = 0u; i < item_count(); i++) {
        if item_at(i) < length {
            let e = centered(item(i, base), center);
            run1 += e;
            run2 += size_of(e);
        }
        if (i & 15u) == 15u {
            total1 += run1;
            total2 += run2;
            run1 = Pack(0.0);
            run2 = Pack(0.0);
        }
    }
    let sums = sum_lanes(vec2<f32>(pack_sum(total1 + run1), pack_sum(total2 + run2)));
    if subtract_mean {
        return partial_from_sums(length, center, sums.x, sums.y);
    }
    return Partial(length, 0.0, 0.0, sums.y);
}
