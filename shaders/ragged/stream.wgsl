// A few packs at a time, as in hold/stream.wgsl: whole chunks first, then what is left.
fn tile_statistics(base: u32, length: u32) -> Partial {
    let section = section_of(length);
    let start = base + section.first;
    let chunk = ITEMS * WIDTH;
    let rest = section.length % chunk;
    let end = section.length - rest;
    let none = Partial(0u, 0.0, 0.0, 0.0);
    var merged = none;
    x_begin(start);
    for (var chain = 0u; chain < end; chain += 16u * chunk) {
        var run = none;
        for (var at = chain; at < min(chain + 16u * chunk, end); at += chunk) {
            hold(start + at);
            run = merge(run, held_statistics(ITEMS, chunk));
        }
        merged = merge(merged, run);
    }
    if rest > 0u {
        hold(start + end);
        merged = merge(merged, held_statistics(0u, rest));
    }
    return merge_lanes(merged);
}
