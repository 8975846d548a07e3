// The forward pass has left the statistics.
const SAVED: bool = true;

fn keep_statistics(group: u32, statistics: Statistics) {
}
