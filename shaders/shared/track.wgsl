// BatchNorm's running mean and variance; the channel is the group.
//# use shared/params, shared/statistics, shared/factor
fn track(channel: u32, mean: f32, tile: Tile) {
    // Of a batch that is empty in all its parts.
    if tile.partial.count == 0.0 {
        return;
    }
    var keep = params.keep;
    var take = params.take;
    if params.cumulative != 0u {
        take = 1.0 / (f32(batches_load(0u)) + 1.0);
        keep = 1.0 - take;
    }
    // One value has no unbiased variance: it is taken as it is.
    let freedom = max(tile.partial.count - select(0.0, 1.0, params.unbiased != 0u), 1.0);
    running_mean_store(channel, keep * running_mean_load(channel) + take * mean);
    // What is taken of a variance may be an f32 where the variance is none.
    let taken = scaled_twice(take * (tile.partial.m2 / freedom), inverse_of(tile.scale));
    running_var_store(channel, keep * running_var_load(channel) + taken);
}
