// Running statistics as the merge would leave those of a batch: for gradients, and for devices with too few bindings to read both
// along with the tensors.
//# use shared/team, shared/record, <statistics>
@compute @workgroup_size(workgroup_size)
fn main(invocation: Invocation) {
    enter(invocation);
    let channel = tile_index(invocation);
    if channel < params.tiles {
        stats_store(channel, packed(group_statistics(channel)));
    }
}
