// Statistics as the merge left them.
fn group_statistics(group: u32) -> Statistics {
    return unpacked(stats_load(group));
}
