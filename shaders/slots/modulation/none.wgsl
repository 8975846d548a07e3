// No scale and no shift.
//# use <width>
fn modulation_factor(at: u32) -> Pack {
    return Pack(1.0);
}

fn modulated(y: Pack, at: u32) -> Pack {
    return y;
}
