// Tensors of 16-bit elements, two to a word, the one at the even index in its lower half: f16, or where `bfloat`, bf16.
// The composer adds it where a tensor that a shader speaks of is stored so.
//# use shared/params
fn pair_of_halves(word: u32) -> vec2<f32> {
    if bfloat {
        return vec2<f32>(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u));
    }
    return unpack2x16float(word);
}

fn quad_of_halves(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(pair_of_halves(words.x), pair_of_halves(words.y));
}

// The element at i, of the word that it is in.
fn half_at(word: u32, i: u32) -> f32 {
    let pair = pair_of_halves(word);
    return select(pair.x, pair.y, (i & 1u) == 1u);
}

// To the nearest, ties to even, beyond the largest to infinity. By integers unless a probe found that the built-in does that: drivers may
// truncate in pack2x16float, and give NaN for what is too large.
fn halves_of_pair(v: vec2<f32>) -> u32 {
    if exact_pack && !bfloat {
        return pack2x16float(v);
    }
    let bits = bitcast<vec2<u32>>(v);
    let a = bits & vec2<u32>(0x7fffffffu);
    let is_nan = a > vec2<u32>(0x7f800000u);
    var half: vec2<u32>;
    if bfloat {
        let up = bits >> vec2<u32>(16u);
        half = select((bits + 0x7fffu + (up & vec2<u32>(1u))) >> vec2<u32>(16u), up | vec2<u32>(0x40u), is_nan);
    } else {
        let usual = min((a + 0xc8000fffu + ((a >> vec2<u32>(13u)) & vec2<u32>(1u))) >> vec2<u32>(13u), vec2<u32>(0x7c00u));
        // Below the least normal number the sum rounds as the half would.
        let small = bitcast<vec2<u32>>(bitcast<vec2<f32>>(a) + 0.5) - 0x3f000000u;
        half = select(select(usual, small, a < vec2<u32>(0x38800000u)), vec2<u32>(0x7e00u), is_nan);
        half |= (bits >> vec2<u32>(16u)) & vec2<u32>(0x8000u);
    }
    return half.x | (half.y << 16u);
}

fn halves_of_quad(v: vec4<f32>) -> vec2<u32> {
    return vec2<u32>(halves_of_pair(v.xy), halves_of_pair(v.zw));
}

// What a word becomes of which a half, or both, are written.
fn word_with(old: u32, v: vec2<f32>, lower: bool, upper: bool) -> u32 {
    let written = select(0u, 0xffffu, lower) | select(0u, 0xffff0000u, upper);
    return (old & ~written) | (halves_of_pair(v) & written);
}
