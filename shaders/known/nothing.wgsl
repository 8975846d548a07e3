// Nothing to subtract or to multiply by: the bias is all that is left to add.
fn group_statistics(group: u32) -> vec4<f32> {
    return vec4<f32>(0.0, 0.0, 1.0, 0.0);
}
