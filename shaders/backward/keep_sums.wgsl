fn keep(group: u32, sum: vec2<f32>) {
    sums_store(group, sum);
}
