// (shift, delta, factor) as the merge left them.
fn group_statistics(group: u32) -> vec4<f32> {
    return stats_load(group);
}
