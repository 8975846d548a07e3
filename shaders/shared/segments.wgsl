// Segments of heads, of which groups are one after the other: each has an eps and weights of its own.
//# use shared/params
fn segment_of(head: u32) -> u32 {
    return u32(head >= params.segment_1) + u32(head >= params.segment_2) + u32(head >= params.segment_3);
}

// The first head of a segment, and of the one behind the last how many there are.
fn segment_start(segment: u32) -> u32 {
    let three = select(params.heads, params.segment_3, segment == 3u);
    let two = select(three, params.segment_2, segment == 2u);
    let one = select(two, params.segment_1, segment == 1u);
    return min(select(one, 0u, segment == 0u), params.heads);
}

fn eps_of(group: u32) -> f32 {
    if !segmented {
        return params.eps;
    }
    let segment = segment_of(group % params.heads);
    let two = select(params.eps, params.eps_1, segment == 1u);
    let three = select(two, params.eps_2, segment == 2u);
    return select(three, params.eps_3, segment == 3u);
}
