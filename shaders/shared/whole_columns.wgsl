// What columns that are a group each are normalized by, where all of their rows are a lane's.
//# use shared/column_statistics, shared/column_groups, shared/group_statistics, <statistics>
fn whole_groups(columns: Columns) -> array<PackGroups, SPAN> {
    if SAVED {
        return groups_of(columns);
    }
    let tiles = column_statistics(columns);
    var groups: array<PackGroups, SPAN>;
    for (var q = 0u; q < SPAN; q++) {
        var statistics: array<Statistics, WIDTH>;
        for (var j = 0u; j < WIDTH; j++) {
            let group = columns.b * params.k_count + columns.column + q * WIDTH + j;
            statistics[j] = statistics_of(tiles[q], j, group);
            leave_statistics(group, statistics[j]);
        }
        groups[q] = of_each(statistics);
    }
    return groups;
}
