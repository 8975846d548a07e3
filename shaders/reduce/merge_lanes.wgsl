// As `sum_lanes`, for partials. Merging is not symmetric in its rounding, so lanes end with different bits: use the first's.
fn merge_lanes(p: Partial) -> Partial {
    var merged = p;
    for (var distance = 1u; distance < lanes; distance <<= 1u) {
        let one = exchange(bitcast<vec2<u32>>(vec2<f32>(merged.count, merged.shift)), distance);
        let two = exchange(bitcast<vec2<u32>>(vec2<f32>(merged.delta, merged.m2)), distance);
        let other = bitcast<vec4<f32>>(vec4<u32>(one, two));
        merged = merge(merged, Partial(other.x, other.y, other.z, other.w));
    }
    return merged;
}
