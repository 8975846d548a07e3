// Tensors of the size of x are stored as f32.
//# use <width>
alias Encoded = Pack;

fn decoded(v: Encoded) -> Pack {
    return v;
}

fn encoded(v: Pack) -> Encoded {
    return v;
}
