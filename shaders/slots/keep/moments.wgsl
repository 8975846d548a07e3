// A merged partial is kept by the caller, to be merged with others.
//# use shared/partial_record
fn keep(group: u32, tile: Tile) {
    moments_store(group, stored(tile.partial, tile.scale, 0u));
}
