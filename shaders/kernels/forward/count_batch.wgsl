// Counts the batch after every lane of the merge has read the old count.
//# use shared/params
@compute @workgroup_size(1)
fn main() {
    // The last number there is stays.
    batches_store(0u, max(batches_load(0u), batches_load(0u) + 1u));
}
