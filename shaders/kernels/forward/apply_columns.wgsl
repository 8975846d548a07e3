// Normalizes the columns of one row tile with statistics that are known.
//# use shared/column_groups, <source>, <epilogue>
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    var groups: array<ColumnGroups, SPAN>;
    var factor: array<Pack, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        groups[q] = groups_at(columns, q, numbers_of(columns, q));
        factor[q] = groups[q].factor * groups[q].weight;
    }
    let base = columns_base(columns);
    for (var row = columns.row; row < columns.row_end; row += params.row_lanes) {
        locate(base + row * params.pitch);
        for (var q = 0u; q < SPAN; q++) {
            let at = base + row * params.pitch + q * WIDTH;
            y_store(at, epilogue(centered_at(source_load(at), groups[q]) * factor[q] + groups[q].bias));
        }
    }
}
