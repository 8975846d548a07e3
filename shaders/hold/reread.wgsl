// Packs are read when they are normalized.
fn item_count() -> u32 {
    return params.items;
}

fn item(i: u32, base: u32) -> Pack {
    return x_load(base + item_at(i));
}
