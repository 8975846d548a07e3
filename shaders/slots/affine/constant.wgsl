// One weight and one bias for a whole run of S, the scale formed once.
//# use <width>

var<private> run_weight: f32;
var<private> run_scale: f32;
var<private> run_bias: f32;

fn affine_begin(base: u32, factor: f32) {
    run_weight = weight_load(base);
    run_scale = factor * run_weight;
    run_bias = bias_load(base);
}

fn affine_take(i: u32, length: u32) {
}

fn affine_weight(s: u32, j: u32) -> Pack {
    return Pack(run_weight);
}

fn affine_bias(s: u32, j: u32) -> Pack {
    return Pack(run_bias);
}

fn affine(v: Pack, s: u32, j: u32) -> Pack {
    return v * run_scale + run_bias;
}
