// Each s_div neighbours of a run of S share a weight and a bias; a pack never straddles two.
//# use shared/affine_runs, <width>
fn affine_take(i: u32, length: u32) {
}

fn affine_at(s: u32) {
    if s >= run_end {
        run_of(s);
    }
}
