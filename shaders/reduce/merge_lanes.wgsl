// As `sum_lanes`, for partials. Merging is not symmetric in its rounding, so the lower lane's partial
// always goes first.
fn merge_lanes(p: Partial) -> Partial {
    var merged = p;
    for (var distance = 1u; distance < lanes; distance <<= 1u) {
        let head = exchange(vec2<f32>(bitcast<f32>(merged.count), merged.shift), distance);
        let tail = exchange(vec2<f32>(merged.delta, merged.m2), distance);
        let other = Partial(bitcast<u32>(head.x), head.y, tail.x, tail.y);
        if (lane & distance) == 0u {
            merged = merge(merged, other);
        } else {
            merged = merge(other, merged);
        }
    }
    return merged;
}
