// The part of a tile that one lane goes along: neighbours, in whole packs but for the last of the tile.
struct Section {
    first: u32,
    length: u32,
}

fn section_of(length: u32) -> Section {
    let first = min(lane_in_tile() * params.items * WIDTH, length);
    return Section(first, min(params.items * WIDTH, length - first));
}
