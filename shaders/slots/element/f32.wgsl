// Tensors of the size of x are stored as f32.
//# use <width>
alias Stored = Pack;

fn decoded(v: Stored) -> Pack {
    return v;
}

fn encoded(v: Pack) -> Stored {
    return v;
}
