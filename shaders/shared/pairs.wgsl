// Two elements a lane that share a word of what is written, wherever rows begin and end: the word is read, changed and written by this
// lane alone. The block is that of the groups.
//# use shared/params, shared/team, shared/channel, shared/strides
struct Pair {
    // The index of the first, and which of the two are of this dispatch: of a word that others' elements are in, they keep theirs.
    first: u32,
    lower: bool,
    upper: bool,
}

struct Place {
    group: u32,
    channel: u32,
}

fn is_inside(index: u32, start: u32) -> bool {
    return index - 2u * params.first_tile < params.tile_length && index < params.rows && index - start < params.own_piece;
}

// Words are those of what is written, in each of its pieces from the one that the first element is in.
fn pair_of(invocation: Invocation) -> Pair {
    let number = params.first_tile + tile_index(invocation);
    // A piece has all its elements in so many.
    let pairs = params.own_piece / 2u + 1u;
    let own = number / pairs;
    let start = own * params.own_piece;
    let first = start + 2u * (number - own * pairs) - odd_at(start);
    let there = number - params.first_tile < params.tiles;
    return Pair(first, there && is_inside(first, start), there && is_inside(first + 1u, start));
}

fn place_at(index: u32) -> Place {
    let run = index / params.s_count;
    let k = run % params.k_count;
    let b = run / (params.r_count * params.k_count);
    return Place(b * params.k_count + k, channel_base(b, r_of(run), k) + index % params.s_count / params.s_div);
}
