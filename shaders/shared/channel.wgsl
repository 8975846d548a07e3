// The index of weight and bias of the first element of a run of S; along it they go by s / s_div.
//# use shared/params, shared/segments
fn channel_base(b: u32, r: u32, k: u32) -> u32 {
    if segmented {
        return segment_of(b % params.heads) * params.b_mul;
    }
    return b % params.b_mod * params.b_mul + r * params.r_mul + k * params.k_mul;
}

fn channel_of(group: u32, r: u32) -> u32 {
    // Spares short rows their divisions.
    if same_parameters {
        return r * params.r_mul;
    }
    // The divisions of others would cost short rows as much as their elements.
    if segmented {
        return channel_base(group, 0u, 0u);
    }
    return channel_base(group / params.k_count, r, group % params.k_count);
}

// The r of a run of S, for its weight alone.
fn r_of(run: u32) -> u32 {
    if weights_by == BY_COLUMN {
        return 0u;
    }
    return run / params.k_count % params.r_count;
}

// Whose statistics an element goes by, in a block that need not be that of the groups.
fn group_at(b: u32, row: u32, k: u32, s: u32) -> u32 {
    let line = b / params.group_b_div * params.group_b + row / params.group_rows * params.group_r;
    return line + k / params.group_k + s * params.group_s;
}
