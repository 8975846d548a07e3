// One weight and one bias for a run of neighbours, their scale formed once.
//# use shared/params, <affine>, <rounding>
var<private> run_factor: f32;
var<private> run_weight: f32;
var<private> run_scale: f32;
var<private> run_bias: f32;

fn run_take(index: u32, factor: f32) {
    run_factor = factor;
    run_weight = weight_load(index);
    run_scale = factor * run_weight;
    run_bias = bias_load(index);
}

fn affine_value(e: Pack, factor: f32, s: u32, j: u32) -> Pack {
    return e * (factor * run_weight) + run_bias;
}

fn affine_bias(s: u32, j: u32) -> Pack {
    return Pack(run_bias);
}

fn affine_scaled(v: Pack, s: u32, j: u32) -> Pack {
    if round_before_weight {
        return before_weight(v * run_factor) * run_weight;
    }
    return v * run_scale;
}
