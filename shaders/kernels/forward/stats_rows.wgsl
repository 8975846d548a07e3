// One partial for each tile of a group that is too large for one.
//# use shared/rows, shared/partial_record, <hold>
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let index = tile_index(invocation);
    let number = params.first_tile + min(index, params.tiles - 1u);
    let tile = tile_of(number);
    let found = tile_statistics(tile.base, tile.length);
    if index < params.tiles && lane_in_tile() == 0u {
        partials_store(number, stored(found.partial, found.scale, 0u));
    }
}
