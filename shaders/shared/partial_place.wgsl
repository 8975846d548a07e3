// Where the j-th partial of a group lies: in which run, and how far into that.
//# use shared/params
fn partial_place(j: u32) -> vec2<u32> {
    if neighbours {
        return vec2<u32>(j / params.inner_count, j % params.inner_count * params.inner_stride);
    }
    return vec2<u32>(j, 0u);
}
