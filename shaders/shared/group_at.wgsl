// Whose statistics an element goes by, in a block that need not be that of the groups.
//# use shared/params

fn group_at(b: u32, row: u32, k: u32) -> u32 {
    return (b + row / params.group_rows) * params.group_b + k / params.group_k;
}
