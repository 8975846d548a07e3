// Scale and shift of each pack are found by the number of its first element.
//# use shared/modulation, <width>
fn modulation_factor(at: u32) -> Pack {
    return scale_spread(at);
}

fn modulated(y: Pack, at: u32) -> Pack {
    return y * scale_spread(at) + shift_spread(at);
}
