// Nothing to subtract or to multiply by: the bias is all that is left to add.
//# use shared/record
fn group_statistics(group: u32) -> Statistics {
    return Statistics(1.0, 1.0, 0.0, 0.0, 1.0);
}
