// What centred elements are multiplied by.
const DEVIATION_PLUS_EPS: u32 = 1u;
const L2: u32 = 2u;
const L1: u32 = 3u;

fn rstd_of(variance: f32) -> f32 {
    return 1.0 / sqrt(variance + params.eps);
}

// By bits, and not max(): either may turn NaN into eps where compilers fold them. Neither is ever negative.
fn at_least_eps(v: f32) -> f32 {
    return select(v, params.eps, bitcast<u32>(v) < bitcast<u32>(params.eps));
}

// m2 is the sum of squares, or with L1 of magnitudes, over `count` elements.
fn factor_of(m2: f32, count: u32) -> f32 {
    if scaling == L1 {
        return 1.0 / at_least_eps(m2);
    }
    if scaling == L2 {
        return 1.0 / at_least_eps(sqrt(m2));
    }
    let variance = m2 / f32(count);
    if scaling == DEVIATION_PLUS_EPS {
        return 1.0 / (sqrt(variance) + params.eps);
    }
    return rstd_of(variance);
}
