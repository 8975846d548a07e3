// The sums of g and of g * xhat of a group.
fn keep(group: u32, sum: vec2<f32>) {
    group_sums_store(group, sum);
}
