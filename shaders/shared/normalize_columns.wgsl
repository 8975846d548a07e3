// Normalizes the columns of one row tile: STORED rows at a time, which are read before any of them is stored, since a compiler moves no
// load over a store.
//# use shared/column_groups, <source>, shared/epilogue
fn normalize_columns(columns: Columns, groups: ptr<function, array<PackGroups, SPAN>>) {
    // Weights may be those of a sample.
    locate(columns_base(columns));
    var channels: array<array<u32, WIDTH>, SPAN>;
    var factor: array<Pack, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        channels[q] = channels_of(columns, q);
        (*groups)[q] = weighted((*groups)[q], channels[q]);
        factor[q] = (*groups)[q].factor * (*groups)[q].weight;
    }
    let base = columns_base(columns);
    var taken: array<array<Pack, SPAN>, STORED>;
    var normalized: array<array<Pack, SPAN>, STORED>;
    for (var first = columns.row; first < columns.row_end; first += STORED * params.row_lanes) {
        for (var i = 0u; i < STORED; i++) {
            let row = first + i * params.row_lanes;
            if row < columns.row_end {
                locate(base + row * params.pitch);
                let of_row = weights_of_row(columns, row);
                for (var q = 0u; q < SPAN; q++) {
                    let weights = weights_in_row((*groups)[q], of_row, channels[q], row);
                    var scaled = factor[q];
                    if weights_by != BY_COLUMN {
                        scaled *= weights.weight;
                    }
                    let x = source_load(base + row * params.pitch + q * WIDTH);
                    taken[i][q] = x;
                    normalized[i][q] = centered_at(x, (*groups)[q]) * scaled + weights.bias;
                }
            }
        }
        for (var i = 0u; i < STORED; i++) {
            let row = first + i * params.row_lanes;
            if row < columns.row_end {
                locate(base + row * params.pitch);
                for (var q = 0u; q < SPAN; q++) {
                    let at = base + row * params.pitch + q * WIDTH;
                    residual_out_store(at, taken[i][q]);
                    y_store(at, epilogue(normalized[i][q], at));
                }
            }
        }
    }
}
