// The j-th group's partial as it is stored: its count, which says the scale as well, shift, delta and m2 times the square of the
// scale, also where it is a sum of magnitudes.
//# use shared/statistics
fn stored(p: Partial, scale: f32, j: u32) -> vec4<f32> {
    let m2 = value_get(p.m2, j) * select(1.0, scale, scaling == L1);
    return vec4<f32>(tagged(p.count, scale), value_get(p.shift, j), value_get(p.delta, j), m2);
}
