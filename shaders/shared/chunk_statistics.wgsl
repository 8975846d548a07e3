// The statistics of each column of a pack over a few of its rows, held in `chunk`: the mean first, then the deviations.
//# use shared/statistics
fn chunk_statistics(chunk: ptr<function, array<Pack, CHUNK>>) -> Partial {
    // Hidden, or the compiler might take a scale out of the differences.
    let shift = opaque(finite_or_zero((*chunk)[0]));
    var center = Center(Value(0.0), Value(0.0));
    if subtract_mean {
        var sum = Value(0.0);
        for (var i = 0u; i < CHUNK; i++) {
            sum += opaque_pack((*chunk)[i] - shift);
        }
        center = recenter(shift, sum / f32(CHUNK));
    }
    var sum1 = Value(0.0);
    var sum2 = Value(0.0);
    for (var i = 0u; i < CHUNK; i++) {
        let e = centered((*chunk)[i], center);
        sum1 += e;
        sum2 += size_of(e);
    }
    if subtract_mean {
        return partial_from_sums(f32(CHUNK), center, sum1, sum2);
    }
    return Partial(f32(CHUNK), Value(0.0), Value(0.0), sum2);
}

// Of one element each. An infinite one is an infinite mean, and its deviation from that NaN: compilers fold x - x to 0.
fn single_statistics(x: Pack) -> Partial {
    if subtract_mean {
        let shift = opaque(x);
        return Partial(1.0, shift, Value(0.0), shift - x);
    }
    return Partial(1.0, Value(0.0), Value(0.0), size_of(x));
}
