// Nothing follows the norm.
//# use <width>
fn epilogue(y: Pack) -> Pack {
    return y;
}

fn epilogue_gradient(dy: Pack, xhat: Pack, weight: Pack, bias: Pack) -> Pack {
    return dy;
}
