// A whole group to a tile: statistics, sums and gradient in one dispatch, x and dy read and dx written once.
//# use shared/rows, shared/channel, shared/store_gradients, <gradients>, <statistics>, <affine>
// Whether lanes that hold dy keep it as it is, and not times the weight.
const KEEPS_DY: bool = false;

@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let index = tile_index(invocation);
    // Lanes past the last group repeat it and store nothing: barriers and shuffles need them all.
    let live = index < params.tiles;
    let group = tile_number(min(index, params.tiles - 1u));
    let base = group * params.s_count;
    locate(base);
    let weights = channel_of(group, 0u);
    let found = tile_gradients(base, params.s_count, group, weights);
    let statistics = found.statistics;
    affine_begin(weights, root_of(statistics.scale));
    begin_words(base);
    store_gradients(base, 0u, params.s_count, statistics, group_slope(found), live);
    if live && lane_in_tile() == 0u {
        leave_statistics(group, statistics);
    }
}
