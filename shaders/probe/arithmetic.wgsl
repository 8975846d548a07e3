// Single operations on numbers that come from a buffer, so that none can be computed in advance. Slots are those of
// src/gpu/probe.rs.
//# use shared/statistics
@group(0) @binding(1) var<storage, read> given: array<f32>;
@group(0) @binding(2) var<storage, read_write> found: array<f32>;

@compute @workgroup_size(1)
fn main() {
    let denormal = given[0];
    let large = given[1];
    let smallest_normal = given[2];
    let half = given[3];
    let nan = given[4];
    let inf = given[5];
    let zero = given[6];
    let one = given[7];
    let factor = given[8];
    let addend = given[9];
    let other_inf = given[10];
    found[0] = denormal * large;
    found[1] = smallest_normal * half;
    found[2] = factor * factor + addend;
    found[3] = nan;
    found[4] = nan * zero;
    found[5] = inf - other_inf;
    found[6] = zero * inf;
    found[7] = one / zero;
    found[8] = select(nan, zero, nan < zero);
    found[9] = if_finite(nan, zero, one);
    found[10] = if_finite(inf, zero, one);
    // Eight centres that move, then numbers to divide and to take the root of.
    for (var i = 16u; i < 32u; i += 2u) {
        let center = recenter(given[i], given[i + 1u]);
        found[i] = center.shift;
        found[i + 1u] = center.delta;
    }
    for (var i = 32u; i < arrayLength(&given); i += 2u) {
        found[i] = given[i] / given[i + 1u];
        found[i + 1u] = sqrt(given[i]);
    }
}
