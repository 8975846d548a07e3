// The j-th group's partial as it is stored: its count, which says the scale as well, shift, delta and m2.
fn stored(p: Partial, j: u32) -> vec4<f32> {
    return vec4<f32>(
        tagged(p.count, value_get(p.scale, j)),
        value_get(p.shift, j),
        value_get(p.delta, j),
        value_get(p.m2, j),
    );
}
