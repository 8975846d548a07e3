// What is normalized: x + residual.
//# use <width>
fn source_load(i: u32) -> Pack {
    return x_load(i) + residual_load(i);
}
