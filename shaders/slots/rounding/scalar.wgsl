// Where `round_before_weight`, a normalized value is rounded to the 16-bit type before its weight.
//# use shared/params, shared/half
fn before_weight(xhat: f32) -> f32 {
    if round_before_weight {
        return pair_of_halves(halves_of_pair(vec2<f32>(xhat, 0.0))).x;
    }
    return xhat;
}
