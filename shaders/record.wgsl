// A group's partial as it is stored and exchanged: as bits, since a small count taken for an f32 is a denormal, and
// hardware may flush those to 0.
fn stored(p: Partial) -> vec4<u32> {
    return vec4<u32>(p.count, bitcast<u32>(p.shift), bitcast<u32>(p.delta), bitcast<u32>(p.m2));
}

fn restored(v: vec4<u32>) -> Partial {
    return Partial(v.x, bitcast<f32>(v.y), bitcast<f32>(v.z), bitcast<f32>(v.w));
}
