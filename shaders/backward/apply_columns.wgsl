// The gradient of the columns of one row tile, where statistics and sums are known.
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    var center: array<PackCenter, SPAN>;
    var slope: array<Slope, SPAN>;
    var weight: array<Pack, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        var found: PackCenter;
        var rstd = Pack(0.0);
        var root = Pack(0.0);
        var count = Pack(0.0);
        var sum = Pack(0.0);
        var product = Pack(0.0);
        var factor = Pack(0.0);
        for (var j = 0u; j < WIDTH; j++) {
            let place = column_place(columns.column + q * WIDTH + j);
            let group = columns.b * params.k_count + place.k;
            let statistics = unpacked(stats_load(group));
            let sums = group_sums_load(group);
            center_put(&found, j, statistics);
            pack_put(&rstd, j, statistics.factor);
            pack_put(&root, j, root_of(statistics.scale));
            pack_put(&count, j, statistics.count);
            pack_put(&sum, j, sums.x);
            pack_put(&product, j, sums.y);
            pack_put(&factor, j, weight_load(channel_base(columns.b, place.k) + place.s / params.s_div));
        }
        center[q] = found;
        slope[q] = slope_of(rstd, root, count, sum * root, product * root);
        weight[q] = factor * root;
    }
    let base = columns_base(columns);
    for (var row = columns.row; row < columns.row_end; row += params.row_lanes) {
        for (var q = 0u; q < SPAN; q++) {
            let at = base + row * params.pitch + q * WIDTH;
            let dx = gradient(grad_output_load(at) * weight[q], centered_at(x_load(at), center[q]), slope[q]);
            grad_input_store(at, dx + grad_residual_load(at));
        }
    }
}
