// Statistics from running ones; the channel is the group. The mean is never folded into
// the bias: at mean 1e6 that alone would cost 0.06.
fn group_statistics(group: u32) -> Statistics {
    let mean = running_mean_load(group);
    let variance = running_var_load(group);
    // As better_scale, of one value.
    let scale = select(1.0, OF_SMALL, variance < params.least_square && abs(mean) < 1.0);
    return Statistics(1.0, scale, hidden(mean * scale), 0.0, rstd_at(scaled_twice(variance, scale), scale));
}
