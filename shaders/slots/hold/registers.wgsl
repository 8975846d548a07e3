// Each lane keeps its part of the tile in registers: x is read once. What is kept is times the tile's scale.
//# use shared/held_statistics, shared/sum_lanes, <source>
var<private> held: array<Pack, ITEMS>;

fn item_count() -> u32 {
    return ITEMS;
}

fn item(i: u32, base: u32, scale: f32) -> Pack {
    return held[i];
}

// The element itself, of which the scale may have left less.
fn original(i: u32, base: u32, scale: f32) -> Pack {
    if scale != 1.0 {
        return source_load(base + item_at(i));
    }
    return held[i];
}

// The lanes of a tile hold it together.
fn holders_sum(v: vec2<f32>) -> vec2<f32> {
    return sum_lanes(v);
}

// Mean and variance of one tile, known to each of its lanes.
fn tile_statistics(base: u32, length: u32) -> Tile {
    for (var i = 0u; i < ITEMS; i++) {
        let at = item_at(i);
        if whole || at < length {
            held[i] = source_load(base + at);
        }
    }
    let shift = finite_or_zero(pack_first(source_load(base)));
    var tile = Tile(1.0, Partial());
    for (var again = params.zero; again < 2u; again++) {
        tile.partial = held_statistics(0u, length, hidden(shift * tile.scale), f32(length));
        let scale = better_scale(tile.partial);
        if again > 0u || !any_lane(scale != 1.0) {
            break;
        }
        tile.scale = scale;
        for (var i = 0u; i < ITEMS; i++) {
            held[i] *= scale;
        }
    }
    return tile;
}
