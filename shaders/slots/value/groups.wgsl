// The statistics of as many neighbouring groups as a pack has elements.
//# use <width>
alias Value = Pack;
alias ValueBits = PackBits;

fn value_get(v: Value, j: u32) -> f32 {
    return pack_get(v, j);
}
