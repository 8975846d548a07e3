// The one place by rows where dy goes back through the epilogue: the gradient of what the norm itself gives. Times the weight,
// by `affine_scaled`, it is g, the gradient of xhat.
//# use <affine>, <epilogue>
fn upstream(dy: Pack, xhat: Pack, s: u32, j: u32) -> Pack {
    return epilogue_gradient(dy, xhat, affine_weight(s, j), affine_bias(s, j));
}
