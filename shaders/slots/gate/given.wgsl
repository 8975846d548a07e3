// From the gradient of what is normalized to that of the branch that a gate multiplied.
//# use <width>, shared/modulation
fn past_gate(i: u32, gradient: Pack) -> Pack {
    return gradient * gate_spread(i);
}
