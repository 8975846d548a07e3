// A tile of contiguous elements shared by `lanes` lanes; several tiles to a workgroup.
//# use shared/params, shared/team, shared/strides, <width>
// 1 where elements are stored `by_words` and the first is the upper half of its word: then lanes begin one element before it, so that each
// has whole words.
var<private> lead: u32;

// Where in the tile this lane's i-th pack starts: `span` neighbours, then the other lanes' turn. Before the tile it is beyond any length.
fn item_at(i: u32) -> u32 {
    return (((i / span) * lanes + lane_in_tile()) * span + i % span) * WIDTH - lead;
}

// Elements from number `base` on are stored next, by this lane and those that share its tile.
fn begin_words(base: u32) {
    if by_words {
        lead = odd_at(base);
    }
}

// The number of a tile of this dispatch. By words it is of every other run, as neighbours share a word.
fn tile_number(index: u32) -> u32 {
    if by_words {
        return params.first_tile + index + index / params.tiles_per_run * params.tiles_per_run;
    }
    return params.first_tile + index;
}

struct Stretch {
    // The run of S that it is of, and the group of that.
    run: u32,
    group: u32,
    base: u32,
    // Position of the tile's first element in its run of S, and how many follow from there.
    s: u32,
    length: u32,
}

// Tiles are numbered as they lie in memory, and never cross from one run of S to the next.
fn tile_of(index: u32) -> Stretch {
    let run = index / params.tiles_per_run;
    let first = index % params.tiles_per_run * params.tile_length;
    begin_words(run * params.s_count);
    let s = first - min(lead, first);
    let length = min(first + params.tile_length - lead, params.s_count) - s;
    if first > 0u {
        lead = 0u;
    }
    let group = run / (params.r_count * params.k_count) * params.k_count + run % params.k_count;
    locate(run * params.s_count + s);
    return Stretch(run, group, run * params.s_count + s, s, length);
}
