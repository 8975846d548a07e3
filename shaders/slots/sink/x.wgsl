// The gradient of what was loaded is that of x, to which the caller's is added that came another way.
//# use <width>
fn sink_store(i: u32, gradient: Pack) {
    grad_input_store(i, gradient + grad_residual_load(i));
}
