// The statistics are computed from x, and left for passes that come later, if any does.
//# use shared/keep_statistics
const SAVED: bool = false;

// None are known before.
fn group_statistics(group: u32) -> Statistics {
    return Statistics();
}

fn leave_statistics(group: u32, statistics: Statistics) {
    keep_statistics(group, statistics);
}
