// Mean and variance: the arithmetic, once. `Value` is one group's number, or those of a pack of groups.
//
// A mean kept as one f32 is off by half an ulp of the data, which at mean 1e6 is 0.03 standard
// deviations. So a mean is always the pair shift + delta, and is never added up.
//# use shared/params, shared/record, <width>, <value>
// Of `count` values: their mean is shift + delta, the sum of their squared distances from it m2. The values are those of x times
// a scale: see record.wgsl.
struct Partial {
    count: f32,
    shift: Value,
    delta: Value,
    m2: Value,
}

struct Center {
    shift: Value,
    delta: Value,
}

// What is found of a tile, and the scale that x was taken times for it.
struct Tile {
    scale: Value,
    partial: Partial,
}

// The center of one group, for all of a pack.
fn center_of(s: Statistics) -> Center {
    return Center(Value(s.shift), Value(s.delta));
}

// The same value, but the compiler cannot see that it is. Mesa, for one, folds (a + b) - a to b.
fn opaque(v: Value) -> Value {
    return bitcast<Value>(bitcast<ValueBits>(v) ^ ValueBits(params.zero));
}

// Once per element rather than per group, so only where (x - shift) - delta would become x - (shift + delta).
fn opaque_pack(v: Pack) -> Pack {
    if hide_subtractions {
        return bitcast<Pack>(bitcast<PackBits>(v) ^ PackBits(params.zero));
    }
    return v;
}

// Exact where x is near shift, as it is unless x is an outlier.
fn centered(x: Pack, center: Center) -> Pack {
    return opaque_pack(x - center.shift) - center.delta;
}

// What each centred element adds to m2: its square, or for L1 its magnitude.
fn size_of(e: Pack) -> Pack {
    if scaling == L1 {
        return abs(e);
    }
    return e * e;
}

// By bits: compilers fold v != v.
fn finite_or_zero(v: Value) -> Value {
    let exponent = ValueBits(0x7f800000u);
    return select(v, Value(0.0), (bitcast<ValueBits>(v) & exponent) == exponent);
}

// `yes` where v is finite, else `no`.
fn if_finite(v: Value, yes: Value, no: Value) -> Value {
    let exponent = ValueBits(0x7f800000u);
    return select(yes, no, (bitcast<ValueBits>(v) & exponent) == exponent);
}

// shift + mean as the nearest f32 and what that leaves over (Knuth's two-sum), so that an outlier that
// happened to be the shift costs no accuracy. A mean that is not finite is kept whole in the shift.
fn recenter(shift: Value, mean: Value) -> Center {
    let sum = opaque(shift + mean);
    let of_mean = opaque(sum - shift);
    let of_shift = opaque(sum - of_mean);
    let left = opaque(shift - of_shift) + opaque(mean - of_mean);
    return Center(sum, if_finite(sum, left, Value(0.0)));
}

// From sum1 = sum of e and sum2 = sum of e*e, where e = x - center and center is nearly the mean: the
// corrected two-pass formula, which takes out what the center was off by.
fn partial_from_sums(count: f32, center: Center, sum1: Value, sum2: Value) -> Partial {
    let correction = sum1 / count;
    let m2 = sum2 - sum1 * correction;
    // By bits, and not max(): either may turn NaN into 0 where compilers take NaN for impossible.
    let negative = (bitcast<ValueBits>(m2) >> ValueBits(31u)) == ValueBits(1u);
    return Partial(
        count,
        center.shift,
        if_finite(center.shift, center.delta + correction, Value(0.0)),
        if_finite(m2, select(m2, Value(0.0), negative), m2),
    );
}

// The scale at which the values of `p`, which were taken times 1, ought to be: another where their squares, or what is divided by
// them, overflowed (by bits, which NaN passes as well), or where they are so small that some may have vanished and no eps makes
// up for it. A mean that is not small has no small deviations but 0.
fn better_scale(p: Partial) -> Value {
    let vanishing = (p.m2 < Value(p.count * params.least_square)) & (abs(p.shift) < Value(1.0));
    let overflowing = (bitcast<ValueBits>(p.m2) & ValueBits(0x7fffffffu)) >= ValueBits(0x71800000u);
    return select(select(Value(1.0), Value(OF_SMALL), vanishing), Value(OF_LARGE), overflowing);
}

// Chan, Golub and LeVeque's pairwise update. The mean is centred anew, or what an outlier at the start
// has cost would stay for good.
fn merge(a: Partial, b: Partial) -> Partial {
    if a.count == 0.0 {
        return b;
    }
    if b.count == 0.0 {
        return a;
    }
    let count = a.count + b.count;
    let part = b.count / count;
    let apart = opaque(b.shift - a.shift) + (b.delta - a.delta);
    let m2 = a.m2 + b.m2 + apart * apart * (a.count * part);
    let center = recenter(a.shift, a.delta + apart * part);
    // An infinite mean stays that infinity rather than becoming inf - inf.
    return Partial(
        count,
        if_finite(apart, center.shift, a.shift + b.shift),
        if_finite(apart, center.delta, Value(0.0)),
        m2,
    );
}
