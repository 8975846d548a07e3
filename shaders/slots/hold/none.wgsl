// Packs are read when they are normalized.
//# use shared/params, shared/rows, <source>
fn item_count() -> u32 {
    return params.items;
}

fn item(i: u32, base: u32, scale: f32) -> Pack {
    return source_load(base + item_at(i)) * scale;
}

fn original(i: u32, base: u32, scale: f32) -> Pack {
    return source_load(base + item_at(i));
}
