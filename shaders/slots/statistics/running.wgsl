// Statistics from running ones; the channel is the group. The mean is never folded into
// the bias: at mean 1e6 that alone would cost 0.06.
//# use shared/record, shared/factor
fn group_statistics(group: u32) -> Statistics {
    return Statistics(1.0, 1.0, running_mean_load(group), 0.0, rstd_at(running_var_load(group), params.eps, 1.0));
}
