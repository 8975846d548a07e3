// Packs of g are formed anew when they are needed.
//# use <affine>, shared/epilogue
fn gradient_keep(i: u32, beneath: Pack, g: Pack) {
}

fn gradient_take(i: u32, length: u32) {
    affine_take(i, length);
}

fn gradient_item(i: u32, j: u32, at: u32, s: u32, e: Pack, factor: f32) -> Pack {
    affine_at(s);
    let above = above_skip(grad_output_load(at), affine_value(e, factor, s, j), at);
    grad_skip_store(at, above);
    return affine_scaled(above * modulation_factor(at), s, j);
}
