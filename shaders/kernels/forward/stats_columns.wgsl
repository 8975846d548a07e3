// One partial for each column of a row tile.
//# use shared/column_statistics, shared/partial_record
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    let to = (columns.b * params.row_tiles + columns.row_tile) * params.pitch + columns.column;
    let tiles = column_statistics(columns);
    for (var q = 0u; q < SPAN; q++) {
        for (var j = 0u; j < WIDTH; j++) {
            partials_store(to + q * WIDTH + j, stored(tiles[q].partial, value_get(tiles[q].scale, j), j));
        }
    }
}
