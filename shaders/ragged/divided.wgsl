// Each s_div neighbours of a run of S, 4 or more, share a weight and a bias: a pack straddles two at most.
var<private> run_base: u32;
var<private> run_factor: f32;
var<private> run_last: u32;
var<private> run_start: u32;
var<private> run_end: u32;
var<private> run_scale: vec2<f32>;
var<private> run_bias: vec2<f32>;

fn affine_begin(base: u32, factor: f32) {
    run_base = base;
    run_factor = factor;
    run_last = base + (params.s_count - 1u) / params.s_div;
    run_end = 0u;
}

fn affine_take(i: u32, length: u32) {
}

fn affine(v: Pack, s: u32, j: u32) -> Pack {
    if s < run_start || s >= run_end {
        let step = s / params.s_div;
        run_start = step * params.s_div;
        run_end = run_start + params.s_div;
        let one = min(run_base + step, run_last);
        let next = min(run_base + step + 1u, run_last);
        run_scale = run_factor * vec2<f32>(weight_load(one), weight_load(next));
        run_bias = vec2<f32>(bias_load(one), bias_load(next));
    }
    let of_next = vec4<u32>(s) + vec4<u32>(0u, 1u, 2u, 3u) >= vec4<u32>(run_end);
    return v * select(Pack(run_scale.x), Pack(run_scale.y), of_next)
        + select(Pack(run_bias.x), Pack(run_bias.y), of_next);
}
