// Normalizes the columns of one row tile with statistics that are known.
//# use shared/normalize_columns
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    var groups = groups_of(columns);
    normalize_columns(columns, &groups);
}
