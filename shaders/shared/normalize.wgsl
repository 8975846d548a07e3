// Normalizes a tile that starts `s` elements into its run of S, TOGETHER packs at a time, so that nothing is asked for each.
// Lanes that are not `live` take part and store nothing.
//# use shared/statistics, shared/rows, <hold>, <affine>, shared/epilogue
fn normalize(base: u32, s: u32, length: u32, scale: f32, center: Center, live: bool) {
    // Asked once where lanes share nothing: compilers ask again for every store.
    if !live && TOGETHER == 1u {
        return;
    }
    open_words(base);
    // Several at once take two loops, as compilers unroll only short ones; one takes one, as a second that is never entered keeps the outer
    // loop from being unrolled.
    var normalized: array<Pack, TOGETHER>;
    for (var i = 0u; i < item_count(); i += TOGETHER) {
        affine_take(i, length);
        if live {
            for (var j = 0u; j < TOGETHER; j++) {
                let at = item_at(i + j);
                if whole || at < length {
                    // Both before either is stored, which may overwrite what is read.
                    let x = item(i + j, base, scale);
                    let unscaled = original(i + j, base, scale);
                    residual_out_store(base + at, unscaled);
                    affine_at(s + at);
                    let y = affine_scaled(centered(x, center), s + at, j) + affine_bias(s + at, j);
                    if TOGETHER == 1u {
                        y_store(base + at, epilogue(y, base + at));
                    } else {
                        normalized[j] = y;
                    }
                }
            }
            if TOGETHER > 1u {
                for (var j = 0u; j < TOGETHER; j++) {
                    let at = item_at(i + j);
                    if whole || at < length {
                        y_store(base + at, epilogue(normalized[j], base + at));
                    }
                }
            }
        }
    }
    close_words(base + length - 1u);
}
