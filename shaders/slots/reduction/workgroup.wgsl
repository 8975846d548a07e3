// Lanes exchange values through workgroup memory: runs everywhere.
//# use shared/any_in_workgroup
struct Invocation {
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
}

var<private> lane: u32;
var<workgroup> exchanged: array<vec2<u32>, workgroup_size>;

fn enter(invocation: Invocation) {
    lane = invocation.index;
}

// The value of the lane whose number differs in the one bit `distance`.
fn exchange(v: vec2<u32>, distance: u32) -> vec2<u32> {
    exchanged[lane] = v;
    workgroupBarrier();
    let other = exchanged[lane ^ distance];
    workgroupBarrier();
    return other;
}

fn any_lane(yes: bool) -> bool {
    return any_in_workgroup(yes);
}
