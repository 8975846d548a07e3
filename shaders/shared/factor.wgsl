// What centred elements, times `scale`, are multiplied by.
//# use shared/params, shared/record, shared/segments
// The compiler may not square the scale, which would be no f32.
fn scaled_twice(v: f32, by: f32) -> f32 {
    return hidden(v * by) * by;
}

fn rstd_at(variance: f32, eps: f32, scale: f32) -> f32 {
    return 1.0 / sqrt(variance + scaled_twice(eps, scale));
}

// A length of 0 belongs to zeros, which stay so. By bits, and not max(): either may turn NaN into eps where compilers fold
// them. Neither is ever negative.
fn inverse_length(length: f32, scale: f32) -> f32 {
    let eps = params.eps * scale;
    let divisor = select(length, eps, bitcast<u32>(length) < bitcast<u32>(eps));
    return select(1.0 / divisor, 0.0, divisor == 0.0);
}

// m2 is the sum of squares, or with L1 of magnitudes, over `count` elements of a group.
fn factor_of(m2: f32, count: f32, scale: f32, group: u32) -> f32 {
    if scaling == L1 {
        return inverse_length(m2, scale);
    }
    if scaling == L2 {
        return inverse_length(sqrt(m2), scale);
    }
    let variance = m2 / count;
    if scaling == DEVIATION_PLUS_EPS {
        return 1.0 / (sqrt(variance) + params.eps * scale);
    }
    return rstd_at(variance, eps_of(group), scale);
}
