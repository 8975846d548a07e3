// Statistics as an earlier pass left them.
//# use shared/record
const SAVED: bool = true;

fn group_statistics(group: u32) -> Statistics {
    if summed == BY_BRANCH {
        // The sums are over what it is.
        return Statistics(1.0, 1.0, 0.0, 0.0, 1.0);
    }
    return unpacked(stats_load(group));
}

fn leave_statistics(group: u32, statistics: Statistics) {
}
