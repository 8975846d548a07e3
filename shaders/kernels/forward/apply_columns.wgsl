// Normalizes the columns of one row tile with statistics that are known.
//# use shared/column_groups, <source>, shared/epilogue
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    // Weights may be those of a sample.
    locate(columns_base(columns));
    var groups: array<PackGroups, SPAN>;
    var channels: array<array<u32, WIDTH>, SPAN>;
    var factor: array<Pack, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        channels[q] = channels_of(columns, q);
        groups[q] = groups_at(numbers_of(columns, q), channels[q]);
        factor[q] = groups[q].factor * groups[q].weight;
    }
    let base = columns_base(columns);
    // Several packs take two loops, as compilers unroll only short ones.
    var normalized: array<Pack, SPAN>;
    for (var row = columns.row; row < columns.row_end; row += params.row_lanes) {
        locate(base + row * params.pitch);
        let of_row = weights_of_row(columns, row);
        for (var q = 0u; q < SPAN; q++) {
            let weights = weights_in_row(groups[q], of_row, channels[q], row);
            var scaled = factor[q];
            if weights_by != BY_COLUMN {
                scaled *= weights.weight;
            }
            let at = base + row * params.pitch + q * WIDTH;
            let x = source_load(at);
            residual_out_store(at, x);
            let y = centered_at(x, groups[q]) * scaled + weights.bias;
            if SPAN == 1u {
                y_store(at, epilogue(y, at));
            } else {
                normalized[q] = y;
            }
        }
        if SPAN > 1u {
            for (var q = 0u; q < SPAN; q++) {
                let at = base + row * params.pitch + q * WIDTH;
                y_store(at, epilogue(normalized[q], at));
            }
        }
    }
}
