// Weight and bias outside of the loop over a section: as within.
fn affine_edge(v: Pack, s: u32) -> Pack {
    return affine(v, s, 0u);
}
