// Each element of a run of S has its own weight and bias, and TOGETHER lanes go along as many runs side by side: each
// loads one pack of both, and has the others' by shuffle. For adapters on which a load costs more than that.
//# use shared/rows, <width>, <rounding>, <reduction>
var<private> run_base: u32;
var<private> run_factor: f32;
var<private> weights: array<Pack, TOGETHER>;
var<private> biases: array<Pack, TOGETHER>;

fn affine_begin(base: u32, factor: f32) {
    run_base = base;
    run_factor = factor;
}

// In uniform control flow only: a lane that has a pack may have no work itself.
fn affine_take(i: u32, length: u32) {
    let at = min(item_at(i + lane % TOGETHER), (length - 1u) / WIDTH * WIDTH);
    let weight = weight_load(run_base + at);
    let bias = bias_load(run_base + at);
    for (var j = 0u; j < TOGETHER; j++) {
        weights[j] = subgroupShuffle(weight, j);
        biases[j] = subgroupShuffle(bias, j);
    }
}

fn affine_at(s: u32) {
}

fn affine_value(e: Pack, factor: f32, s: u32, j: u32) -> Pack {
    return e * factor * weights[j] + biases[j];
}

fn affine_bias(s: u32, j: u32) -> Pack {
    return biases[j];
}

fn affine_scaled(v: Pack, s: u32, j: u32) -> Pack {
    return before_weight(v * run_factor) * weights[j];
}
