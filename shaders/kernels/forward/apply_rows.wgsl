// Normalizes one tile with statistics that are known.
//# use shared/rows, shared/channel, shared/normalize, <statistics>, <affine>
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
        affine_begin(channel_of(tile.group, r_of(tile.run)), statistics.factor);
        normalize(tile.base, tile.s, tile.length, statistics.scale, center_of(statistics), true);
    }
}
