// Statistics from running ones; the channel is the group. The mean is never folded into
// the bias: at mean 1e6 that alone would cost 0.06.
fn group_statistics(group: u32) -> Statistics {
    let mean = running_mean_load(group);
    let variance = running_var_load(group);
    // As better_scale, of one value.
    let scale = select(1.0, OF_SMALL, variance < params.least_square && abs(mean) < 1.0);
    // Hidden, or the compiler might take the scale out of what is subtracted.
    let shift = bitcast<f32>(bitcast<u32>(mean * scale) ^ params.zero);
    return Statistics(1.0, scale, shift, 0.0, rstd_at(scaled_twice(variance, scale), scale));
}
