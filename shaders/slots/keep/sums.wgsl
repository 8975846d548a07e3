// The sums of g and of g * xhat of a group.
const SHARED_BY_HEADS: bool = false;

fn keep(group: u32, sum: vec2<f32>) {
    group_sums_store(group, sum);
}
