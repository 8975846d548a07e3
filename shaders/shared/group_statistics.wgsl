// The statistics that the j-th group of a tile that is a whole one is normalized by.
//# use shared/statistics, shared/factor
fn statistics_of(tile: Tile, j: u32, group: u32) -> Statistics {
    let scale = value_get(tile.scale, j);
    let partial = tile.partial;
    let factor = factor_of(value_get(partial.m2, j), partial.count, scale, group);
    return Statistics(partial.count, scale, value_get(partial.shift, j), value_get(partial.delta, j), factor);
}
