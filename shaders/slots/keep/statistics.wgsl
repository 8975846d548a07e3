// A merged partial becomes its group's statistics; BatchNorm's running statistics are updated by the one lane that owns the
// channel.
//# use shared/statistics, shared/factor, shared/keep_statistics, shared/track
fn keep(group: u32, tile: Tile) {
    let merged = tile.partial;
    let center = recenter(merged.shift, merged.delta);
    let factor = factor_of(merged.m2, merged.count, tile.scale, group);
    let statistics = Statistics(merged.count, tile.scale, center.shift, center.delta, factor);
    keep_statistics(group, statistics);
    track(group, mean_of(statistics), tile);
}
