// The statistics are computed here, and nobody else needs them.
const SAVED: bool = false;

fn keep_statistics(group: u32, statistics: Statistics) {
}
