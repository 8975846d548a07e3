// The gradient of two elements at a time, where statistics and sums are known, what is written is of 16 bits, and rows begin or end
// within a word.
//# use shared/pairs, shared/gradient, <statistics>, <source>, shared/epilogue
fn gradient_at(index: u32) -> f32 {
    let place = place_at(index);
    let statistics = group_statistics(place.group);
    let root = root_of(statistics.scale);
    let sums = group_sums_load(place.group) * root;
    let slope = slope_of(statistics.factor, root, statistics.count, sums.x, sums.y);
    let e = centered(source_load(index) * statistics.scale, center_of(statistics));
    let weight = weight_load(place.channel);
    let dy = epilogue_gradient(grad_output_load(index), e * statistics.factor * weight + bias_load(place.channel));
    return gradient(dy * (weight * root), e, slope) + grad_residual_load(index);
}

@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let pair = pair_of(invocation);
    var dx = vec2<f32>(0.0);
    if pair.lower {
        dx.x = gradient_at(pair.first);
    }
    if pair.upper {
        dx.y = gradient_at(pair.first + 1u);
    }
    grad_input_put(pair.first, dx, pair.lower, pair.upper);
}
