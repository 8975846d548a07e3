// Each lane keeps its part of the tile in registers: x is read once.
var<private> held: array<Pack, ITEMS>;

fn item_count() -> u32 {
    return ITEMS;
}

fn take(base: u32, length: u32) {
    for (var i = 0u; i < ITEMS; i++) {
        let at = item_at(i);
        if at < length {
            held[i] = x_load(base + at);
        }
    }
}

fn item(i: u32, base: u32) -> Pack {
    return held[i];
}
