// As `sum_lanes`, for partials, but only the first lane of a tile ends with them all: merging is not
// symmetric in its rounding, and nobody else needs the result.
fn merge_lanes(p: Partial) -> Partial {
    var merged = p;
    for (var distance = 1u; distance < lanes; distance <<= 1u) {
        let head = exchange(vec2<f32>(bitcast<f32>(merged.count), merged.shift), distance);
        let tail = exchange(vec2<f32>(merged.delta, merged.m2), distance);
        merged = merge(merged, Partial(bitcast<u32>(head.x), head.y, tail.x, tail.y));
    }
    return merged;
}
