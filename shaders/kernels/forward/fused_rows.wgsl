// A whole group to a tile: statistics and normalization in one dispatch, x read and y written once.
//# use shared/rows, shared/group_statistics, shared/channel, shared/normalize, shared/keep_statistics, <hold>, <affine>
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let index = tile_index(invocation);
    // Lanes past the last group repeat it and store nothing: barriers and shuffles need them all.
    let live = index < params.tiles;
    let group = tile_number(min(index, params.tiles - 1u));
    let base = group * params.s_count;
    locate(base);
    let statistics = statistics_of(tile_statistics(base, params.s_count), 0u, group);
    affine_begin(channel_of(group, 0u), statistics.factor);
    begin_words(base);
    normalize(base, 0u, params.s_count, statistics.scale, center_of(statistics), live);
    if live && lane_in_tile() == 0u {
        keep_statistics(group, statistics);
    }
}
