// One weight and one bias for a whole run of S.
//# use shared/affine_run, <width>
fn affine_begin(base: u32, factor: f32) {
    run_take(base, factor);
}

fn affine_take(i: u32, length: u32) {
}

fn affine_at(s: u32) {
}
