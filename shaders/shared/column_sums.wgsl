// The sums of g and of g * xhat down each column of a row tile, where the statistics are known; without a weight, of dy and dy * xhat. Sums
// run in chains of 16 rows, and then of chains. Where rows have the weights, each lane, or a few together, also leave the sums along their part of each row.
//# use shared/column_groups, shared/sum_lanes, <source>, shared/epilogue
// `groups` are those of the columns, where statistics go by them.
fn column_sums(columns: Columns, groups: ptr<function, array<PackGroups, SPAN>>) -> ColumnSums {
    let base = columns_base(columns);
    var numbers: array<array<u32, WIDTH>, SPAN>;
    var channels: array<array<u32, WIDTH>, SPAN>;
    // Where they go by column, and statistics do not.
    var own: array<Weights, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        // Here, as each takes divisions.
        if statistics_by != BY_ROW || needs_y() {
            channels[q] = channels_of(columns, q);
        }
        if statistics_by == BY_ELEMENT {
            numbers[q] = numbers_of(columns, q);
        }
        if statistics_by == BY_COLUMN {
            (*groups)[q] = weighted((*groups)[q], channels[q]);
        } else if needs_y() && weights_by == BY_COLUMN {
            own[q] = weights_of(channels[q], 0u);
        }
    }
    var sums: ColumnSums;
    for (var q = 0u; q < SPAN; q++) {
        sums.sum[q] = Pack(0.0);
        sums.product[q] = Pack(0.0);
    }
    var row = columns.row;
    while row < columns.row_end {
        var run1: array<Pack, SPAN>;
        var run2: array<Pack, SPAN>;
        for (var q = 0u; q < SPAN; q++) {
            run1[q] = Pack(0.0);
            run2[q] = Pack(0.0);
        }
        let end = min(columns.row_end, row + 16u * params.row_lanes);
        for (; row < end; row += params.row_lanes) {
            locate(base + row * params.pitch);
            if statistics_by == BY_ROW {
                (*groups)[0] = of_group(group_statistics(group_at(columns.b, row, 0u, 0u)));
            }
            let of_row = weights_of_row(columns, row);
            var along1 = Pack(0.0);
            var along2 = Pack(0.0);
            for (var q = 0u; q < SPAN; q++) {
                if statistics_by == BY_ROW {
                    (*groups)[q] = (*groups)[0];
                } else if statistics_by == BY_ELEMENT {
                    (*groups)[q] = of_groups(numbers[q], row / params.group_rows * params.group_r);
                }
                var weights = weights_in_row((*groups)[q], of_row, channels[q], row);
                if needs_y() && statistics_by != BY_COLUMN && weights_by == BY_COLUMN {
                    weights = own[q];
                }
                let at = base + row * params.pitch + q * WIDTH;
                let e = centered_at(source_load(at), (*groups)[q]);
                let y = e * ((*groups)[q].factor * weights.weight) + weights.bias;
                var g = above_skip(grad_output_load(at), y, at);
                var by = y;
                if summed != BY_MODULATION {
                    g *= modulation_factor(at);
                    by = e * (*groups)[q].factor;
                    along1 += g;
                    along2 += g * by;
                    if summed == BY_GROUP {
                        g *= weights.weight;
                    }
                }
                run1[q] += g;
                run2[q] += g * by;
            }
            // Of several lanes, which have the row to themselves.
            let along = sum_lanes(vec2<f32>(pack_sum(along1), pack_sum(along2)));
            if lane % lanes == 0u {
                let part = WIDTH * SPAN * lanes;
                row_sums_store((columns.b * params.rows + row) * (params.pitch / part) + columns.column / part, along);
            }
        }
        for (var q = 0u; q < SPAN; q++) {
            sums.sum[q] += run1[q];
            sums.product[q] += run2[q];
        }
    }
    return sums;
}
