// The gradient of two elements at a time, where statistics and sums are known, what is written is of 16 bits, and columns or pieces begin
// or end within a word.
//# use shared/pairs, shared/gradient, <statistics>, <source>, <gate>, shared/epilogue
// The gradient of the skip, of x, and of the branch.
fn gradients_at(index: u32) -> vec3<f32> {
    let place = place_at(index);
    let statistics = group_statistics(place.group);
    let root = root_of(statistics.scale);
    let sums = group_sums_load(place.group) * root;
    let slope = slope_of(statistics.factor, root, statistics.count, sums.x, sums.y);
    let e = centered(source_load(index) * statistics.scale, center_of(statistics));
    let weight = weight_load(place.channel);
    let y = e * statistics.factor * weight + bias_load(place.channel);
    let above = above_skip(grad_output_load(index), y, index);
    let g = above * modulation_factor(index) * (weight * root);
    let all = gradient(g, e, slope) + grad_residual_load(index);
    return vec3<f32>(above, all, past_gate(index, all));
}

@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let pair = pair_of(invocation);
    var lower = vec3<f32>(0.0);
    var upper = vec3<f32>(0.0);
    if pair.lower {
        lower = gradients_at(pair.first);
    }
    if pair.upper {
        upper = gradients_at(pair.first + 1u);
    }
    grad_skip_put(pair.first, vec2<f32>(lower.x, upper.x), pair.lower, pair.upper);
    grad_input_put(pair.first, vec2<f32>(lower.y, upper.y), pair.lower, pair.upper);
    grad_branch_put(pair.first, vec2<f32>(lower.z, upper.z), pair.lower, pair.upper);
}
