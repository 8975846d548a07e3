// What is normalized: x.
//# use <width>, <element>
fn source_load(i: u32) -> Pack {
    return x_load(i);
}
