fn keep(group: u32, sum: vec2<f32>) {
    group_sums_store(group, sum);
}
