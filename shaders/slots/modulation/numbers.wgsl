// The scale and the shift of a pack are one number each, or loaded one by one.
//# use shared/modulation, <width>
// Where that of the j-th element of a pack is.
fn number_at(at: u32, j: u32) -> u32 {
    if modulated_by == BY_ELEMENT {
        return modulation_of(at + j);
    }
    return modulation_place(at) + select(j, 0u, modulation_constant);
}

fn modulation_factor(at: u32) -> Pack {
    var factor = Pack(scale_load(number_at(at, 0u)));
    if modulated_by == BY_ELEMENT || !modulation_constant {
        for (var j = 1u; j < WIDTH; j++) {
            pack_put(&factor, j, scale_load(number_at(at, j)));
        }
    }
    return factor;
}

fn modulated(y: Pack, at: u32) -> Pack {
    var shift = Pack(shift_load(number_at(at, 0u)));
    if modulated_by == BY_ELEMENT || !modulation_constant {
        for (var j = 1u; j < WIDTH; j++) {
            pack_put(&shift, j, shift_load(number_at(at, j)));
        }
    }
    return y * modulation_factor(at) + shift;
}
