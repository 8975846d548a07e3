// The one place by rows where dy goes back through the epilogue: the gradient of what the norm itself gives, of the
// centred element `e`. Times the weight,
// by `affine_scaled`, it is g, the gradient of xhat.
//# use <affine>, shared/epilogue
fn upstream(dy: Pack, e: Pack, factor: f32, s: u32, j: u32) -> Pack {
    return epilogue_gradient(dy, affine_value(e, factor, s, j));
}
