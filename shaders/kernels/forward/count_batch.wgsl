// Counts the batch after every lane of the merge has read the old count, unless it was empty in all its parts.
//# use shared/params
@compute @workgroup_size(1)
fn main() {
    let counted = select(0u, 1u, stats_load(0u).x > 0.0);
    // The last number there is stays.
    batches_store(0u, max(batches_load(0u), batches_load(0u) + counted));
}
