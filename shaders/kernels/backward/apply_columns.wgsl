// The gradient of the columns of one row tile, where statistics and sums are known.
//# use shared/columns, shared/channel, shared/gradient, <source>, <statistics>, <sink>, <epilogue>, <element>

@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    var center: array<PackCenter, SPAN>;
    var slope: array<Slope, SPAN>;
    var rstd: array<Pack, SPAN>;
    var weight: array<Pack, SPAN>;
    var bias: array<Pack, SPAN>;
    var root_weight: array<Pack, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        var found: PackCenter;
        var factor = Pack(0.0);
        var root = Pack(0.0);
        var count = Pack(0.0);
        var sum = Pack(0.0);
        var product = Pack(0.0);
        var scale = Pack(0.0);
        var offset = Pack(0.0);
        for (var j = 0u; j < WIDTH; j++) {
            let place = column_place(columns.column + q * WIDTH + j);
            let group = columns.b * params.k_count + place.k;
            let statistics = group_statistics(group);
            let sums = group_sums_load(group);
            center_put(&found, j, statistics);
            pack_put(&factor, j, statistics.factor);
            pack_put(&root, j, root_of(statistics.scale));
            pack_put(&count, j, statistics.count);
            pack_put(&sum, j, sums.x);
            pack_put(&product, j, sums.y);
            let channel = channel_base(columns.b, place.k) + place.s / params.s_div;
            pack_put(&scale, j, weight_load(channel));
            pack_put(&offset, j, bias_load(channel));
        }
        center[q] = found;
        slope[q] = slope_of(factor, root, count, sum * root, product * root);
        rstd[q] = factor;
        weight[q] = scale;
        bias[q] = offset;
        root_weight[q] = scale * root;
    }
    let base = columns_base(columns);
    for (var row = columns.row; row < columns.row_end; row += params.row_lanes) {
        for (var q = 0u; q < SPAN; q++) {
            let at = base + row * params.pitch + q * WIDTH;
            let e = centered_at(source_load(at), center[q]);
            let dy = epilogue_gradient(grad_output_load(at), e * rstd[q], weight[q], bias[q]);
            sink_store(at, gradient(dy * root_weight[q], e, slope[q]));
        }
    }
}
