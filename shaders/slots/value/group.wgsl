// One group's statistics at a time.
alias Value = f32;
alias ValueBits = u32;

fn value_get(v: Value, j: u32) -> f32 {
    return v;
}
