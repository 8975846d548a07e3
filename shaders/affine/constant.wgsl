// One weight and one bias for a whole run of S.
var<private> run_weight: f32;
var<private> run_bias: f32;

fn affine_begin(base: u32) {
    run_weight = weight_load(base);
    run_bias = bias_load(base);
}

fn affine(v: Pack, s: u32) -> Pack {
    return v * run_weight + run_bias;
}
