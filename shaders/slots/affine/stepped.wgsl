// As divided.wgsl, where TOGETHER packs never straddle two weights and a lane has its run to itself: it is asked once for
// all of them whether it has come to the next.
//# use shared/affine_runs, shared/rows, <width>
fn affine_take(i: u32, length: u32) {
    let s = item_at(i);
    if s >= run_end && s < length {
        run_of(s);
    }
}

fn affine_at(s: u32) {
}
