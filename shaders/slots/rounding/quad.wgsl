// As scalar.wgsl, of four values.
//# use shared/params, shared/half
fn before_weight(xhat: vec4<f32>) -> vec4<f32> {
    if round_before_weight {
        return quad_of_halves(halves_of_quad(xhat));
    }
    return xhat;
}
