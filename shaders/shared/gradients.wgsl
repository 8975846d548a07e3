// What the gradient of a group needs: its statistics, and the sums of g and of g * xhat, both times the root of the scale.
//# use shared/gradient
struct Gradients {
    statistics: Statistics,
    sums: vec2<f32>,
}

fn group_slope(found: Gradients) -> Slope {
    let statistics = found.statistics;
    return slope_of(statistics.factor, root_of(statistics.scale), statistics.count, found.sums.x, found.sums.y);
}
