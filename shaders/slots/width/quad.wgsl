// Four elements a load.
const WIDTH: u32 = 4u;
alias Pack = vec4<f32>;
alias PackBits = vec4<u32>;

fn pack_first(v: Pack) -> f32 {
    return v.x;
}

fn pack_sum(v: Pack) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

fn pack_get(v: Pack, j: u32) -> f32 {
    return v[j];
}

fn pack_put(v: ptr<function, Pack>, j: u32, to: f32) {
    // Not (*v)[j]: some compilers cannot write a component that they do not know.
    *v = select(*v, Pack(to), vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(j));
}
