// Stores the gradient of a tile's elements, TOGETHER packs at a time. Lanes that are not `live` take part and store nothing.
fn store_gradients(base: u32, s: u32, length: u32, scale: f32, center: Center, slope: Slope, live: bool) {
    for (var i = 0u; i < item_count(); i += TOGETHER) {
        gradient_take(i, length);
        if live {
            for (var j = 0u; j < TOGETHER; j++) {
                let at = item_at(i + j);
                if whole || at < length {
                    let g = gradient_item(i + j, j, base + at, s + at);
                    let dx = gradient(g, centered(item(i + j, base, scale), center), slope);
                    grad_input_store(base + at, dx + grad_residual_load(base + at));
                }
            }
        }
    }
}
