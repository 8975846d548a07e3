// Each lane holds a few packs of the tile at a time: for adapters whose cache is as near as their registers.
//# use shared/held_statistics, shared/merge_lanes, slots/hold/none, <source>
var<private> held: array<Pack, ITEMS>;

// Each lane holds packs of its own.
fn holders_sum(v: vec2<f32>) -> vec2<f32> {
    return v;
}

// Mean and variance of a chunk, which is then held: ITEMS packs of the lane's from number `first` on.
fn chunk_partial(first: u32, base: u32, length: u32, scale: f32) -> Partial {
    var count = ITEMS * WIDTH;
    if !whole {
        count = 0u;
    }
    for (var i = 0u; i < ITEMS; i++) {
        let at = item_at(first + i);
        if whole || at < length {
            held[i] = source_load(base + at) * scale;
            if !whole {
                count += WIDTH;
            }
        }
    }
    return held_statistics(first, length, hidden(finite_or_zero(pack_first(held[0]))), f32(count));
}

// Mean and variance of one tile, known to each of its lanes. Merges go in chains of 16 as well: see held_statistics.wgsl.
fn tile_statistics(base: u32, length: u32) -> Tile {
    let none = Partial();
    var tile = Tile(1.0, none);
    for (var again = params.zero; again < 2u; again++) {
        var merged = none;
        for (var chain = 0u; chain < params.items; chain += 16u * ITEMS) {
            var run = none;
            for (var first = chain; first < min(chain + 16u * ITEMS, params.items); first += ITEMS) {
                run = merge(run, chunk_partial(first, base, length, tile.scale));
            }
            merged = merge(merged, run);
        }
        tile.partial = merge_lanes(merged);
        let scale = better_scale(tile.partial);
        if again > 0u || !any_lane(scale != 1.0) {
            break;
        }
        tile.scale = scale;
    }
    return tile;
}
