// The gradient of one tile, where statistics and sums are known.
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let index = tile_index(invocation);
    if index < params.tiles {
        let tile = tile_of(params.first_tile + index);
        let statistics = stats_load(tile.group);
        let sums = group_sums_load(tile.group);
        affine_begin(channel_of(tile.group), 1.0);
        let slope = slope_of(statistics.z, statistics.w, sums.x, sums.y);
        store_gradients(tile.base, tile.s, tile.length, Center(statistics.x, statistics.y), slope, true);
    }
}
