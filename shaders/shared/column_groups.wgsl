// What a pack of columns is normalized by: the groups of its columns, and their weights.
//# use shared/columns, shared/pack_groups, shared/channel
// Sums of g and of g * xhat down each of the lane's columns.
struct ColumnSums {
    sum: array<Pack, SPAN>,
    product: array<Pack, SPAN>,
}

// The k and the s of the first column of the lane's q-th pack.
fn place_of(columns: Columns, q: u32) -> vec2<u32> {
    let unfolded = (columns.column + q * WIDTH) % (params.k_count * params.s_count);
    return vec2<u32>(unfolded / params.s_count, unfolded % params.s_count);
}

// Those of the column after this one: without divisions, which where rows are few would take longer than they do.
fn place_after(place: vec2<u32>) -> vec2<u32> {
    let ends = place.y + 1u == params.s_count;
    let k = place.x + select(0u, 1u, ends);
    return vec2<u32>(select(k, 0u, k == params.k_count), select(place.y + 1u, 0u, ends));
}

// The groups of the lane's q-th pack, in row 0.
fn numbers_of(columns: Columns, q: u32) -> array<u32, WIDTH> {
    var numbers: array<u32, WIDTH>;
    var place = place_of(columns, q);
    for (var j = 0u; j < WIDTH; j++) {
        numbers[j] = group_at(columns.b, 0u, place.x, place.y);
        place = place_after(place);
    }
    return numbers;
}

// The weights of the lane's q-th pack, in row 0.
fn channels_of(columns: Columns, q: u32) -> array<u32, WIDTH> {
    var channels: array<u32, WIDTH>;
    var place = place_of(columns, q);
    for (var j = 0u; j < WIDTH; j++) {
        var r = 0u;
        if weights_by != BY_COLUMN {
            r = (columns.column + q * WIDTH + j) / (params.k_count * params.s_count);
        }
        channels[j] = channel_base(columns.b, r, place.x) + place.y / params.s_div;
        place = place_after(place);
    }
    return channels;
}

struct Weights {
    weight: Pack,
    bias: Pack,
}

// Of these channels, or of those that are so many further.
fn weights_of(channels: array<u32, WIDTH>, further: u32) -> Weights {
    var weight = Pack(0.0);
    var bias = Pack(0.0);
    for (var j = 0u; j < WIDTH; j++) {
        pack_put(&weight, j, weight_load(channels[j] + further));
        pack_put(&bias, j, bias_load(channels[j] + further));
    }
    return Weights(weight, bias);
}

// Those that all columns of a row have, where they go by row.
fn weights_of_row(columns: Columns, row: u32) -> Weights {
    if weights_by != BY_ROW {
        return Weights(Pack(0.0), Pack(0.0));
    }
    let channel = channel_base(columns.b, row, 0u);
    return Weights(Pack(weight_load(channel)), Pack(bias_load(channel)));
}

// Those of a pack in a row. `channels` are its own in row 0: from one row to the next they go on by as many channels as rows are taken for
// one.
fn weights_in_row(groups: PackGroups, of_row: Weights, channels: array<u32, WIDTH>, row: u32) -> Weights {
    if weights_by == BY_COLUMN {
        return Weights(groups.weight, groups.bias);
    }
    if weights_by == BY_ROW {
        return of_row;
    }
    return weights_of(channels, row * (params.pitch / (params.k_count * params.s_count) * params.r_mul));
}

// Those of all of the lane's packs, without weights.
fn groups_of(columns: Columns) -> array<PackGroups, SPAN> {
    var groups: array<PackGroups, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        groups[q] = of_groups(numbers_of(columns, q), 0u);
    }
    return groups;
}

// With the weights of these channels, where they go by column; else with 1 and 0.
fn weighted(groups: PackGroups, channels: array<u32, WIDTH>) -> PackGroups {
    var found = groups;
    if weights_by == BY_COLUMN {
        let weights = weights_of(channels, 0u);
        found.weight = weights.weight;
        found.bias = weights.bias;
    }
    return found;
}
