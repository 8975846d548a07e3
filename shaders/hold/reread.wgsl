// Packs are read when they are normalized.
fn item_count() -> u32 {
    return params.items;
}

fn item(i: u32, base: u32, scale: f32) -> Pack {
    return x_load(base + item_at(i)) * scale;
}

fn original(i: u32, base: u32, scale: f32) -> Pack {
    return x_load(base + item_at(i));
}
