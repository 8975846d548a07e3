// As `sum_lanes`, for partials. Merging is not symmetric in its rounding, so lanes end with different bits: use the first's.
fn merge_lanes(p: Partial) -> Partial {
    var merged = p;
    for (var distance = 1u; distance < lanes; distance <<= 1u) {
        let mine = stored(merged);
        merged = merge(merged, restored(vec4<u32>(exchange(mine.xy, distance), exchange(mine.zw, distance))));
    }
    return merged;
}
