// What a pack of columns is normalized by: the groups of its columns, and their weights.
//# use shared/columns, shared/pack_groups, shared/channel
// The k and the s of the j-th column of the lane's q-th pack.
fn place_of(columns: Columns, q: u32, j: u32) -> vec2<u32> {
    let unfolded = (columns.column + q * WIDTH + j) % (params.k_count * params.s_count);
    return vec2<u32>(unfolded / params.s_count, unfolded % params.s_count);
}

// The groups of the lane's q-th pack, in row 0.
fn numbers_of(columns: Columns, q: u32) -> array<u32, WIDTH> {
    var numbers: array<u32, WIDTH>;
    for (var j = 0u; j < WIDTH; j++) {
        let place = place_of(columns, q, j);
        numbers[j] = group_at(columns.b, 0u, place.x, place.y);
    }
    return numbers;
}

// The weights of the lane's q-th pack, in row 0.
fn channels_of(columns: Columns, q: u32) -> array<u32, WIDTH> {
    var channels: array<u32, WIDTH>;
    for (var j = 0u; j < WIDTH; j++) {
        let place = place_of(columns, q, j);
        var r = 0u;
        if weights_by != BY_COLUMN {
            r = (columns.column + q * WIDTH + j) / (params.k_count * params.s_count);
        }
        channels[j] = channel_base(columns.b, r, place.x) + place.y / params.s_div;
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

// Those of a pack in a row, where they do not go by column. `channels` are its own in row 0: from one row to the next they go on by as many
// channels as rows are taken for one.
fn weights_in_row(of_row: Weights, channels: array<u32, WIDTH>, row: u32) -> Weights {
    if weights_by == BY_ROW {
        return of_row;
    }
    return weights_of(channels, row * (params.pitch / (params.k_count * params.s_count) * params.r_mul));
}

fn weighted(groups: PackGroups, weights: Weights) -> PackGroups {
    var found = groups;
    found.weight = weights.weight;
    found.bias = weights.bias;
    return found;
}

// Of the lane's q-th pack, whose groups and weights in row 0 are these.
fn groups_at(numbers: array<u32, WIDTH>, channels: array<u32, WIDTH>) -> PackGroups {
    let found = of_groups(numbers, 0u);
    if weights_by == BY_COLUMN {
        return weighted(found, weights_of(channels, 0u));
    }
    return found;
}
