// One element a load.
const WIDTH: u32 = 1u;
alias Pack = f32;
alias PackBits = u32;

fn pack_first(v: Pack) -> f32 {
    return v;
}

fn pack_sum(v: Pack) -> f32 {
    return v;
}

fn pack_get(v: Pack, j: u32) -> f32 {
    return v;
}

fn pack_put(v: ptr<function, Pack>, j: u32, to: f32) {
    *v = to;
}
