// One group's statistics at a time.
alias Value = f32;
alias ValueBits = u32;
