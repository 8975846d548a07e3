// Each element of a run of S has its own weight and bias.
//# use <width>, <rounding>
var<private> run_base: u32;
var<private> run_factor: f32;

fn affine_begin(base: u32, factor: f32) {
    run_base = base;
    run_factor = factor;
}

fn affine_take(i: u32, length: u32) {
}

fn affine_at(s: u32) {
}

fn affine_value(e: Pack, factor: f32, s: u32, j: u32) -> Pack {
    return e * factor * weight_load(run_base + s) + bias_load(run_base + s);
}

fn affine_bias(s: u32, j: u32) -> Pack {
    return bias_load(run_base + s);
}

fn affine_scaled(v: Pack, s: u32, j: u32) -> Pack {
    return before_weight(v * run_factor) * weight_load(run_base + s);
}
