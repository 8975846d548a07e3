// The gradient of x, once: dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) with g = dy * weight, of one group's elements
// or of a pack of groups'. Without a mean to subtract, mean(g) is left out; with statistics that do not come from x, so is
// all but rstd * g.
//
// Everything is of values times a scale, whose root goes with g and with rstd each: both at once may leave no normal number.
//# use shared/params, shared/statistics
struct Slope {
    rstd: Value,
    mean: Value,
    // What xhat is multiplied by, times rstd: xhat itself is never formed.
    along: Value,
}

// From a group's sums of g and of g * xhat, both times the root.
fn slope_of(rstd: Value, root: Value, count: Value, sum: Value, product: Value) -> Slope {
    var mean = Value(0.0);
    if subtract_mean {
        mean = sum / count;
    }
    return Slope(rstd * root, mean, rstd * (product / count));
}

// `g` times the root, `e` the centred element.
fn gradient(g: Pack, e: Pack, slope: Slope) -> Pack {
    if !through_statistics {
        return slope.rstd * g;
    }
    return slope.rstd * ((g - slope.mean) - e * slope.along);
}
