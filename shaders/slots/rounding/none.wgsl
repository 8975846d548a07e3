// x is f32: no normalized value is rounded before its weight.
//# use <width>
fn before_weight(xhat: Pack) -> Pack {
    return xhat;
}
