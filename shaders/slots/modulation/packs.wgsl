// The scale and the shift of a pack are neighbours, and loaded at once.
//# use shared/modulation, <width>
fn modulation_factor(at: u32) -> Pack {
    return scale_load(modulation_place(at));
}

fn modulated(y: Pack, at: u32) -> Pack {
    return y * modulation_factor(at) + shift_load(modulation_place(at));
}
