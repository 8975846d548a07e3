// What a pack whose elements belong to neighbouring groups is normalized by: the statistics of each one's group, and its weight and bias.
//# use shared/statistics, <statistics>
struct PackGroups {
    scale: Pack,
    shift: Pack,
    delta: Pack,
    factor: Pack,
    count: Pack,
    weight: Pack,
    bias: Pack,
}

// One group for all of them.
fn of_group(s: Statistics) -> PackGroups {
    return PackGroups(Pack(s.scale), Pack(s.shift), Pack(s.delta), Pack(s.factor), Pack(s.count), Pack(1.0), Pack(0.0));
}

// Of these.
fn of_each(statistics: array<Statistics, WIDTH>) -> PackGroups {
    var scale = Pack(0.0);
    var shift = Pack(0.0);
    var delta = Pack(0.0);
    var factor = Pack(0.0);
    var count = Pack(0.0);
    for (var j = 0u; j < WIDTH; j++) {
        pack_put(&scale, j, statistics[j].scale);
        pack_put(&shift, j, statistics[j].shift);
        pack_put(&delta, j, statistics[j].delta);
        pack_put(&factor, j, statistics[j].factor);
        pack_put(&count, j, statistics[j].count);
    }
    return PackGroups(scale, shift, delta, factor, count, Pack(1.0), Pack(0.0));
}

// Of the groups that are so many further.
fn of_groups(numbers: array<u32, WIDTH>, further: u32) -> PackGroups {
    var statistics: array<Statistics, WIDTH>;
    for (var j = 0u; j < WIDTH; j++) {
        statistics[j] = group_statistics(numbers[j] + further);
    }
    return of_each(statistics);
}

fn centered_at(x: Pack, groups: PackGroups) -> Pack {
    return centered(x * groups.scale, Center(groups.shift, groups.delta));
}
