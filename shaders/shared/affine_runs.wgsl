// One such run after the other, of s_div elements each: a lane goes up along S, so it divides only where it comes to the next.
//# use shared/params, shared/affine_run
var<private> run_base: u32;
var<private> run_end: u32;

fn affine_begin(base: u32, factor: f32) {
    run_base = base;
    run_factor = factor;
    run_end = 0u;
}

fn run_of(s: u32) {
    let step = s / params.s_div;
    run_end = (step + 1u) * params.s_div;
    run_take(run_base + step, run_factor);
}
