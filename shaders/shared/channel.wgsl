// The index of weight and bias of the first element of a group's run of S; along it they go by s / s_div.
//# use shared/params, shared/segments
fn channel_base(b: u32, k: u32) -> u32 {
    if segmented {
        return segment_of(b % params.heads) * params.b_mul;
    }
    return b % params.b_mod * params.b_mul + k * params.k_mul;
}

fn channel_of(group: u32) -> u32 {
    // Spares short rows their divisions.
    if same_parameters {
        return 0u;
    }
    // The divisions of others would cost short rows as much as their elements.
    if segmented {
        return channel_base(group, 0u);
    }
    return channel_base(group / params.k_count, group % params.k_count);
}

// Whose statistics an element goes by, in a block that need not be that of the groups.
fn group_at(b: u32, row: u32, k: u32) -> u32 {
    return (b + row / params.group_rows) * params.group_b + k / params.group_k;
}
