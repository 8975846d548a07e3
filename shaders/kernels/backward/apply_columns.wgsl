// The gradient of the columns of one row tile, where statistics and sums are known.
//# use shared/columns_gradient
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    var groups = groups_of(columns);
    var sums: ColumnSums;
    for (var q = 0u; q < SPAN; q++) {
        let numbers = numbers_of(columns, q);
        var sum = Pack(0.0);
        var product = Pack(0.0);
        for (var j = 0u; j < WIDTH; j++) {
            let of_group = group_sums_load(numbers[j]);
            pack_put(&sum, j, of_group.x);
            pack_put(&product, j, of_group.y);
        }
        sums.sum[q] = sum;
        sums.product[q] = product;
    }
    columns_gradient(columns, &groups, sums);
}
