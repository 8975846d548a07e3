// A merged partial becomes its group's statistics; BatchNorm's running statistics are updated by the one lane that owns the
// channel.
fn keep(group: u32, merged: Partial) {
    let center = recenter(merged.shift, merged.delta);
    let factor = factor_of(merged.m2, merged.count);
    stats_store(group, vec4<f32>(center.shift, center.delta, factor, f32(merged.count)));
    mean_store(group, center.shift + center.delta);
    rstd_store(group, factor);
    track(group, center.shift + center.delta, merged.m2, merged.count);
}
