// Where the scale, shift, gate and embedding of an element are (src/modulation.rs), by its number in row-major order. `locate_modulation` finds
// it once, where all that a lane takes next are neighbours there or one number.
//# use shared/params, shared/strides, <width>
// Each pack finds its own.
const BY_PACK: u32 = 3u;

var<private> modulation_located: u32;

fn modulation_of(i: u32) -> u32 {
    let number = i / params.modulation_run * params.modulation_inner + i % params.modulation_inner;
    return number + number / params.modulation_line * params.modulation_gap;
}

fn locate_modulation(i: u32) {
    if modulated_by == BY_PIECE {
        modulation_located = modulation_of(i) - select(i, 0u, modulation_constant);
    }
}

fn modulation_place(at: u32) -> u32 {
    if modulated_by != BY_PIECE {
        return modulation_of(at);
    }
    return modulation_located + select(at, 0u, modulation_constant);
}

// Where that of the j-th element of a pack is.
fn number_at(at: u32, j: u32) -> u32 {
    if modulated_by == BY_ELEMENT {
        return modulation_of(at + j);
    }
    return modulation_place(at) + select(j, 0u, modulation_constant);
}

// How many numbers a pack has.
fn numbers_of_pack() -> u32 {
    return select(WIDTH, 1u, modulated_by != BY_ELEMENT && modulation_constant);
}
