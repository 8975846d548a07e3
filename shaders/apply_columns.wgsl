// Normalizes the columns of one row tile with statistics that are known.
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    var shift = Pack(0.0);
    var delta = Pack(0.0);
    var rstd = Pack(0.0);
    var weight = Pack(0.0);
    var bias = Pack(0.0);
    for (var j = 0u; j < WIDTH; j++) {
        let k = (columns.column + j) / params.s_count;
        let s = (columns.column + j) % params.s_count;
        let statistics = group_statistics(columns.b * params.k_count + k);
        let channel = channel_base(columns.b, k) + s / params.s_div;
        pack_put(&shift, j, statistics.x);
        pack_put(&delta, j, statistics.y);
        pack_put(&rstd, j, statistics.z);
        pack_put(&weight, j, weight_load(channel));
        pack_put(&bias, j, bias_load(channel));
    }
    let center = Center(shift, delta);
    let pitch = params.k_count * params.s_count;
    let base = columns.b * params.r_count * pitch + columns.column;
    for (var row = columns.row; row < columns.row_end; row += params.row_lanes) {
        let at = base + row * pitch;
        y_store(at, centered(x_load(at), center) * rstd * weight + bias);
    }
}
