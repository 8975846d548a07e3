// Where the elements of tensors lie that are parts of larger ones (src/strides.rs), by their number in row-major order: `pieces` pieces
// of `piece` neighbours, then an outer step. An accessor `x_load(i)` adds to i how far the piece that it is in is moved; `locate` finds
// that once for all tensors, where what follows stays in a piece.
//# use shared/params
const BY_PIECE: u32 = 1u;
const BY_ELEMENT: u32 = 2u;

// How far a piece is moved from where it were without strides, modulo 2^32.
fn moved_piece(piece: u32, outer: u32, inner: u32) -> u32 {
    let run = piece / params.pieces;
    return run * outer + (piece - run * params.pieces) * inner - piece * params.piece;
}

// Whether element i of what is written of 16 bits is the upper half of its word.
fn odd_at(i: u32) -> u32 {
    let piece = i / params.piece;
    let outer = piece / params.pieces * params.odd_outer;
    return (params.odd + outer + piece % params.pieces * params.odd_inner + i % params.piece) & 1u;
}

fn placed(i: u32, located: u32, outer: u32, inner: u32) -> u32 {
    if placed_by == BY_PIECE {
        return i + located;
    }
    if placed_by == BY_ELEMENT {
        return i + moved_piece(i / params.piece, outer, inner);
    }
    return i;
}
