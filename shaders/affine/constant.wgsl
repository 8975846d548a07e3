// One weight and one bias for a whole run of S, the scale formed once.
var<private> run_scale: f32;
var<private> run_bias: f32;

fn affine_begin(base: u32, factor: f32) {
    run_scale = factor * weight_load(base);
    run_bias = bias_load(base);
}

fn affine_take(i: u32, length: u32) {
}

fn affine(v: Pack, s: u32, j: u32) -> Pack {
    return v * run_scale + run_bias;
}
