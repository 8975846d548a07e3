// What a pack of columns is normalized by: the statistics of each column's group, and its weight and bias.
//# use shared/columns, shared/statistics, shared/channel, <statistics>
struct ColumnGroups {
    scale: Pack,
    shift: Pack,
    delta: Pack,
    factor: Pack,
    count: Pack,
    weight: Pack,
    bias: Pack,
}

// One group for all of them.
fn of_group(s: Statistics) -> ColumnGroups {
    return ColumnGroups(Pack(s.scale), Pack(s.shift), Pack(s.delta), Pack(s.factor), Pack(s.count), Pack(1.0), Pack(0.0));
}

// The k and the s of the j-th column of the lane's q-th pack.
fn place_of(columns: Columns, q: u32, j: u32) -> vec2<u32> {
    let unfolded = (columns.column + q * WIDTH + j) % (params.k_count * params.s_count);
    return vec2<u32>(unfolded / params.s_count, unfolded % params.s_count);
}

// The groups of the lane's q-th pack, in row 0.
fn numbers_of(columns: Columns, q: u32) -> array<u32, WIDTH> {
    var numbers: array<u32, WIDTH>;
    for (var j = 0u; j < WIDTH; j++) {
        numbers[j] = group_at(columns.b, 0u, place_of(columns, q, j).x);
    }
    return numbers;
}

// Of the groups that are so many further.
fn of_groups(numbers: array<u32, WIDTH>, further: u32) -> ColumnGroups {
    var scale = Pack(0.0);
    var shift = Pack(0.0);
    var delta = Pack(0.0);
    var factor = Pack(0.0);
    var count = Pack(0.0);
    for (var j = 0u; j < WIDTH; j++) {
        let statistics = group_statistics(numbers[j] + further);
        pack_put(&scale, j, statistics.scale);
        pack_put(&shift, j, statistics.shift);
        pack_put(&delta, j, statistics.delta);
        pack_put(&factor, j, statistics.factor);
        pack_put(&count, j, statistics.count);
    }
    return ColumnGroups(scale, shift, delta, factor, count, Pack(1.0), Pack(0.0));
}

// Of the lane's q-th pack, whose groups are these.
fn groups_at(columns: Columns, q: u32, numbers: array<u32, WIDTH>) -> ColumnGroups {
    var found = of_groups(numbers, 0u);
    var weight = Pack(0.0);
    var bias = Pack(0.0);
    for (var j = 0u; j < WIDTH; j++) {
        let place = place_of(columns, q, j);
        let channel = channel_base(columns.b, place.x) + place.y / params.s_div;
        pack_put(&weight, j, weight_load(channel));
        pack_put(&bias, j, bias_load(channel));
    }
    found.weight = weight;
    found.bias = bias;
    return found;
}

fn centered_at(x: Pack, groups: ColumnGroups) -> Pack {
    return centered(x * groups.scale, Center(groups.shift, groups.delta));
}
