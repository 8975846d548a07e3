// Normalizes one tile with statistics that are known.
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let index = tile_index(invocation);
    if index < params.tiles {
        let tile = tile_of(params.first_tile + index);
        let statistics = group_statistics(tile.group);
        let center = Center(statistics.x, statistics.y);
        affine_begin(channel_base(tile.group / params.k_count, tile.group % params.k_count));
        for (var i = 0u; i < item_count(); i++) {
            let at = item_at(i);
            if at < tile.length {
                let x = x_load(tile.base + at);
                y_store(tile.base + at, affine(centered(x, center) * statistics.z, tile.s + at));
            }
        }
    }
}
