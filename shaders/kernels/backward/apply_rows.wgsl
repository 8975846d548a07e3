// The gradient of one tile, where statistics and sums are known.
//# use shared/rows, shared/channel, shared/store_gradients, <statistics>, <affine>
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let index = tile_index(invocation);
    if index < params.tiles {
        let tile = tile_of(tile_number(index));
        // By words a run may end before its last tile.
        if tile.length == 0u {
            return;
        }
        let statistics = group_statistics(tile.group);
        let root = root_of(statistics.scale);
        let sums = group_sums_load(tile.group) * root;
        affine_begin(channel_of(tile.group, r_of(tile.run)), root);
        let slope = slope_of(statistics.factor, root, statistics.count, sums.x, sums.y);
        store_gradients(tile.base, tile.s, tile.length, statistics, slope, true);
    }
}
