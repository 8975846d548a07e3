// As divided.wgsl, where TOGETHER packs never straddle two weights and a lane has its run to itself: it is asked once for
// all of them whether it has come to the next.
//# use shared/params, shared/rows, <width>

var<private> run_base: u32;
var<private> run_factor: f32;
var<private> run_end: u32;
var<private> run_weight: f32;
var<private> run_scale: f32;
var<private> run_bias: f32;

fn affine_begin(base: u32, factor: f32) {
    run_base = base;
    run_factor = factor;
    run_end = 0u;
}

fn affine_take(i: u32, length: u32) {
    let s = item_at(i);
    if s >= run_end && s < length {
        let step = s / params.s_div;
        run_end = (step + 1u) * params.s_div;
        run_weight = weight_load(run_base + step);
        run_scale = run_factor * run_weight;
        run_bias = bias_load(run_base + step);
    }
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
