// Normalizes a tile that starts `s` elements into its run of S. Quads of y that lie within the lane's section are stored as
// such; quads that it shares with others, before and behind them, word by word.
fn normalize(base: u32, s: u32, length: u32, center: Center, live: bool) {
    let section = section_of(length);
    let start = base + section.first;
    let along = s + section.first;
    let count = select(0u, section.length, live);
    // How far into a quad of y the section starts, and the packs that complete one.
    let k = (params.y_start + start) % WIDTH;
    let first = min(k, 1u);
    let end = max((count + select(k, 0u, WEIGHTS_BY_QUADS)) / WIDTH, first);
    x_begin(start);
    var before = Pack(0.0);
    for (var i = 0u; i < item_count(); i += TOGETHER) {
        affine_take(i, length);
        for (var j = 0u; j < TOGETHER; j++) {
            let at = (i + j) * WIDTH;
            let v = affine(centered(item(i + j, start + at), center), along + at, j);
            // One comparison: before the first it wraps around.
            if i + j - first < end - first {
                y_store_quad(start + at - k, pushed(before, v, k));
            }
            before = v;
        }
    }
    let head = (WIDTH - k) % WIDTH;
    let tail = end * WIDTH - k;
    for (var at = select(0u, tail, k == 0u); at < count;) {
        let stop = select(count, min(head, count), at < head);
        x_begin(start + at);
        y_store_words(start + at, affine_edge(centered(x_next(start + at), center), along + at), stop - at);
        at = select(at + WIDTH, tail, at < head);
    }
}
