// Columns that are a group each, and short: all of their rows are held, x read and y written once, with no scratch.
//# use shared/columns, shared/chunk_statistics, shared/group_statistics, shared/channel, shared/keep_statistics, <source>, shared/epilogue
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
            let at = base + q * WIDTH + i * params.pitch;
            locate(at);
            chunk[i] = source_load(at);
            residual_out_store(at, chunk[i]);
        }
        var tile = Tile(Pack(1.0), Partial());
        for (var again = params.zero; again < 2u; again++) {
            tile.partial = chunk_statistics(&chunk);
            let scale = better_scale(tile.partial);
            if again > 0u || all(scale == Pack(1.0)) {
                break;
            }
            tile.scale = scale;
            for (var i = 0u; i < CHUNK; i++) {
                chunk[i] *= scale;
            }
        }
        var factor = Pack(0.0);
        var bias = Pack(0.0);
        for (var j = 0u; j < WIDTH; j++) {
            let column = columns.column + q * WIDTH + j;
            let group = columns.b * params.k_count + column;
            let statistics = statistics_of(tile, j, group);
            let channel = channel_base(columns.b, 0u, column);
            if weights_by != BY_COLUMN {
                pack_put(&factor, j, statistics.factor);
            } else {
                pack_put(&factor, j, statistics.factor * weight_load(channel));
                pack_put(&bias, j, bias_load(channel));
            }
            keep_statistics(group, statistics);
        }
        let center = Center(tile.partial.shift, tile.partial.delta);
        for (var i = 0u; i < CHUNK; i++) {
            var weighted = factor;
            if weights_by != BY_COLUMN {
                weighted *= weight_load(i * params.r_mul);
                bias = Pack(bias_load(i * params.r_mul));
            }
            let at = base + q * WIDTH + i * params.pitch;
            locate(base + i * params.pitch);
            y_store(at, epilogue(centered(chunk[i], center) * weighted + bias, at));
        }
    }
}
