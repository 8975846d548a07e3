// Lanes across the contiguous columns and down the rows: each lane owns SPAN neighbouring packs of columns and every
// row_lanes-th row of its workgroup's tile, so loads are coalesced and no lane waits for another. Where K*S is narrow or
// no multiple of a pack, `fold` neighbouring rows are taken for one: columns are then counted modulo K*S.
//# use shared/params, shared/strides, <width>, <reduction>
struct Columns {
    b: u32,
    // The first of the lane's columns.
    column: u32,
    // The lane's row tile within b, and its rows: `row`, then every row_lanes-th below `row_end`.
    row_tile: u32,
    row: u32,
    row_end: u32,
    inside: bool,
}

fn columns_of(invocation: Invocation) -> Columns {
    let here = invocation.workgroup.y * params.grid_width + invocation.workgroup.x;
    let workgroup = params.first_tile + here;
    let across = lane % params.column_lanes;
    let down = lane / params.column_lanes;
    let block = workgroup % params.column_blocks;
    let tall = workgroup / params.column_blocks;
    let tall_tiles = params.row_tiles / params.row_lanes;
    let b = tall / tall_tiles;
    let tall_tile = tall % tall_tiles;
    let column = (block * params.column_lanes + across) * WIDTH * SPAN;
    let first = tall_tile * params.row_lanes * params.tile_length;
    return Columns(
        b,
        column,
        tall_tile * params.row_lanes + down,
        first + down,
        min(first + params.row_lanes * params.tile_length, params.rows),
        here < params.tiles && down < params.row_lanes && column < params.pitch,
    );
}

// Where the first of the lane's columns has its element of row 0.
fn columns_base(columns: Columns) -> u32 {
    return columns.b * params.rows * params.pitch + columns.column;
}
