// Each s_div neighbours of a run of S share a weight and a bias; a pack never straddles two.
var<private> run_base: u32;

fn affine_begin(base: u32) {
    run_base = base;
}

fn affine(v: Pack, s: u32) -> Pack {
    let channel = run_base + s / params.s_div;
    return v * weight_load(channel) + bias_load(channel);
}
