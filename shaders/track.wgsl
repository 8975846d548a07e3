// BatchNorm's running mean and variance; the channel is the group.
fn track(channel: u32, mean: f32, m2: f32, count: u32) {
    var keep = params.keep;
    var take = params.take;
    if params.cumulative != 0u {
        take = 1.0 / (f32(batches_load(0u)) + 1.0);
        keep = 1.0 - take;
    }
    // One value has no unbiased variance: it is taken as it is.
    let freedom = max(count - select(0u, 1u, params.unbiased != 0u), 1u);
    running_mean_store(channel, keep * running_mean_load(channel) + take * mean);
    running_var_store(channel, keep * running_var_load(channel) + take * (m2 / f32(freedom)));
}
