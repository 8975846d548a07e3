// The gradient of the columns of one row tile, where statistics and sums are known, by chunks of rows as in the forward pass.
//# use shared/column_groups, shared/gradient, <source>, shared/sink, shared/epilogue
fn columns_gradient(columns: Columns, groups: ptr<function, array<PackGroups, SPAN>>, sums: ColumnSums) {
    var slope: array<Slope, SPAN>;
    var channels: array<array<u32, WIDTH>, SPAN>;
    var weight: array<Pack, SPAN>;
    var factor: array<Pack, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        channels[q] = channels_of(columns, q);
        let found = weighted((*groups)[q], channels[q]);
        var root = Pack(0.0);
        for (var j = 0u; j < WIDTH; j++) {
            pack_put(&root, j, root_of(pack_get(found.scale, j)));
        }
        (*groups)[q] = found;
        slope[q] = slope_of(found.factor, root, found.count, sums.sum[q] * root, sums.product[q] * root);
        weight[q] = found.weight * root;
        factor[q] = found.factor * found.weight;
    }
    let base = columns_base(columns);
    var taken: array<array<Pack, SPAN>, STORED>;
    var above_y: array<array<Pack, SPAN>, STORED>;
    for (var first = columns.row; first < columns.row_end; first += STORED * params.row_lanes) {
        for (var i = 0u; i < STORED; i++) {
            let row = first + i * params.row_lanes;
            if row < columns.row_end {
                locate(base + row * params.pitch);
                for (var q = 0u; q < SPAN; q++) {
                    let at = base + row * params.pitch + q * WIDTH;
                    taken[i][q] = source_load(at);
                    above_y[i][q] = grad_output_load(at);
                }
            }
        }
        for (var i = 0u; i < STORED; i++) {
            let row = first + i * params.row_lanes;
            if row < columns.row_end {
                locate(base + row * params.pitch);
                let of_row = weights_of_row(columns, row);
                for (var q = 0u; q < SPAN; q++) {
                    let weights = weights_in_row((*groups)[q], of_row, channels[q], row);
                    var scale = weight[q];
                    var scaled = factor[q];
                    if weights_by != BY_COLUMN {
                        scale *= weights.weight;
                        scaled *= weights.weight;
                    }
                    let at = base + row * params.pitch + q * WIDTH;
                    let e = centered_at(taken[i][q], (*groups)[q]);
                    let above = above_skip(above_y[i][q], e * scaled + weights.bias, at);
                    grad_skip_store(at, above);
                    sink_store(at, gradient(above * modulation_factor(at) * scale, e, slope[q]));
                }
            }
        }
    }
}
