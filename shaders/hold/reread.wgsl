// Each lane reads its part of the tile again on every use: for adapters whose cache is as near as
// their registers.
fn item_count() -> u32 {
    return params.items;
}

fn take(base: u32, length: u32) {
}

fn item(i: u32, base: u32) -> Pack {
    return x_load(base + item_at(i));
}
