// A tile of contiguous elements shared by `lanes` lanes; several tiles to a workgroup.
//# use shared/params, shared/team, shared/strides, <width>
// Where in the tile this lane's i-th pack starts: `span` neighbours, then the other lanes' turn.
fn item_at(i: u32) -> u32 {
    return (((i / span) * lanes + lane_in_tile()) * span + i % span) * WIDTH;
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
    let s = (index % params.tiles_per_run) * params.tile_length;
    let group = run / (params.r_count * params.k_count) * params.k_count + run % params.k_count;
    locate(run * params.s_count + s);
    return Stretch(run, group, run * params.s_count + s, s, min(params.tile_length, params.s_count - s));
}
