// Normalizes two elements at a time with statistics that are known, where what is written is of 16 bits and by columns, or in pieces, that
// begin or end within a word.
//# use shared/pairs, shared/statistics, <statistics>, <source>, shared/epilogue, <rounding>
fn normalized(x: f32, index: u32) -> f32 {
    let place = place_at(index);
    locate(index);
    let statistics = group_statistics(place.group);
    let e = centered(x * statistics.scale, center_of(statistics));
    return epilogue(before_weight(e * statistics.factor) * weight_load(place.channel) + bias_load(place.channel), index);
}

@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let pair = pair_of(invocation);
    var x = vec2<f32>(0.0);
    var y = vec2<f32>(0.0);
    if pair.lower {
        x.x = source_load(pair.first);
        y.x = normalized(x.x, pair.first);
    }
    if pair.upper {
        x.y = source_load(pair.first + 1u);
        y.y = normalized(x.y, pair.first + 1u);
    }
    residual_out_put(pair.first, x, pair.lower, pair.upper);
    y_put(pair.first, y, pair.lower, pair.upper);
}
