// Where the j-th partial of a group lies: in which run, and how far into that.
//# use shared/params
fn partial_place(j: u32) -> vec2<u32> {
    if neighbours {
        return vec2<u32>(j / params.inner_count, j % params.inner_count * params.inner_stride);
    }
    return vec2<u32>(j, 0u);
}

// And the one as many further as `step` is the place of: a division each would take longer than the partials do.
fn partial_place_after(at: vec2<u32>, step: vec2<u32>) -> vec2<u32> {
    let next = at + step;
    let length = params.inner_count * params.inner_stride;
    if neighbours && next.y >= length {
        return vec2<u32>(next.x + 1u, next.y - length);
    }
    return next;
}
