// The sums of g and of g * xhat down each column of a row tile, where the statistics are known; without a weight, of dy and dy * xhat. Sums
// run in chains of 16 rows, and then of chains. Where rows have the weights, each lane, or a few together, also leave the sums along their part of each row.
//# use shared/column_groups, shared/sum_lanes, <source>, <statistics>, shared/epilogue
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let columns = columns_of(invocation);
    if !columns.inside {
        return;
    }
    let base = columns_base(columns);
    var groups: array<PackGroups, SPAN>;
    var numbers: array<array<u32, WIDTH>, SPAN>;
    var channels: array<array<u32, WIDTH>, SPAN>;
    // Where they go by column, and statistics do not.
    var own: array<Weights, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        // Here, as each takes divisions.
        if statistics_by != BY_ROW || needs_y() {
            channels[q] = channels_of(columns, q);
        }
        if statistics_by != BY_ROW {
            numbers[q] = numbers_of(columns, q);
            groups[q] = groups_at(numbers[q], channels[q]);
        }
        if needs_y() && statistics_by != BY_COLUMN && weights_by == BY_COLUMN {
            own[q] = weights_of(channels[q], 0u);
        }
    }
    var sum1: array<Pack, SPAN>;
    var sum2: array<Pack, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        sum1[q] = Pack(0.0);
        sum2[q] = Pack(0.0);
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
                groups[0] = of_group(group_statistics(group_at(columns.b, row, 0u, 0u)));
            }
            let of_row = weights_of_row(columns, row);
            var along1 = Pack(0.0);
            var along2 = Pack(0.0);
            for (var q = 0u; q < SPAN; q++) {
                if statistics_by == BY_ROW {
                    groups[q] = groups[0];
                } else if statistics_by != BY_COLUMN {
                    groups[q] = of_groups(numbers[q], row / params.group_rows * params.group_r);
                }
                var weights = weights_in_row(groups[q], of_row, channels[q], row);
                if needs_y() && statistics_by != BY_COLUMN && weights_by == BY_COLUMN {
                    weights = own[q];
                }
                let at = base + row * params.pitch + q * WIDTH;
                let e = centered_at(source_load(at), groups[q]);
                let y = e * (groups[q].factor * weights.weight) + weights.bias;
                var g = above_skip(grad_output_load(at), y, at);
                var by = y;
                if summed != BY_MODULATION {
                    g *= modulation_factor(at);
                    by = e * groups[q].factor;
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
            sum1[q] += run1[q];
            sum2[q] += run2[q];
        }
    }
    let to = (columns.b * params.row_tiles + columns.row_tile) * params.pitch + columns.column;
    for (var q = 0u; q < SPAN; q++) {
        for (var j = 0u; j < WIDTH; j++) {
            partial_sums_store(to + q * WIDTH + j, vec2<f32>(pack_get(sum1[q], j), pack_get(sum2[q], j)));
        }
    }
}
