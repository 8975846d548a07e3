// Normalizes a tile that starts `s` elements into its run of S. TOGETHER packs are read before the first of them is
// written, so that nothing is asked for each. Lanes that are not `live` take part and store nothing.
fn normalize(base: u32, s: u32, length: u32, center: Center, live: bool) {
    for (var i = 0u; i < item_count(); i += TOGETHER) {
        affine_take(i, length);
        var normal: array<Pack, TOGETHER>;
        for (var j = 0u; j < TOGETHER; j++) {
            affine_turn(j);
            let at = item_at(i + j);
            if whole || at < length {
                normal[j] = affine(centered(item(i + j, base), center), s + at);
            }
        }
        if live {
            for (var j = 0u; j < TOGETHER; j++) {
                let at = item_at(i + j);
                if whole || at < length {
                    y_store(base + at, normal[j]);
                }
            }
        }
    }
}
