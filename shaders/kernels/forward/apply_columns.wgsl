// Normalizes the columns of one row tile with statistics that are known.
//# use shared/columns, shared/channel, <source>, <statistics>, <epilogue>, <element>

@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    var center: array<PackCenter, SPAN>;
    var factor: array<Pack, SPAN>;
    var bias: array<Pack, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        var found: PackCenter;
        var scale = Pack(0.0);
        var offset = Pack(0.0);
        for (var j = 0u; j < WIDTH; j++) {
            let place = column_place(columns.column + q * WIDTH + j);
            let statistics = group_statistics(columns.b * params.k_count + place.k);
            let channel = channel_base(columns.b, place.k) + place.s / params.s_div;
            center_put(&found, j, statistics);
            pack_put(&scale, j, statistics.factor * weight_load(channel));
            pack_put(&offset, j, bias_load(channel));
        }
        center[q] = found;
        factor[q] = scale;
        bias[q] = offset;
    }
    let base = columns_base(columns);
    for (var row = columns.row; row < columns.row_end; row += params.row_lanes) {
        for (var q = 0u; q < SPAN; q++) {
            let at = base + row * params.pitch + q * WIDTH;
            y_store(at, epilogue(centered_at(source_load(at), center[q]) * factor[q] + bias[q]));
        }
    }
}
