// Each lane keeps its part of the tile in registers: x is read once.
var<private> held: array<Pack, ITEMS>;

fn item_count() -> u32 {
    return ITEMS;
}

fn item(i: u32, base: u32) -> Pack {
    return held[i];
}

// The lanes of a tile hold it together.
fn holders_sum(v: vec2<f32>) -> vec2<f32> {
    return sum_lanes(v);
}

// Mean and variance of one tile, known to each of its lanes.
fn tile_statistics(base: u32, length: u32) -> Partial {
    for (var i = 0u; i < ITEMS; i++) {
        let at = item_at(i);
        if whole || at < length {
            held[i] = x_load(base + at);
        }
    }
    let first = pack_first(x_load(base));
    var partial: Partial;
    var scale = 1.0;
    for (var again = false; ; again = true) {
        partial = held_statistics(0u, length, scale, first_center(first, scale), f32(length));
        scale = better_scale(partial);
        if again || !any_lane(scale != 1.0) {
            break;
        }
    }
    return partial;
}
