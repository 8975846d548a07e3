// The gradient of the columns of one row tile, where statistics and sums are known.
//# use shared/column_groups, shared/gradient, <source>, shared/sink, shared/epilogue
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    var groups: array<PackGroups, SPAN>;
    var slope: array<Slope, SPAN>;
    var channels: array<array<u32, WIDTH>, SPAN>;
    var weight: array<Pack, SPAN>;
    var factor: array<Pack, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        let numbers = numbers_of(columns, q);
        channels[q] = channels_of(columns, q);
        let found = groups_at(numbers, channels[q]);
        var root = Pack(0.0);
        var sum = Pack(0.0);
        var product = Pack(0.0);
        for (var j = 0u; j < WIDTH; j++) {
            let sums = group_sums_load(numbers[j]);
            pack_put(&root, j, root_of(pack_get(found.scale, j)));
            pack_put(&sum, j, sums.x);
            pack_put(&product, j, sums.y);
        }
        groups[q] = found;
        slope[q] = slope_of(found.factor, root, found.count, sum * root, product * root);
        weight[q] = found.weight * root;
        factor[q] = found.factor * found.weight;
    }
    let base = columns_base(columns);
    for (var row = columns.row; row < columns.row_end; row += params.row_lanes) {
        locate(base + row * params.pitch);
        let of_row = weights_of_row(columns, row);
        for (var q = 0u; q < SPAN; q++) {
            let weights = weights_in_row(groups[q], of_row, channels[q], row);
            var scale = weight[q];
            var scaled = factor[q];
            if weights_by != BY_COLUMN {
                scale *= weights.weight;
                scaled *= weights.weight;
            }
            let at = base + row * params.pitch + q * WIDTH;
            let e = centered_at(source_load(at), groups[q]);
            let above = above_skip(grad_output_load(at), e * scaled + weights.bias, at);
            grad_skip_store(at, above);
            sink_store(at, gradient(above * modulation_factor(at) * scale, e, slope[q]));
        }
    }
}
