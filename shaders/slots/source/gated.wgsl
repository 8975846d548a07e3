// What is normalized: residual + gate * x + embedding.
//# use <width>, shared/modulation
fn source_load(i: u32) -> Pack {
    return x_load(i) * gate_spread(i) + embedding_spread(i) + residual_load(i);
}
