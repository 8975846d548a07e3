// The gradient of what was loaded, to which the caller's is added that came another way, and that of the branch.
//# use <width>, <gate>
fn sink_store(i: u32, gradient: Pack) {
    let all = gradient + grad_residual_load(i);
    grad_input_store(i, all);
    grad_branch_store(i, past_gate(i, all));
}
