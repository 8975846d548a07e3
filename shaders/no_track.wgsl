// Nothing to keep between batches.
fn track(channel: u32, mean: f32, m2: f32, count: u32) {
}
