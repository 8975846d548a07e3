// Which tile of this dispatch the lane works on; at or past params.tiles there is nothing to store.
//# use shared/params, <reduction>
fn tile_index(invocation: Invocation) -> u32 {
    let workgroup = invocation.workgroup.y * params.grid_width + invocation.workgroup.x;
    return workgroup * (workgroup_size / lanes) + lane / lanes;
}

fn lane_in_tile() -> u32 {
    return lane % lanes;
}
