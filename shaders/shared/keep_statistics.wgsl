// Leaves a group's statistics for later passes, and for the user.
//# use shared/record
fn keep_statistics(group: u32, statistics: Statistics) {
    stats_store(group, packed(statistics));
    mean_store(group, mean_of(statistics));
    rstd_store(group, rstd_of(statistics));
}
