// Stores the gradient of a tile's elements, TOGETHER packs at a time. Lanes that are not `live` take part and store nothing.
//# use shared/gradient, shared/rows, <hold>, <gradients>, shared/sink
fn store_gradients(base: u32, s: u32, length: u32, statistics: Statistics, slope: Slope, live: bool) {
    // As in normalize.wgsl.
    if !live && TOGETHER == 1u {
        return;
    }
    open_words(base);
    let center = center_of(statistics);
    for (var i = 0u; i < item_count(); i += TOGETHER) {
        gradient_take(i, length);
        if live {
            for (var j = 0u; j < TOGETHER; j++) {
                let at = item_at(i + j);
                if whole || at < length {
                    let e = centered(item(i + j, base, statistics.scale), center);
                    let g = gradient_item(i + j, j, base + at, s + at, e, statistics.factor);
                    sink_store(base + at, gradient(g, e, slope));
                }
            }
        }
    }
    close_words(base + length - 1u);
}
