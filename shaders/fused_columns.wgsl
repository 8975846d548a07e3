// Columns that are a group each, and short: all of their rows are held, x read and y written once, with no scratch.
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    let base = columns_base(columns);
    for (var q = 0u; q < SPAN; q++) {
        var chunk: array<Pack, CHUNK>;
        for (var i = 0u; i < CHUNK; i++) {
            chunk[i] = x_load(base + q * WIDTH + i * params.pitch);
        }
        let partial = chunk_statistics(&chunk);
        var scale = Pack(0.0);
        var bias = Pack(0.0);
        for (var j = 0u; j < WIDTH; j++) {
            let column = columns.column + q * WIDTH + j;
            let group = columns.b * params.k_count + column;
            let factor = factor_of(pack_get(partial.m2, j), partial.count);
            let channel = channel_base(columns.b, column);
            pack_put(&scale, j, factor * weight_load(channel));
            pack_put(&bias, j, bias_load(channel));
            mean_store(group, pack_get(partial.shift, j) + pack_get(partial.delta, j));
            rstd_store(group, factor);
            stats_store(group, vec4<f32>(pack_get(partial.shift, j), pack_get(partial.delta, j), factor, f32(partial.count)));
        }
        let center = Center(partial.shift, partial.delta);
        for (var i = 0u; i < CHUNK; i++) {
            y_store(base + q * WIDTH + i * params.pitch, centered(chunk[i], center) * scale + bias);
        }
    }
}
