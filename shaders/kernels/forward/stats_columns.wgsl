// One partial for each column of a row tile. Rows go by CHUNK: two passes over values held in registers, then one merge,
// so that a lane's chain of merges stays short.
//# use shared/columns, shared/chunk_statistics, shared/partial_record, <source>
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
    // All columns are taken at one scale after the other, as far as some ask for it: a bit for each.
    var asking = 0xffffffffu;
    var of_large = 0u;
    var of_small = 0u;
    for (var scale = hidden(1.0); asking != 0u;) {
        var merged: array<Partial, SPAN>;
        for (var q = 0u; q < SPAN; q++) {
            merged[q] = Partial();
        }
        var row = columns.row;
        for (; row + (CHUNK - 1u) * params.row_lanes < columns.row_end; row += CHUNK * params.row_lanes) {
            for (var q = 0u; q < SPAN; q++) {
                let at = base + row * params.pitch + q * WIDTH;
                var chunk: array<Pack, CHUNK>;
                for (var i = 0u; i < CHUNK; i++) {
                    locate(at + i * down);
                    chunk[i] = source_load(at + i * down) * scale;
                }
                merged[q] = merge(merged[q], chunk_statistics(&chunk));
            }
        }
        for (; row < columns.row_end; row += params.row_lanes) {
            locate(base + row * params.pitch);
            for (var q = 0u; q < SPAN; q++) {
                let x = source_load(base + row * params.pitch + q * WIDTH) * scale;
                merged[q] = merge(merged[q], single_statistics(x));
            }
        }
        for (var q = 0u; q < SPAN; q++) {
            let better = better_scale(merged[q]);
            for (var j = 0u; j < WIDTH; j++) {
                let bit = 1u << (q * WIDTH + j);
                let wanted = pack_get(better, j);
                if scale == 1.0 && wanted != 1.0 {
                    asking ^= bit;
                    of_large |= select(0u, bit, wanted < 1.0);
                    of_small |= select(0u, bit, wanted > 1.0);
                }
                if (asking & bit) != 0u {
                    partials_store(to + q * WIDTH + j, stored(merged[q], scale, j));
                }
            }
        }
        let large = of_large != 0u;
        asking = select(of_small, of_large, large);
        scale = select(OF_SMALL, OF_LARGE, large);
        of_small = select(0u, of_small, large);
        of_large = 0u;
    }
}
