// Each element of a run of S has its own weight and bias.
var<private> run_base: u32;

fn affine_begin(base: u32) {
    run_base = base;
}

fn affine(v: Pack, s: u32) -> Pack {
    return v * weight_load(run_base + s) + bias_load(run_base + s);
}
