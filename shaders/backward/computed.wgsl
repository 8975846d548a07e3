// The statistics are computed here, and left for passes that come later.
const SAVED: bool = false;

fn keep_statistics(group: u32, statistics: Statistics) {
    stats_store(group, packed(statistics));
}
