// The statistics of the columns of one row tile. Rows go by CHUNK: two passes over values held in registers, then one merge, so that a lane's
// chain of merges stays short.
//# use shared/columns, shared/chunk_statistics, <source>
fn column_statistics(columns: Columns) -> array<Tile, SPAN> {
    let base = columns_base(columns);
    let down = params.row_lanes * params.pitch;
    var tiles: array<Tile, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        tiles[q].scale = Pack(1.0);
    }
    var wanted = true;
    for (var again = params.zero; wanted; again++) {
        for (var q = 0u; q < SPAN; q++) {
            tiles[q].partial = Partial();
        }
        var row = columns.row;
        for (; row + (CHUNK - 1u) * params.row_lanes < columns.row_end; row += CHUNK * params.row_lanes) {
            for (var q = 0u; q < SPAN; q++) {
                let at = base + row * params.pitch + q * WIDTH;
                var chunk: array<Pack, CHUNK>;
                for (var i = 0u; i < CHUNK; i++) {
                    locate(at + i * down);
                    chunk[i] = source_load(at + i * down) * tiles[q].scale;
                }
                tiles[q].partial = merge(tiles[q].partial, chunk_statistics(&chunk));
            }
        }
        for (; row < columns.row_end; row += params.row_lanes) {
            locate(base + row * params.pitch);
            for (var q = 0u; q < SPAN; q++) {
                let x = source_load(base + row * params.pitch + q * WIDTH) * tiles[q].scale;
                tiles[q].partial = merge(tiles[q].partial, single_statistics(x));
            }
        }
        wanted = false;
        for (var q = 0u; q < SPAN && again == 0u; q++) {
            tiles[q].scale = better_scale(tiles[q].partial);
            wanted |= any(tiles[q].scale != Pack(1.0));
        }
    }
    return tiles;
}
