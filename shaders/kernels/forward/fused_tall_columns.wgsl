// Columns that are a group each: statistics and normalization in one dispatch. A lane goes over all rows of its columns, and then again, where
// they are in its cache: for software adapters.
//# use shared/whole_columns, shared/normalize_columns
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    var groups = whole_groups(columns);
    normalize_columns(columns, &groups);
}
