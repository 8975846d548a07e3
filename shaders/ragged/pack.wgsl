// Four elements of a row that may start anywhere and end within a pack. Packs are cut from the start of the row, so that
// where that is changes no bit; each is put together from two quads of the buffer.
const WIDTH: u32 = 4u;
alias Pack = vec4<f32>;
alias PackBits = vec4<u32>;

fn pack_first(v: Pack) -> f32 {
    return v.x;
}

fn pack_sum(v: Pack) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

// The first `count` elements, then zeros. No product: what lies behind them may be NaN.
fn pack_within(v: Pack, count: u32) -> Pack {
    return select(Pack(0.0), v, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count));
}

// Four neighbours among eight, from number k % 4 on.
fn straddling(low: Pack, high: Pack, k: u32) -> Pack {
    let two = (k & 2u) != 0u;
    let by_two = select(low, vec4<f32>(low.zw, high.xy), two);
    return select(by_two, vec4<f32>(by_two.yzw, select(high.x, high.z, two)), (k & 1u) != 0u);
}

// The last k % 4 of `before`, then the first of `v`.
fn pushed(before: Pack, v: Pack, k: u32) -> Pack {
    let two = (k & 2u) != 0u;
    let by_two = select(v, vec4<f32>(before.zw, v.xy), two);
    return select(by_two, vec4<f32>(select(before.w, before.y, two), by_two.xyz), (k & 1u) != 0u);
}
