// Packs are read when they are normalized, one after the other.
fn item_count() -> u32 {
    return params.items;
}

fn item(i: u32, at: u32) -> Pack {
    return x_next(at);
}
