// Reductions over `lanes` neighbouring lanes as one fixed tree: every lane ends with the same bits,
// and so does every backend. Call in uniform control flow only.
//# use shared/params, <reduction>
fn sum_lanes(v: vec2<f32>) -> vec2<f32> {
    var sum = v;
    for (var distance = 1u; distance < lanes; distance <<= 1u) {
        sum += bitcast<vec2<f32>>(exchange(bitcast<vec2<u32>>(sum), distance));
    }
    return sum;
}
