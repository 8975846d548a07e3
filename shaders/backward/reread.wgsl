// Packs of g are formed anew when they are needed.
fn gradient_take(i: u32, length: u32) {
    affine_take(i, length);
}

fn gradient_item(i: u32, j: u32, at: u32, s: u32) -> Pack {
    return affine(grad_output_load(at), s, j);
}
