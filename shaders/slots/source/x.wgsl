// What is normalized: x.
//# use <width>
fn source_load(i: u32) -> Pack {
    return x_load(i);
}
