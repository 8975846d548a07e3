struct Gradients {
    statistics: vec4<f32>,
    sums: vec2<f32>,
}

// A partial as it is left for later passes: (shift, delta, rstd, count).
fn statistics_of(p: Partial) -> vec4<f32> {
    return vec4<f32>(p.shift, p.delta, factor_of(p.m2, p.count), f32(p.count));
}
