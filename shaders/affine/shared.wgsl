// Each element of a run of S has its own weight and bias, and TOGETHER lanes go along as many runs side by side: each
// loads one pack of both, and has the others' by shuffle. For adapters on which a load costs more than that.
var<private> run_base: u32;
var<private> run_factor: f32;
var<private> own_weight: Pack;
var<private> own_bias: Pack;
var<private> turn_weight: Pack;
var<private> turn_bias: Pack;

fn affine_begin(base: u32, factor: f32) {
    run_base = base;
    run_factor = factor;
}

// In uniform control flow only.
fn affine_take(i: u32, length: u32) {
    let at = min((i + lane % TOGETHER) * WIDTH, length - WIDTH);
    own_weight = weight_load(run_base + at);
    own_bias = bias_load(run_base + at);
}

// The j-th pack of those that `affine_take` loaded. Here too: the lane that has it may have no work itself.
fn affine_turn(j: u32) {
    turn_weight = subgroupShuffle(own_weight, j);
    turn_bias = subgroupShuffle(own_bias, j);
}

fn affine(v: Pack, s: u32) -> Pack {
    return v * run_factor * turn_weight + turn_bias;
}
