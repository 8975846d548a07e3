// A merged partial is kept by the caller, to be merged with others.
fn keep(group: u32, merged: Partial) {
    moments_store(group, stored(merged, 0u));
}
