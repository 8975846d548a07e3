// Each lane holds a tile of its own: x is read once. All tiles are as long, and end within the last four packs.
fn tile_statistics(base: u32, length: u32) -> Partial {
    x_begin(base);
    hold(base);
    return held_statistics(ITEMS - 4u, length);
}

fn item_count() -> u32 {
    return ITEMS;
}

fn item(i: u32, at: u32) -> Pack {
    return held[i];
}
