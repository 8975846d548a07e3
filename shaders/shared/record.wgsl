// Scales, and statistics as passes leave them to each other.
//
// Squares of numbers beyond 1e19 are infinite, and those of numbers below 1e-19 vanish. So values are taken times a scale, a
// power of two: 1, or where that will not do (see `better_scale`) one of these. What takes statistics goes round once more then;
// its loop starts at params.zero, since compilers that know the first round to be the first write the body twice, and asks how often it went
// round, since SwiftShader loses what lanes store that have left a loop without a condition before others.
//# use shared/params
const OF_SMALL: f32 = 0x1p96f;
const OF_LARGE: f32 = 0x1p-84f;

// The compiler cannot take the scale out of a difference of two: what it then subtracts may be no f32.
fn hidden(v: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(v) ^ params.zero);
}

fn inverse_of(scale: f32) -> f32 {
    return select(select(1.0, 0x1p84f, scale < 1.0), 0x1p-96f, scale > 1.0);
}

// Scales a gradient by half: what multiplies the other half in is still a normal number.
fn root_of(scale: f32) -> f32 {
    return select(select(1.0, 0x1p-42f, scale < 1.0), 0x1p48f, scale > 1.0);
}

// A count and a scale as one number: the count, times 2^64 of small values, times 2^-64 of large ones. A count is at least 1, and
// below 2^62.
fn tagged(count: f32, scale: f32) -> f32 {
    return count * select(select(1.0, 0x1p-64f, scale < 1.0), 0x1p64f, scale > 1.0);
}

fn scale_of(tagged_count: f32) -> f32 {
    return select(select(1.0, OF_LARGE, tagged_count < 0.5), OF_SMALL, tagged_count > 0x1p62f);
}

fn count_of(tagged_count: f32) -> f32 {
    return tagged_count * select(select(1.0, 0x1p64f, tagged_count < 0.5), 0x1p-64f, tagged_count > 0x1p62f);
}

// A group's statistics, of values times `scale`: their mean is shift + delta, and `factor` is what a distance from it is
// multiplied by.
struct Statistics {
    count: f32,
    scale: f32,
    shift: f32,
    delta: f32,
    factor: f32,
}

fn packed(s: Statistics) -> vec4<f32> {
    return vec4<f32>(tagged(s.count, s.scale), s.shift, s.delta, s.factor);
}

fn unpacked(v: vec4<f32>) -> Statistics {
    return Statistics(count_of(v.x), scale_of(v.x), v.y, v.z, v.w);
}

// As users see them: of the values themselves.
fn mean_of(s: Statistics) -> f32 {
    return (s.shift + s.delta) * inverse_of(s.scale);
}

fn rstd_of(s: Statistics) -> f32 {
    return s.factor * s.scale;
}
