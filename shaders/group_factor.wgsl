// The statistics that the j-th group of a partial is normalized by.
fn statistics_of(p: Partial, j: u32) -> Statistics {
    let scale = value_get(p.scale, j);
    return Statistics(
        p.count,
        scale,
        value_get(p.shift, j),
        value_get(p.delta, j),
        factor_of(value_get(p.m2, j), p.count, scale),
    );
}
