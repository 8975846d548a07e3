// Columns that are a group each: sums and gradient in one dispatch, and statistics where they are not known. A lane goes over all rows of its
// columns, and then again, where they are in its cache: for software adapters.
//# use shared/whole_columns, shared/column_sums, shared/columns_gradient
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    var groups = whole_groups(columns);
    let sums = column_sums(columns, &groups);
    columns_gradient(columns, &groups, sums);
}
