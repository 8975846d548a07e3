// The sums down each column of a row tile, for groups, for weight and bias, or for scale and shift.
//# use shared/column_sums
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    var groups: array<PackGroups, SPAN>;
    if statistics_by == BY_COLUMN {
        groups = groups_of(columns);
    }
    let sums = column_sums(columns, &groups);
    let to = (columns.b * params.row_tiles + columns.row_tile) * params.pitch + columns.column;
    for (var q = 0u; q < SPAN; q++) {
        for (var j = 0u; j < WIDTH; j++) {
            partial_sums_store(to + q * WIDTH + j, vec2<f32>(pack_get(sums.sum[q], j), pack_get(sums.product[q], j)));
        }
    }
}
