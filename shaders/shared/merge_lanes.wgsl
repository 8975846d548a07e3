// As `sum_lanes`, for partials. Merging is not symmetric in its rounding, so that of the lower lanes always comes first: every lane
// ends with the same bits, and so at the same scale.
//# use shared/statistics, <reduction>
fn merge_lanes(p: Partial) -> Partial {
    var merged = p;
    for (var distance = 1u; distance < lanes; distance <<= 1u) {
        let one = exchange(bitcast<vec2<u32>>(vec2<f32>(merged.count, merged.shift)), distance);
        let two = exchange(bitcast<vec2<u32>>(vec2<f32>(merged.delta, merged.m2)), distance);
        let other = bitcast<vec4<f32>>(vec4<u32>(one, two));
        let theirs = Partial(other.x, other.y, other.z, other.w);
        if (lane & distance) == 0u {
            merged = merge(merged, theirs);
        } else {
            merged = merge(theirs, merged);
        }
    }
    return merged;
}
