// One partial for each column of a row tile. Rows go by CHUNK: two passes over values held in registers, then one merge,
// so that a lane's chain of merges stays short.
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    let base = columns_base(columns);
    let down = params.row_lanes * params.pitch;
    let to = (columns.b * params.row_tiles + columns.row_tile) * params.pitch + columns.column;
    var merged: array<Partial, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        merged[q].scale = Value(1.0);
    }
    for (var again = false; ; again = true) {
        for (var q = 0u; q < SPAN; q++) {
            merged[q] = Partial(0.0, merged[q].scale, Value(0.0), Value(0.0), Value(0.0));
        }
        var row = columns.row;
        for (; row + (CHUNK - 1u) * params.row_lanes < columns.row_end; row += CHUNK * params.row_lanes) {
            for (var q = 0u; q < SPAN; q++) {
                let at = base + row * params.pitch + q * WIDTH;
                var chunk: array<Pack, CHUNK>;
                for (var i = 0u; i < CHUNK; i++) {
                    chunk[i] = x_load(at + i * down);
                }
                merged[q] = merge(merged[q], chunk_statistics(&chunk, merged[q].scale));
            }
        }
        for (; row < columns.row_end; row += params.row_lanes) {
            for (var q = 0u; q < SPAN; q++) {
                let x = x_load(base + row * params.pitch + q * WIDTH);
                merged[q] = merge(merged[q], single_statistics(x, merged[q].scale));
            }
        }
        if again {
            break;
        }
        var done = true;
        for (var q = 0u; q < SPAN; q++) {
            let better = better_scale(merged[q]);
            done = done && all(better == Value(1.0));
        }
        if done {
            break;
        }
        for (var q = 0u; q < SPAN; q++) {
            merged[q].scale = better_scale(merged[q]);
        }
    }
    for (var q = 0u; q < SPAN; q++) {
        for (var j = 0u; j < WIDTH; j++) {
            partials_store(to + q * WIDTH + j, stored(merged[q], j));
        }
    }
}
