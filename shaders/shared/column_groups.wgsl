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

// Of one row of the lane's q-th pack.
fn groups_at(columns: Columns, row: u32, q: u32) -> ColumnGroups {
    var scale = Pack(0.0);
    var shift = Pack(0.0);
    var delta = Pack(0.0);
    var factor = Pack(0.0);
    var count = Pack(0.0);
    var weight = Pack(0.0);
    var bias = Pack(0.0);
    for (var j = 0u; j < WIDTH; j++) {
        let place = place_of(columns, q, j);
        let channel = channel_base(columns.b, place.x) + place.y / params.s_div;
        let statistics = group_statistics(group_at(columns.b, row, place.x));
        pack_put(&scale, j, statistics.scale);
        pack_put(&shift, j, statistics.shift);
        pack_put(&delta, j, statistics.delta);
        pack_put(&factor, j, statistics.factor);
        pack_put(&count, j, statistics.count);
        pack_put(&weight, j, weight_load(channel));
        pack_put(&bias, j, bias_load(channel));
    }
    return ColumnGroups(scale, shift, delta, factor, count, weight, bias);
}

fn centered_at(x: Pack, groups: ColumnGroups) -> Pack {
    return centered(x * groups.scale, Center(groups.shift, groups.delta));
}
