// The sums of g and of g * xhat over each tile, where the statistics are known: of a group that is too large for one tile,
// or, without a weight, of the elements that share one.
//# use shared/rows, shared/channel, shared/known_sums, shared/sum_lanes, <statistics>, <affine>
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let index = tile_index(invocation);
    let number = params.first_tile + min(index, params.tiles - 1u);
    let tile = tile_of(number);
    let k = tile.run % params.k_count;
    let b = tile.run / params.k_count / params.r_count;
    let statistics = group_statistics(group_at(b, tile.run / params.k_count % params.r_count, k, 0u));
    affine_begin(channel_base(b, r_of(tile.run), k), 1.0);
    let sums = sum_lanes(known_sums(tile.base, tile.s, tile.length, statistics));
    if index < params.tiles && lane_in_tile() == 0u {
        partial_sums_store(number, sums);
    }
}
