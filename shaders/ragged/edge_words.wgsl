// Weight and bias outside of the loop over a section: word by word, since those of an odd row end within a quad.
fn affine_edge(v: Pack, s: u32) -> Pack {
    return v * run_factor * weight_edge(run_base + s) + bias_edge(run_base + s);
}
